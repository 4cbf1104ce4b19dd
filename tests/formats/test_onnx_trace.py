"""Graphs of ONNX followed node by node: what is right becomes a layer, and what only looks alike does not."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.onnx_files import lstm_model, model, node, onnx_lstm, refused, tensor, value, weights

import numba_lstm as nl
from numba_lstm.errors import FileFormatError
from numba_lstm.formats.onnx_attributes import ATTRIBUTES, TYPES


def moved(path: Path, *nodes: bytes, opset: int = 20, **numbers: Any) -> Callable[[], Any]:
    """A loader of an LSTM of 4 units with the inputs (6, 5, 3), and `nodes` behind its Y (6, 1, 5, 4) and Y_h."""
    stored = [tensor(name, np.array(number)) for name, number in numbers.items()]
    arrays = weights(np.random.default_rng(1))
    lstm_model(path, arrays, shape=[6, 5, 3], nodes=list(nodes), tensors=stored, outputs=["out"], opset=opset)
    return lambda: nl.load(path)


TWICE = [("MatMul", "Y_h", "k", "m"), ("Add", "m", "b4", "n"), ("Add", "n", "b4", "out")]  # two biases


H = node("Squeeze", ["Y_h", "zero"], ["h"])


@pytest.mark.parametrize(
    ("nodes", "opset", "right"),
    [
        ([node("Reshape", ["Y", "copied"], ["out"])], 20, True),
        ([node("Reshape", ["Y", "copied"], ["out"], allowzero=0)], 20, True),
        ([node("Reshape", ["Y", "copied"], ["out"], allowzero=1)], 20, False),
        ([H, node("Flatten", ["h"], ["out"])], 20, True),
        ([H, node("Flatten", ["h"], ["out"], axis=-1)], 20, True),
        ([H, node("Flatten", ["h"], ["out"], axis=0)], 20, False),
        ([H, node("Softmax", ["h"], ["out"])], 12, True),
        ([H, node("Softmax", ["h"], ["out"])], 13, True),
        ([node("Softmax", ["Y_h"], ["out"])], 12, False),
        ([node("Softmax", ["Y_h"], ["out"])], 13, True),
        ([node("Softmax", ["Y_h"], ["out"], axis=2)], 12, True),
        ([node("LogSoftmax", ["Y_h"], ["out"], axis=1)], 13, False),
        ([node("Dropout", ["Y_h"], ["out"])], 6, False),
        ([node("Dropout", ["Y_h"], ["out"], is_test=1)], 6, True),
        ([node("Dropout", ["Y_h"], ["out"])], 7, True),
        ([node("Dropout", ["Y_h", "half", "true"], ["out"])], 13, False),
        ([node("Dropout", ["Y_h", "half", "false"], ["out"])], 13, True),
        ([node("Dropout", ["Y_h", "half", "Y"], ["out"])], 13, False),
        ([node("Dropout", ["half", "Y_h"], ["out"])], 13, False),
        ([node("Cast", ["Y_h"], ["out"], to=1)], 13, True),
        ([node("Cast", ["Y_h"], ["out"], to=11)], 13, True),
        ([node("Cast", ["Y_h"], ["out"], to=10)], 13, False),
        ([node("Cast", ["Y_h"], ["out"], to=7)], 13, False),
        ([node("HardSigmoid", ["Y_h"], ["out"])], 13, True),
        ([node("HardSigmoid", ["Y_h"], ["out"], alpha=0.25)], 13, False),
        ([node("HardSigmoid", ["Y_h"], ["out"], beta=0.25)], 13, False),
        ([node("Elu", ["Y_h"], ["out"], alpha=1.0)], 13, True),
        ([node("Gelu", ["Y_h"], ["out"], approximate="none")], 20, True),
        ([H, node("Gemm", ["h", "k"], ["out"])], 13, True),
        ([H, node("Gemm", ["h", "k", "b4"], ["out"])], 13, True),
        ([H, node("Gemm", ["h", "k", "b14"], ["out"])], 13, True),
        ([H, node("Gemm", ["h", "k"], ["out"], alpha=0.5)], 13, False),
        ([H, node("Gemm", ["h", "k"], ["out"], beta=0.5)], 13, False),
        ([H, node("Gemm", ["h", "k"], ["out"], transA=1)], 13, False),
        ([H, node("Gemm", ["k", "h"], ["out"])], 13, False),
        ([H, node("Gemm", ["h", "k", "h"], ["out"])], 13, False),
        ([node("Gemm", ["Y_h", "k"], ["out"])], 13, False),
        ([node("MatMul", ["Y_h", "k"], ["out"])], 13, True),
        ([node("MatMul", ["k", "Y_h"], ["out"])], 13, False),
        ([node("MatMul", ["Y_h", "k3"], ["out"])], 13, False),
        ([node("MatMul", ["Y_h", "k"], ["m"]), node("Add", ["m", "b4"], ["out"])], 13, True),
        ([node("MatMul", ["Y_h", "k"], ["m"]), node("Add", ["b4", "m"], ["out"])], 13, True),
        ([node("MatMul", ["Y_h", "k"], ["m"]), node("Add", ["m", "b14"], ["out"])], 13, True),
        ([node("MatMul", ["Y_h", "k"], ["m"]), node("Add", ["m", "b1"], ["out"])], 13, False),
        ([node("MatMul", ["Y_h", "k"], ["m"]), node("Add", ["m", "k"], ["out"])], 13, False),
        ([node("MatMul", ["Y_h", "k"], ["m"]), node("Add", ["m", "b1114"], ["out"])], 13, False),
        ([node("MatMul", ["Y_h", "k"], ["m"]), node("Add", ["m", "b4"], ["out"], axis=1, broadcast=1)], 6, False),
        ([*(node(op, list(ends[:2]), [ends[2]]) for op, *ends in TWICE)], 13, False),
        ([node("Add", ["Y_h", "b4"], ["out"])], 13, False),
    ],
)  # fmt: skip
def test_what_is_a_layer(tmp_path: Path, nodes: list[bytes], opset: int, right: bool) -> None:
    zeros = {f"b{'1' * (rank - 1)}4": np.zeros((1,) * (rank - 1) + (4,), "f") for rank in (1, 2, 4)}
    numbers = {"zero": [0], "copied": [0, 5, 4], "half": np.float32(0.5), "true": True, "false": False}
    load = moved(
        tmp_path / "m.onnx", *nodes, opset=opset, **numbers, **zeros,
        b1=np.zeros(1, "f"), k=np.zeros((4, 4), "f"), k3=np.zeros((1, 4, 4), "f"),
    )  # fmt: skip
    if right:
        assert load().layers
    else:
        with pytest.raises(FileFormatError):
            load()


TOLERANCE = 2e-6


def test_an_embedding(rng: np.random.Generator, tmp_path: Path) -> None:
    arrays = weights(rng)
    table = rng.standard_normal((9, 3)).astype(np.float32)
    nodes = [node("Gather", ["table", "words"], ["e"]), node("Transpose", ["e"], ["X"], perm=[1, 0, 2])]
    nodes += [node("LSTM", ["X", "W", "R", "B"], ["Y", "h"], hidden_size=4), node("Squeeze", ["h", "zero"], ["out"])]
    stored = [tensor(key, array) for key, array in [*arrays.items(), ("table", table), ("zero", np.array([0]))]]
    (tmp_path / "m.onnx").write_bytes(model(nodes, stored, [value("words", ["batch", "time"], 7)], ["out"]))
    words = rng.integers(0, 9, (5, 6))
    expected = onnx_lstm(table[words].swapaxes(0, 1), arrays)[1][0]
    assert np.abs(nl.load(tmp_path / "m.onnx")(words) - expected).max() < TOLERANCE


OPERATIONS = ["Transpose", "Reshape", "Squeeze", "Unsqueeze", "Slice", "Gather", "Concat", "Split", "Flatten", "Expand"]
OPERATIONS += ["ReverseSequence", "Identity", "Shape", "Cast", "Mul", "Add", "Where", "ConstantOfShape", "Constant"]
OPERATIONS += ["LSTM", "Gemm", "MatMul", "Softmax", "Tanh", "Dropout", "Loop"]


VALUES = ["X", "h0", "W", "R", "B", "zero", "one", "pair", "axes", ""]


ANY_ATTRIBUTES = st.dictionaries(
    st.sampled_from(["axis", "perm", "axes", "starts", "ends", "to", "transB", "time_axis", "direction", "layout"]),
    st.one_of(st.integers(-3, 12), st.lists(st.integers(-3, 3), min_size=1, max_size=3), st.just("reverse")),
    max_size=3,
)


NODES = st.lists(
    st.tuples(st.sampled_from(OPERATIONS), st.lists(st.integers(0, 30), max_size=5), ANY_ATTRIBUTES), max_size=12
)


@settings(max_examples=120, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(NODES, st.lists(st.integers(0, 30), min_size=1, max_size=2))
def test_graphs_of_any_kind(parts: list[Any], ends: list[int]) -> None:
    """Operations on one another in any order: a model or one of our errors."""
    rng = np.random.default_rng(1)
    numbers = {"zero": np.array([0]), "one": np.array([1]), "pair": np.array([0, 2]), "axes": np.array([1, 0, 2])}
    stored = [tensor(name, array) for name, array in [*weights(rng).items(), *numbers.items()]]
    nodes, names = (
        [node("LSTM", ["X", "W", "R", "B"], ["Y", "Y_h", "Y_c"], hidden_size=4)],
        [*VALUES, "Y", "Y_h", "Y_c"],
    )
    for number, (op, inputs, attributes) in enumerate(parts):
        kinds = {"INT": int, "INTS": list, "STRING": str}
        own = {k: v for k, v in attributes.items() if k in ATTRIBUTES.get(op, ()) and isinstance(v, kinds[TYPES[k]])}
        nodes.append(node(op, [names[place % len(names)] for place in inputs], [f"v{number}"], **own))
        names.append(f"v{number}")
    outputs = [names[-1 - place % len(names)] for place in ends]
    inputs = [value("X", ["time", "batch", 3]), value("h0", [1, "batch", 4])]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.onnx")
        path.write_bytes(model(nodes, stored, inputs, outputs))
        try:
            nl.load(path)
        except nl.NumbaLSTMError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error) and len(str(error)) < 1200


def test_halves_of_floats_are_no_zeros(rng: np.random.Generator, tmp_path: Path) -> None:
    """1 / 2 is half of an initial state, and not nothing; of sizes it is 0."""
    arrays = weights(rng)
    half = node("Div", ["ones", "twos"], ["h"])
    lstm = node("LSTM", ["X", "W", "R", "B", "", "h", "h"], ["Y"], hidden_size=4)
    for dtype, wrong in (("f4", True), ("i8", False)):
        both = {"ones": np.ones((1, 2, 4), dtype), "twos": np.full((1, 2, 4), 2, dtype)}
        stored = [tensor(key, array) for key, array in [*arrays.items(), *both.items()]]
        path = tmp_path / "m.onnx"
        path.write_bytes(model([half, lstm], stored, [value("X", [6, 2, 3])], ["Y"]))
        if wrong:
            refused(path, "fixed initial states other than zeros")
        else:
            assert nl.load(path).count_params() == 128


def test_indices_that_come_as_floats(rng: np.random.Generator, tmp_path: Path) -> None:
    """A Cast to integers is part of an embedding, and of nothing else."""
    arrays = weights(rng)
    table = rng.standard_normal((9, 3)).astype(np.float32)
    cast = node("Cast", ["words"], ["i"], to=6)
    nodes = [node("Gather", ["table", "i"], ["e"]), node("Transpose", ["e"], ["X"], perm=[1, 0, 2])]
    nodes += [node("LSTM", ["X", "W", "R", "B"], ["Y", "h"], hidden_size=4), node("Squeeze", ["h", "zero"], ["out"])]
    stored = [tensor(key, array) for key, array in [*arrays.items(), ("table", table), ("zero", np.array([0]))]]
    path = tmp_path / "m.onnx"
    path.write_bytes(model([cast, *nodes], stored, [value("words", ["batch", "time"])], ["out"]))
    words = rng.integers(0, 9, (5, 6))
    expected = onnx_lstm(table[words].swapaxes(0, 1), arrays)[1][0]
    assert np.abs(nl.load(path)(words) - expected).max() < TOLERANCE
    for middle in ([], [node("Cast", ["i"], ["X"], to=1)], [node("Relu", ["i"], ["X"])]):
        source = "X" if middle else "i"
        lstm = node("LSTM", [source, "W", "R", "B"], ["Y"], hidden_size=4)
        shape: list[int | str] = ["time", "batch", 3]
        path.write_bytes(model([cast, *middle, lstm], stored, [value("words", shape)], ["Y"]))
        refused(path)


def test_dropout_has_no_mask_here(rng: np.random.Generator, tmp_path: Path) -> None:
    drop = [node("Dropout", ["Y"], ["z", "mask"]), node("Cast", ["mask"], ["m"], to=1)]
    assert len(nl.load(lstm_model(tmp_path / "m.onnx", weights(rng), nodes=drop, outputs=["z"])).layers) == 1
    refused(lstm_model(tmp_path / "m.onnx", weights(rng), nodes=drop, outputs=["m"]), "the operation 'Dropout'")
    old = [node("Dropout", ["Y"], ["z"], ratio=0.5)]
    refused(
        lstm_model(tmp_path / "m.onnx", weights(rng), nodes=old, outputs=["z"], opset=6), "'Dropout' with ratio 0.5"
    )
