"""The plan of an ONNX model: which layers its graph is, what its output is, and which way it runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.onnx_files import lstm_model, model, node, onnx_lstm, tensor, value, weights
from support.onnx_graphs import before, chain, two
from support.paths import DATA

import numba_lstm as nl
from numba_lstm.errors import FileFormatError

TOLERANCE = 2e-6


EXPORTS = np.load(DATA / "onnx_exports.npz", allow_pickle=False)


def test_the_layers_of_exports(tmp_path: Path) -> None:
    def kinds(name: str) -> list[str]:
        (tmp_path / "m.onnx").write_bytes(EXPORTS[f"{name}/file"].tobytes())
        return [type(layer).__name__ for layer in nl.load(tmp_path / "m.onnx").layers]

    assert kinds("torch_script_last") == kinds("torch_dynamo_last") == ["LSTM", "Dense", "Activation"]
    assert kinds("torch_script_h") == ["LSTM", "LSTM", "Dense", "Activation"]
    assert kinds("torch_script_both_last") == ["Bidirectional", "LastTimestep", "Dense", "Activation"]
    assert kinds("torch_dynamo_both_h") == ["Bidirectional", "Dense", "Activation"]
    assert kinds("tf2onnx_both_last") == ["Bidirectional", "Dense"]
    assert kinds("tf2onnx_backwards") == ["LSTM", "LSTM"]


def test_the_final_output_alone(rng: np.random.Generator, tmp_path: Path) -> None:
    x = rng.standard_normal((6, 5, 3)).astype(np.float32)
    for direction in ("forward", "reverse"):
        arrays = weights(rng)
        path = lstm_model(tmp_path / "m.onnx", arrays, direction=direction, outputs=["Y_h"])
        assert np.abs(nl.load(path)(x) - onnx_lstm(x, arrays, direction)[1][0]).max() < TOLERANCE
    with pytest.raises(FileFormatError, match="its output is neither a whole sequence nor its end"):
        nl.load(lstm_model(tmp_path / "m.onnx", weights(rng), outputs=["Y_c"]))


def test_the_last_timestep_of_padded_rows_is_zero(rng: np.random.Generator, tmp_path: Path) -> None:
    arrays = weights(rng)
    path = lstm_model(
        tmp_path / "m.onnx",
        arrays,
        inputs=[value("lens", ["batch"], 6)],
        extra=["lens"],
        nodes=[node("Gather", ["Y", "last"], ["y"]), node("Squeeze", ["y", "zero"], ["out"])],
        tensors=[tensor("last", np.array(-1)), tensor("zero", np.array([0]))],
        outputs=["out"],
    )
    loaded = nl.load(path)
    assert [type(layer).__name__ for layer in loaded.layers] == ["LSTM", "LastTimestep"]
    x = rng.standard_normal((6, 2, 3)).astype(np.float32)
    y = loaded.predict(x, lengths=[6, 4])
    assert not y[1].any() and np.abs(y[0] - onnx_lstm(x, arrays)[0][-1, 0, 0]).max() < TOLERANCE


def test_a_sequence_turned_round(rng: np.random.Generator, tmp_path: Path) -> None:
    """Slices of step -1 around a node: it reads backward, and its output stands forward again."""
    arrays = weights(rng)
    ends = [tensor(name, np.array([number])) for name, number in (("a", -1), ("b", -(2**40)), ("axis", 0))]
    turn = ["a", "b", "axis", "a"]
    nodes = [node("Slice", ["X", *turn], ["r"]), node("LSTM", ["r", "W", "R", "B"], ["Y"], hidden_size=4)]
    nodes += [node("Squeeze", ["Y", "one"], ["s"]), node("Slice", ["s", *turn], ["out"])]
    stored = [tensor(key, array) for key, array in arrays.items()] + [*ends, tensor("one", np.array([1]))]
    (tmp_path / "m.onnx").write_bytes(model(nodes, stored, [value("X", ["time", "batch", 3])], ["out"]))
    loaded = nl.load(tmp_path / "m.onnx")
    assert [type(layer).__name__ for layer in loaded.layers] == ["LSTM", "ReverseTimesteps"]
    x = rng.standard_normal((6, 5, 3)).astype(np.float32)
    assert np.abs(loaded(x) - onnx_lstm(x, arrays, "reverse")[0][:, 0]).max() < TOLERANCE


def test_graphs_that_are_just_not_too_much(tmp_path: Path) -> None:
    before(node("Expand", ["one", "large"], ["e"]), reads="X")(tmp_path / "m.onnx")
    assert nl.load(tmp_path / "m.onnx").count_params() == 128
    chain(498)(tmp_path / "m.onnx")  # with the input and the LSTM 500 stages
    assert len(nl.load(tmp_path / "m.onnx").layers) == 499
    two([], [], *(value(f"i{i}", ["batch", 3]) for i in range(15)))(tmp_path / "m.onnx")
    assert len(nl.load(tmp_path / "m.onnx").layers) == 2
