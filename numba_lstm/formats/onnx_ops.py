"""The operations of ONNX that move numbers without changing them, and those that compute shapes: in NumPy.

Each takes a node, its arrays and the opset and returns its outputs. They work on numbers and on the marks that
`numba_lstm.formats.onnx_trace` puts on data alike. Source: the operators' pages of ONNX, opsets 7 to 24.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numba_lstm.errors import FileFormatError
from numba_lstm.formats.onnx_wire import Node

Array = NDArray[Any]
Operation = Callable[[Node, list[Any], int], list[Array]]

LARGEST = 2**21  # elements of one value

_CASTS = {1: "f4", 2: "u1", 3: "i1", 5: "i2", 6: "i4", 7: "i8", 9: "?", 10: "f2", 11: "f8"}


def _axes(node: Node, arrays: list[Any], at: int) -> list[int] | None:
    """The axes, which are an attribute in old opsets and an input in new ones."""
    if len(arrays) > at and arrays[at] is not None:
        return [int(axis) for axis in np.asarray(arrays[at]).reshape(-1)]
    axes = node.attributes.get("axes")
    return None if axes is None else [int(axis) for axis in axes]


def _transpose(node: Node, arrays: list[Any], opset: int) -> list[Array]:
    return [np.transpose(arrays[0], node.attributes.get("perm"))]


def _reshape(node: Node, arrays: list[Any], opset: int) -> list[Array]:
    shape = [int(n) for n in arrays[1]]
    if not node.attributes.get("allowzero"):
        shape = [arrays[0].shape[i] if n == 0 else n for i, n in enumerate(shape)]
    return [np.reshape(arrays[0], shape)]


def _squeeze(node: Node, arrays: list[Any], opset: int) -> list[Array]:
    axes = _axes(node, arrays, 1)
    return [np.squeeze(arrays[0], None if axes is None else tuple(axes))]


def _unsqueeze(node: Node, arrays: list[Any], opset: int) -> list[Array]:
    return [np.expand_dims(arrays[0], tuple(_axes(node, arrays, 1) or []))]


def _slice(node: Node, arrays: list[Any], opset: int) -> list[Array]:
    if "starts" in node.attributes:
        starts, ends = node.attributes["starts"], node.attributes["ends"]
        axes, steps = node.attributes.get("axes"), None
    else:
        starts, ends = arrays[1], arrays[2]
        axes = _axes(node, arrays, 3)
        steps = arrays[4] if len(arrays) > 4 else None
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    cut = [slice(None)] * arrays[0].ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # Backwards, an end before the first element is one that slices of Python cannot name.
        stop = None if step < 0 and end < -arrays[0].shape[axis] else int(end)
        cut[axis] = slice(int(start), stop, int(step))
    return [arrays[0][tuple(cut)]]


def _gather(node: Node, arrays: list[Any], opset: int) -> list[Array]:
    return [np.take(arrays[0], np.asarray(arrays[1], np.int64), node.attributes.get("axis", 0))]


def _concat(node: Node, arrays: list[Any], opset: int) -> list[Array]:
    return [np.concatenate(arrays, node.attributes["axis"])]


def _split(node: Node, arrays: list[Any], opset: int) -> list[Array]:
    axis = node.attributes.get("axis", 0)
    sizes = arrays[1] if len(arrays) > 1 else node.attributes.get("split")
    if sizes is None:  # equal ones, the last of them smaller where that does not come out even
        each = -(-arrays[0].shape[axis] // len(node.outputs))
        return list(np.split(arrays[0], range(each, each * len(node.outputs), each), axis))
    return list(np.split(arrays[0], np.cumsum(sizes)[:-1], axis))


def _flatten(node: Node, arrays: list[Any], opset: int) -> list[Array]:
    axis = node.attributes.get("axis", 1)
    axis += arrays[0].ndim if axis < 0 else 0
    return [arrays[0].reshape(prod(arrays[0].shape[:axis]), prod(arrays[0].shape[axis:]))]


def _expand(node: Node, arrays: list[Any], opset: int) -> list[Array]:
    return [_broadcast(arrays[0], np.broadcast_shapes(arrays[0].shape, tuple(int(n) for n in arrays[1])))]


def _constant_of_shape(node: Node, arrays: list[Any], opset: int) -> list[Array]:
    value = node.attributes.get("value")
    return [_broadcast(np.float32(0) if value is None else value.constant().reshape(()), [int(n) for n in arrays[0]])]


def _broadcast(value: Any, shape: Sequence[int]) -> Array:
    if prod(shape) > LARGEST:
        raise FileFormatError(f"a value of shape {list(shape)} is too large to be followed")
    return np.broadcast_to(value, tuple(shape))


def _reverse_sequence(node: Node, arrays: list[Any], opset: int) -> list[Array]:
    data, lengths = arrays
    axis = node.attributes.get("time_axis", 0)
    if (np.asarray(lengths) != data.shape[axis]).any():
        raise FileFormatError("ReverseSequence of parts of a sequence is not supported; expected whole ones")
    return [np.flip(data, axis)]


def _shape(node: Node, arrays: list[Any], opset: int) -> list[Array]:
    shape = np.array(arrays[0].shape, np.int64)
    return [shape[slice(node.attributes.get("start", 0), node.attributes.get("end"))]]


def _cast(node: Node, arrays: list[Any], opset: int) -> list[Array]:
    return [np.asarray(arrays[0]).astype(_CASTS[node.attributes["to"]])]


def _same(node: Node, arrays: list[Any], opset: int) -> list[Array]:
    return [np.asarray(arrays[0])]


def _divide(first: Any, second: Any) -> Any:
    """Divide; integers are truncated, as in C."""
    if np.result_type(first, second).kind == "f":
        return np.true_divide(first, second)
    return np.abs(first) // np.abs(second) * (np.sign(first) * np.sign(second))


def _elementwise(function: Callable[..., Any]) -> Operation:
    return lambda node, arrays, opset: [np.asarray(function(*arrays))]


def result_size(node: Node, arrays: list[Any]) -> int:
    """The largest number of elements that an operation will write, to be checked before it runs."""
    if node.op in _VIEWS:
        return 0
    shapes = [np.shape(array) for array in arrays if array is not None]
    if node.op == "Gather" and len(shapes) > 1:
        axis: int = node.attributes.get("axis", 0)
        size: int = prod(shapes[0]) * prod(shapes[1]) // max(shapes[0][axis], 1)
        return size
    if node.op in SHAPES and node.op not in ("Cast", "ConstantOfShape"):
        return prod(np.broadcast_shapes(*shapes))
    return sum(map(prod, shapes))


# What leaves the numbers where they are, or, when it makes many of a few, writes each but once.
_VIEWS = ("ConstantOfShape", "Expand", "Identity", "Shape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")
# What moves numbers about.
MOVES: dict[str, Operation] = {
    "Concat": _concat,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Identity": _same,
    "Reshape": _reshape,
    "ReverseSequence": _reverse_sequence,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
# What computes with shapes, besides.
SHAPES: dict[str, Operation] = {
    "Add": _elementwise(np.add),
    "Cast": _cast,
    "ConstantOfShape": _constant_of_shape,
    "Div": _elementwise(_divide),
    "Equal": _elementwise(np.equal),
    "Mul": _elementwise(np.multiply),
    "Shape": _shape,
    "Sub": _elementwise(np.subtract),
    "Where": _elementwise(np.where),
}
