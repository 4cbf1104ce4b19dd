"""ONNX files whose messages are damaged, or hold what is not read: the bytes of each, and the words that name it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from support.onnx_files import attribute, entry, model, tensor, value, varint
from support.onnx_graphs import ARRAYS, X, lstm

W = tensor("W", ARRAYS["W"])


def whole(*first: bytes, nodes: tuple[bytes, ...] = (), made: bytes = W) -> bytes:
    """A model of one LSTM node: `made` is its W, `first` stand in front of everything, `nodes` in front of the node."""
    stored = [made, *(tensor(key, ARRAYS[key]) for key in "RB")]
    return b"".join(first) + model([*nodes, lstm(["X", "W", "R", "B"], ["Y"])], stored, [X], ["Y"])


def listed(code: int, field: int, content: bytes, *dims: int) -> bytes:
    """A tensor W with its numbers in another field than raw data."""
    return b"".join(entry(1, n) for n in dims or (1, 16, 3)) + entry(2, code) + entry(8, "W") + entry(field, content)


def constant(*attributes: bytes) -> bytes:
    return entry(2, "k") + entry(4, "Constant") + b"".join(entry(5, one) for one in attributes)


def held(name: str, kind: int, *fields: bytes) -> bytes:
    return entry(1, name) + b"".join(fields) + entry(20, kind)


INTS = attribute("value_ints", [1, 2])
GRAPH = entry(7, entry(12, value("Y", [])))
BYTES: Mapping[str, tuple[bytes, str]] = {
    "no graph": (entry(1, 10), "holds no graph; expected an ONNX model"),
    "groups": (whole(b"\x0b"), "is no ONNX model, or damaged: copy or write it again"),
    "cut text": (whole()[:-3], "was cut short, or is no ONNX model: copy or write it again"),
    "cut number": (whole() + varint(1 << 3 | 5) + b"123", "was cut short, or is no ONNX model"),
    "cut double": (whole() + varint(1 << 3 | 1) + b"1234567", "was cut short, or is no ONNX model"),
    "no end of a number": (whole() + b"\x08\x80", "a number does not end where it should"),
    "eleven bytes of a number": (whole() + b"\x08" + b"\xff" * 10 + b"\1", "a number does not end where it should"),
    "endless packed number": (whole(made=listed(7, 7, b"\x80")), "a number does not end where it should"),
    "long text": (whole(entry(2, "x" * 4097)), "has a field of 4097 bytes; expected 4096"),
    "long list": (whole(made=listed(7, 7, bytes(40961))), "has a field of 40961 bytes; expected 40960"),
    "long list of floats": (whole(nodes=(constant(held("value_floats", 6, entry(7, bytes(16388)))),)),
                            "has a field of 16388 bytes; expected 16384"),
    "text for a number": (whole(nodes=(constant(held("value_int", 2, entry(3, b"\2"))),)),
                          "has a field 3 that is written as another kind of value"),
    "number for text": (whole(entry(2, 5)), "has a field 2 that is written as another kind of value"),
    "bytes that are no text": (whole(entry(2, b"\xff")), "is damaged: cannot read the graph (UnicodeDecodeError)"),
    "endless fields": (entry(7, entry(1, b"") * 20_000), "has fields without end"),
    "endless numbers": (whole(made=listed(7, 7, bytes(21_000))), "has fields without end"),
    "endless floats": (whole(nodes=(constant(held("value_floats", 6, *[entry(7, bytes(16384))] * 5)),)),
                       "has fields without end"),
    "sparse": (whole() + entry(7, entry(15, b"")), "has sparse tensors, which are not read; export it without"),
    "two tensors": (whole() + GRAPH + entry(7, entry(5, W) * 2), "has two tensors 'W'; it is damaged"),
    "an attribute twice": (whole(nodes=(constant(INTS, INTS),)), "has the attribute 'value_ints' twice"),
    "of a function": (whole(nodes=(constant(held("value_ints", 7, entry(8, 1), entry(21, "f"))),)),
                      "attribute 'value_ints' is that of a function"),
    "declared": (whole(nodes=(constant(held("value_int", 2, entry(8, 1))),)), "is declared as INT and holds INTS;"),
    "unknown": (whole(nodes=(constant(attribute("axes", [1])),)), "'axes', which the operation Constant does not have"),
    "type": (whole(nodes=(constant(attribute("value_int", [1])),)), "'value_int' is of the type INTS; expected INT"),
    "two constants": (whole(nodes=(constant(INTS, attribute("value_int", 1)),)), "is a Constant with the attributes"),
    "another file": (whole(made=W + entry(13, entry(1, "location"))), "keeps its data in another file, which is not"),
    "another place": (whole(made=W + entry(14, 1)), "keeps its data in another file, which is not opened"),
    "segments": (whole(made=W + entry(3, b"")), "is in segments or holds text, which is not read"),
    "text": (whole(made=W + entry(6, b"text")), "is in segments or holds text, which is not read"),
    "pieces": (whole(made=W + entry(9, b"1234")), "has a tensor in pieces, which is not read; export it anew"),
    "pieces of floats": (whole(made=W + entry(4, b"1234")), "has a tensor in pieces, which is not read"),
    "text tensor": (whole(made=listed(8, 9, b"1234")), "tensor 'W' is of type 8 and shape [1, 16, 3]; expected"),
    "no type": (whole(made=listed(0, 9, b"1234")), "tensor 'W' is of type 0 and shape [1, 16, 3]; expected"),
    "bfloat16": (whole(made=listed(16, 9, bytes(96))), "tensor 'W' is of type 16 and shape"),
    "negative": (whole(made=listed(1, 9, b"", -1)), "of type 1 and shape [-1]; expected floats of 16 to 64 bits or"),
    "nine axes": (whole(made=listed(1, 9, bytes(4), *[1] * 9)), "of type 1 and shape [1, 1, 1, 1, 1, 1, ...]; expecte"),
    "2**31": (whole(made=listed(1, 9, b"", 2**31, 0)), "of type 1 and shape [2147483648, 0]; expected"),
    "wrong list": (whole(made=listed(1, 5, bytes(48))), "of float32 has its numbers in [5] of the fields of a tensor"),
    "wrong packing": (whole(made=listed(11, 4, bytes(384))), "of float64 has its numbers in [4] of the fields"),
    "two fields": (whole(made=W + entry(7, b"\1")), "has its numbers in [7, 9] of the fields of a tensor; expected on"),
    "few bytes": (whole(made=listed(1, 9, bytes(188))), "has shape (1, 16, 3) and 188 bytes; expected 192"),
    "many bytes": (whole(made=listed(1, 9, bytes(196))), "has shape (1, 16, 3) and 196 bytes; expected 192"),
    "few numbers": (whole(made=listed(10, 5, bytes(47))), "has shape (1, 16, 3) and 94 bytes; expected 96"),
    "large numbers": (whole(made=listed(2, 5, varint(256) * 48)), "tensor 'W' has numbers that no uint8 holds"),
    "negative numbers": (whole(made=listed(10, 5, varint(-1) * 48)), "tensor 'W' has numbers that no uint16 holds"),
}  # fmt: skip
# What is just not too much.
FITTING: Mapping[str, bytes] = {
    "long text": whole(entry(2, "x" * 4096)),
    "long list of floats": whole(nodes=(constant(held("value_floats", 6, entry(7, bytes(16384)))),)),
    "eight axes": whole(nodes=(constant(attribute("value", np.zeros((1,) * 8))),)),
    "long axis": whole(nodes=(constant(held("value", 4, entry(5, listed(1, 9, b"", 2**31 - 1, 0)))),)),
    "last number": whole(nodes=(constant(held("value", 4, entry(5, listed(2, 5, varint(255) * 3, 3)))),)),
}
