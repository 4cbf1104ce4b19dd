"""ONNX files written field by field, for tests that need one of their own; and what an LSTM node computes, plainly."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import numba_lstm as nl
from numba_lstm.errors import FileFormatError

Array = NDArray[Any]
CODES = {"float32": 1, "int32": 6, "int64": 7, "bool": 9, "float16": 10, "float64": 11}


def varint(value: int) -> bytes:
    value %= 2**64
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def entry(number: int, value: Any) -> bytes:
    """One field: an integer, a float, text or bytes."""
    if isinstance(value, bool | int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    content = value.encode() if isinstance(value, str) else bytes(value)
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(name: str, array: Array, **changes: Any) -> bytes:
    """A tensor with its numbers as raw data. `changes`: dims, code, raw or more fields as bytes."""
    dims = b"".join(entry(1, int(n)) for n in changes.get("dims", array.shape))
    raw = changes.get("raw", np.ascontiguousarray(array).tobytes())
    content = dims + entry(2, changes.get("code", CODES[str(array.dtype)])) + entry(8, name)
    return content + (entry(9, raw) if raw is not None else b"") + changes.get("more", b"")


def attribute(name: str, value: Any) -> bytes:
    """An attribute of a node."""
    out = entry(1, name)
    if isinstance(value, bool | int):
        return out + entry(3, value) + entry(20, 2)
    if isinstance(value, float):
        return out + entry(2, value) + entry(20, 1)
    if isinstance(value, str):
        return out + entry(4, value) + entry(20, 3)
    if isinstance(value, np.ndarray):
        return out + entry(5, tensor("", value)) + entry(20, 4)
    kind, number = {int: (8, 7), float: (7, 6), str: (9, 8)}[type(value[0])]
    return out + b"".join(entry(kind, one) for one in value) + entry(20, number)


def node(op: str, inputs: list[str], outputs: list[str], domain: str = "", **attributes: Any) -> bytes:
    """A node, called after its first output."""
    parts = [entry(1, name) for name in inputs] + [entry(2, name) for name in outputs]
    parts += [entry(3, outputs[0]), entry(4, op), entry(7, domain)]
    return b"".join(parts + [entry(5, attribute(key, value)) for key, value in attributes.items()])


def value(name: str, shape: list[int | str], code: int = 1) -> bytes:
    """An input or output; axes are numbers, or names where they are open."""
    axes = b"".join(entry(1, entry(1 if isinstance(axis, int) else 2, axis)) for axis in shape)
    return entry(1, name) + entry(2, entry(1, entry(1, code) + entry(2, axes)))


def model(nodes: list[bytes], tensors: list[bytes], inputs: list[bytes], outputs: list[str], opset: int = 20) -> bytes:
    """A model of one graph."""
    graph = b"".join(entry(1, one) for one in nodes) + b"".join(entry(5, one) for one in tensors)
    graph += b"".join(entry(11, one) for one in inputs) + b"".join(entry(12, value(name, [])) for name in outputs)
    return entry(1, 10) + entry(2, "tests") + entry(7, graph) + entry(8, entry(1, "") + entry(2, opset))


def weights(rng: np.random.Generator, directions: int = 1, input_dim: int = 3, units: int = 4) -> dict[str, Array]:
    """W, R and B of an LSTM node."""
    shapes = {"W": (4 * units, input_dim), "R": (4 * units, units), "B": (8 * units,)}
    return {key: rng.standard_normal((directions, *shape)).astype(np.float32) / 2 for key, shape in shapes.items()}


def lstm_model(
    path: Path,
    arrays: dict[str, Array],
    *,
    shape: list[int | str] | None = None,
    inputs: list[bytes] | None = None,
    extra: list[str] | None = None,
    nodes: list[bytes] | None = None,
    outputs: list[str] | None = None,
    tensors: list[bytes] | None = None,
    opset: int = 20,
    **attributes: Any,
) -> Path:
    """One LSTM node with X, W, R, B and `extra` as inputs; then `nodes`, which take its outputs Y, Y_h and Y_c."""
    names = ["X", *arrays, *(["B"[:0]] if "B" not in arrays else []), *(extra or [])]
    attributes = {"hidden_size": arrays["R"].shape[-1], **attributes}
    lstm = node("LSTM", names, ["Y", "Y_h", "Y_c"], **attributes)
    given = [value("X", shape or ["time", "batch", int(arrays["W"].shape[-1])]), *(inputs or [])]
    stored = [tensor(name, array) for name, array in arrays.items()] + (tensors or [])
    path.write_bytes(model([lstm, *(nodes or [])], stored, given, outputs or ["Y", "Y_h", "Y_c"], opset))
    return path


def onnx_lstm(
    x: Array,
    arrays: dict[str, Array],
    direction: str = "forward",
    h: Array | None = None,
    c: Array | None = None,
    lengths: Any = None,
    functions: Any = None,
) -> tuple[Array, Array, Array]:
    """Y, Y_h, Y_c of the operator LSTM in layout 0, in float64, row by row as its page defines it."""
    x = x.astype(np.float64)
    steps, batch, _ = x.shape
    count, _, units = arrays["R"].shape
    sigmoid = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    f, g, o = functions or (sigmoid, np.tanh, np.tanh)
    y = np.zeros((steps, count, batch, units))
    ends = np.zeros((2, count, batch, units))
    for d in range(count):
        w, r = arrays["W"][d].astype(np.float64), arrays["R"][d].astype(np.float64)
        both = arrays["B"][d].astype(np.float64).reshape(2, -1).sum(0) if "B" in arrays else 0.0
        for row in range(batch):
            state = np.zeros(units) if h is None else h[d, row].astype(np.float64)
            carry = np.zeros(units) if c is None else c[d, row].astype(np.float64)
            length = steps if lengths is None else int(lengths[row])
            order = range(length)[::-1] if direction == "reverse" or d == 1 else range(length)
            for t in order:
                z_i, z_o, z_f, z_c = np.split(w @ x[t, row] + r @ state + both, 4)
                carry = f(z_f) * carry + f(z_i) * g(z_c)
                state = f(z_o) * o(carry)
                y[t, d, row] = state
            ends[0, d, row], ends[1, d, row] = state, carry
    return y, ends[0], ends[1]


def explosion(kind: str) -> bytes:
    """Graphs that would grow beyond all measure if they were done as they are written."""
    big = tensor("big", np.array([2**11, 2**10]))
    names = ["X", "W", "R", "B"]
    stored = [big, tensor("zero", np.zeros((), "f")), tensor("i", np.array([0]))]
    if kind == "expand":
        nodes = [node("Expand", ["zero", "big"], ["e0"])]
        nodes += [node("Concat", [f"e{i}"] * 2, [f"e{i + 1}"], axis=0) for i in range(60)]
    elif kind == "gather":
        nodes = [
            node("Expand", ["i", "big"], ["a"]),
            node("Gather", ["a", "a"], ["b"]),
            node("Gather", ["b", "a"], ["c"]),
        ]
    elif kind == "long":
        nodes = [node("Tanh", ["X" if i == 0 else f"t{i - 1}"], [f"t{i}"]) for i in range(9_000)]
    else:
        nodes = [node("Expand", ["zero", "big"], ["e"])] + [node("Add", ["e", "zero"], [f"a{i}"]) for i in range(3_000)]
    rng = np.random.default_rng(1)
    stored += [tensor(key, array) for key, array in weights(rng).items()]
    nodes.append(node("LSTM", names, ["Y"], hidden_size=4))
    return model(nodes, stored, [value("X", ["time", "batch", 3])], ["t8999" if kind == "long" else "Y"])


def refused(path: Path, *words: str, longest: int = 700) -> None:
    """The file is refused in one line, not too long, that begins with its path and has the words."""
    with pytest.raises(FileFormatError) as caught:
        nl.load(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message and len(message) < longest, message
    assert all(word in message for word in words), message
