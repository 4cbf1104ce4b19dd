"""formats/onnx_ops.py: operations on small arrays, beside what the operators' pages of ONNX say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numba_lstm.formats.onnx_ops import MOVES, SHAPES, result_size
from numba_lstm.formats.onnx_wire import Node

R = np.arange(24).reshape(2, 3, 4)
ROW = np.arange(6)
FAR = 2**40
CASES: list[tuple[str, list[Any], dict[str, Any], list[Any]]] = [
    ("Transpose", [R], {}, [R.T]),
    ("Transpose", [R], {"perm": [1, 0, 2]}, [R.swapaxes(0, 1)]),
    ("Reshape", [R, [0, -1]], {}, [R.reshape(2, 12)]),
    ("Reshape", [R, [4, 0, -1]], {"allowzero": 0}, [R.reshape(4, 3, 2)]),
    ("Reshape", [np.zeros((0, 3)), [3, 0]], {"allowzero": 1}, [np.zeros((3, 0))]),
    ("Squeeze", [R.reshape(1, 2, 3, 1, 4)], {}, [R]),
    ("Squeeze", [R.reshape(1, 2, 3, 1, 4), [-2]], {}, [R.reshape(1, 2, 3, 4)]),
    ("Squeeze", [R.reshape(1, 2, 3, 1, 4)], {"axes": [0]}, [R.reshape(2, 3, 1, 4)]),
    ("Squeeze", [R.reshape(1, 2, 3, 1, 4), None], {"axes": [0]}, [R.reshape(2, 3, 1, 4)]),
    ("Unsqueeze", [R, [0, 4]], {}, [R.reshape(1, 2, 3, 4, 1)]),
    ("Unsqueeze", [R], {"axes": [1]}, [R.reshape(2, 1, 3, 4)]),
    ("Slice", [R], {"starts": [1, 0], "ends": [FAR, 2]}, [R[1:, :2]]),
    ("Slice", [R], {"starts": [-2], "ends": [-1], "axes": [2]}, [R[:, :, 2:3]]),
    ("Slice", [R, [1, 0], [3, 2]], {}, [R[1:3, :2]]),
    ("Slice", [R, [0], [FAR], [-1], [3]], {}, [R[..., ::3]]),
    ("Slice", [R, [-1], [-FAR], [1], [-1]], {}, [R[:, ::-1]]),
    ("Slice", [R, [-1], [-3], [1], [-1]], {}, [R[:, 2:0:-1]]),
    ("Slice", [R, [-1], [-4], [1], [-1]], {}, [R[:, ::-1]]),
    ("Gather", [R, 1], {}, [R[1]]),
    ("Gather", [R, [[1], [0]]], {"axis": 1}, [R[:, [[1], [0]]]]),
    ("Gather", [R, -1], {"axis": -1}, [R[..., -1]]),
    ("Concat", [R, R[:1]], {"axis": 0}, [np.vstack([R, R[:1]])]),
    ("Concat", [R, R], {"axis": -1}, [np.dstack([R, R])]),
    ("Split", [ROW, [1, 2, 3]], {}, [ROW[:1], ROW[1:3], ROW[3:]]),
    ("Split", [R], {"axis": 2, "split": [1, 3]}, [R[..., :1], R[..., 1:]]),
    ("Split", [np.arange(5)], {}, [np.arange(3), np.arange(3, 5)]),
    ("Split", [R], {}, [R[:1], R[1:]]),
    ("Flatten", [R], {}, [R.reshape(2, 12)]),
    ("Flatten", [R], {"axis": 0}, [R.reshape(1, 24)]),
    ("Flatten", [R], {"axis": 2}, [R.reshape(6, 4)]),
    ("Flatten", [R], {"axis": 3}, [R.reshape(24, 1)]),
    ("Flatten", [R], {"axis": -2}, [R.reshape(2, 12)]),
    ("Flatten", [R], {"axis": -3}, [R.reshape(1, 24)]),
    ("Flatten", [np.zeros((0, 3))], {}, [np.zeros((0, 3))]),
    ("Expand", [ROW, [2, 1]], {}, [np.stack([ROW, ROW])]),
    ("Expand", [ROW.reshape(6, 1), [1, 2]], {}, [np.stack([ROW, ROW], axis=1)]),
    ("ReverseSequence", [R, [2, 2, 2]], {"batch_axis": 1, "time_axis": 0}, [R[::-1]]),
    ("ReverseSequence", [R, [2, 2, 2]], {}, [R[::-1]]),
    ("ReverseSequence", [R, [3, 3]], {"time_axis": 1}, [R[:, ::-1]]),
    ("Identity", [R], {}, [R]),
    ("Shape", [R], {}, [[2, 3, 4]]),
    ("Shape", [R], {"start": 1}, [[3, 4]]),
    ("Shape", [R], {"start": -3, "end": -1}, [[2, 3]]),
    ("Cast", [[1.9, -1.9, 0.0]], {"to": 7}, [[1, -1, 0]]),
    ("Cast", [[2.0, 0.0]], {"to": 9}, [[True, False]]),
    ("ConstantOfShape", [[2, 1]], {}, [np.zeros((2, 1), np.float32)]),
    ("Add", [R, ROW[:4]], {}, [R + ROW[:4]]),
    ("Sub", [R, ROW[:4]], {}, [R - ROW[:4]]),
    ("Mul", [R, ROW[:4]], {}, [R * ROW[:4]]),
    ("Div", [[7, -7, 7, -7], [2, 2, -2, -2]], {}, [[3, -3, -3, 3]]),
    ("Div", [np.array([1.0, 3.0]), np.array([2.0, -2.0])], {}, [[0.5, -1.5]]),
    ("Equal", [[1, 2], [1, 3]], {}, [[True, False]]),
    ("Where", [[True, False], [1, 2], [3, 4]], {}, [[1, 4]]),
]


@pytest.mark.parametrize(("op", "inputs", "attributes", "outputs"), CASES)
def test_operations(op: str, inputs: list[Any], attributes: dict[str, Any], outputs: list[Any]) -> None:
    arrays = [None if value is None else np.asarray(value) for value in inputs]
    made = Node(op=op, outputs=["o"] * len(outputs), attributes=attributes)
    found = {**SHAPES, **MOVES}[op](made, arrays, 20)
    assert len(found) == len(outputs)
    for one, other in zip(found, map(np.asarray, outputs), strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype and np.array_equal(one, other)
    if op in ("Concat", "Flatten", "Gather", "Reshape", "ReverseSequence", "Cast", "Add", "Equal", "Where"):
        assert result_size(made, arrays) >= sum(one.size for one in found)


def test_all_operations_are_tried() -> None:
    assert {case[0] for case in CASES} == {*MOVES, *SHAPES}


@pytest.mark.parametrize(
    ("code", "name"),
    [(1, "f4"), (2, "u1"), (3, "i1"), (5, "i2"), (6, "i4"), (7, "i8"), (9, "?"), (10, "f2"), (11, "f8")],
)
def test_types_of_casts(code: int, name: str) -> None:
    (found,) = SHAPES["Cast"](Node(op="Cast", attributes={"to": code}), [np.array([1, 0])], 20)
    assert found.dtype == np.dtype(name)


def test_a_size_is_known_before_the_work() -> None:
    pair, table = np.zeros((5, 7)), np.zeros((3, 2))
    assert result_size(Node(op="Gather"), [pair, np.zeros((2, 3))]) == 2 * 3 * 7
    assert result_size(Node(op="Gather", attributes={"axis": 1}), [pair, np.zeros((2, 3))]) == 2 * 3 * 5
    assert result_size(Node(op="Concat"), [pair, pair, table]) == 76
    assert result_size(Node(op="Add"), [pair, np.zeros((5, 1)), None]) == 35
    assert result_size(Node(op="Mul"), [np.zeros((5, 1)), np.zeros(9)]) == 45
    assert result_size(Node(op="Cast"), [pair]) == 35
    assert result_size(Node(op="Transpose"), [pair]) == 0


# -- the same in graphs: what is right is loaded, what only looks alike is not --
