"""formats/onnx.py and its parts: real exports, every plain LSTM node against the operator's definition, the rest."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.onnx_files import entry, lstm_model, model, node, onnx_lstm, tensor, value, weights
from support.paths import DATA, GOLDENS

import numba_lstm as nl
from numba_lstm.errors import FileFormatError
from numba_lstm.formats.onnx_attributes import ATTRIBUTES, TYPES

Array = NDArray[Any]
TOLERANCE = 2e-6
EXPORTS = np.load(DATA / "onnx_exports.npz", allow_pickle=False)
NAMES = sorted({key.partition("/")[0] for key in EXPORTS.files})


def states(h: Array, c: Array) -> list[Array]:
    return [state for pair in zip(h, c, strict=True) for state in pair]


# -- what exporters write --


@pytest.mark.parametrize("name", NAMES)
def test_exports(name: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(EXPORTS[f"{name}/file"].tobytes())
    loaded = nl.load(path)
    x, y = EXPORTS[f"{name}/in0"], EXPORTS[f"{name}/out0"]
    if not name.endswith("_states"):
        assert np.abs(loaded(x) - y).max() < TOLERANCE
        return
    start = states(EXPORTS[f"{name}/in1"], EXPORTS[f"{name}/in2"])
    outputs, ends = loaded.run_rows(x, initial_state=start, return_state=True)
    assert np.abs(outputs - y).max() < TOLERANCE
    for end, expected in zip(ends, states(EXPORTS[f"{name}/out1"], EXPORTS[f"{name}/out2"]), strict=True):
        assert np.abs(end - expected).max() < TOLERANCE
    notes = "\n".join(loaded.source.notes)
    assert "are the initial states: run_rows takes" in notes and "are final states: run_rows gives" in notes


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


def check_feeds(folder: Path, row: Any) -> None:
    """Run a stored file as its entry says: X with the timesteps first, and what else it is fed with."""
    files = folder / "files"
    loaded = nl.load(files / row["file"])
    assert loaded.dialect == "keras2" and "activations are those of Keras 2" in loaded.source.dialect_from
    if "x" in row:
        assert np.abs(loaded(np.load(files / row["x"])) - np.load(files / row["y"])).max() < TOLERANCE
        return
    fed = {key.removeprefix("feed_"): np.load(files / name) for key, name in row.items() if key.startswith("feed_")}
    given = {key.removeprefix("out_"): np.load(files / name) for key, name in row.items() if key.startswith("out_")}
    x, start, mask = fed["X"], None, None
    assert loaded.time_major
    if "lens" in fed:
        mask = np.arange(len(x))[:, np.newaxis] < fed["lens"]
        start = states(fed["h0"], fed["c0"])
        whole = loaded.run_rows(x, mask=mask, time_major=True)[0]
        assert np.array_equal(loaded.predict(x, lengths=fed["lens"]), whole)
    outputs, ends = loaded.run_rows(x, mask=mask, initial_state=start, time_major=True, return_state=True)
    steps, directions, batch, units = given["Y"].shape
    shaped = outputs.reshape(steps, batch, directions, units).transpose(0, 2, 1, 3)
    assert np.abs(shaped - given["Y"]).max() < TOLERANCE
    assert np.abs(np.stack(ends[::2]) - given["Y_h"]).max() < TOLERANCE
    assert np.abs(np.stack(ends[1::2]) - given["Y_c"]).max() < TOLERANCE


def onnx_rows(folder: Path) -> list[Any]:
    book = folder / "files_torch_onnx.json"
    rows = json.loads(book.read_text())["files"] if book.exists() else []
    return [row for row in rows if row["file"].endswith(".onnx")]


@pytest.mark.parametrize("row", onnx_rows(GOLDENS), ids=lambda row: row["file"])
def test_stored_files(row: Any) -> None:
    check_feeds(GOLDENS, row)


@pytest.mark.goldens
def test_all_stored_files(goldens: Any) -> None:
    rows = onnx_rows(goldens.data)
    assert len(rows) == 4
    for row in rows:
        check_feeds(goldens.data, row)


# -- every plain LSTM node --


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_nodes(rng: np.random.Generator, tmp_path: Path, direction: str, layout: int, biased: bool) -> None:
    arrays = weights(rng, 2 if direction == "bidirectional" else 1)
    if not biased:
        del arrays["B"]
    shape: list[int | str] = ["batch", "time", 3] if layout else ["time", "batch", 3]
    path = lstm_model(tmp_path / "m.onnx", arrays, shape=shape, direction=direction, layout=layout)
    loaded = nl.load(path)
    assert loaded.time_major == (layout == 0)
    x = rng.standard_normal((6, 5, 3)).astype(np.float32)
    outputs, ends = loaded.run_rows(x, time_major=True, return_state=True)
    y, h, c = onnx_lstm(x, arrays, direction)
    assert np.abs(outputs - y.transpose(0, 2, 1, 3).reshape(6, 5, -1)).max() < TOLERANCE
    assert np.abs(np.stack(ends[::2]) - h).max() < TOLERANCE
    assert np.abs(np.stack(ends[1::2]) - c).max() < TOLERANCE
    where = [source.where for source in loaded.source.weights]
    assert where[:2] == (["'W' [0]", "'R' [0]"] if len(arrays["W"]) == 2 else ["'W'", "'R'"])


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_lengths_and_states(rng: np.random.Generator, tmp_path: Path, direction: str, layout: int) -> None:
    arrays = weights(rng, 2 if direction == "bidirectional" else 1)
    count = len(arrays["W"])
    shape: list[int | str] = ["batch", "time", 3] if layout else ["time", "batch", 3]
    state: list[int | str] = ["batch", count, 4] if layout else [count, "batch", 4]
    path = lstm_model(
        tmp_path / "m.onnx",
        arrays,
        shape=shape,
        inputs=[value("lens", ["batch"], 6), value("h0", state), value("c0", state)],
        extra=["lens", "h0", "c0"],
        direction=direction,
        layout=layout,
    )
    loaded = nl.load(path)
    x = rng.standard_normal((6, 5, 3)).astype(np.float32)
    h0, c0 = rng.standard_normal((2, count, 5, 4)).astype(np.float32)
    lengths = np.array([6, 3, 1, 5, 2])
    mask = np.arange(6)[:, np.newaxis] < lengths
    y, h, c = onnx_lstm(x, arrays, direction, h0, c0, lengths)
    outputs, ends = loaded.run_rows(x, mask=mask, initial_state=states(h0, c0), time_major=True, return_state=True)
    assert np.abs(outputs - y.transpose(0, 2, 1, 3).reshape(6, 5, -1)).max() < TOLERANCE
    assert np.abs(np.stack(ends[::2]) - h).max() < TOLERANCE
    assert np.abs(np.stack(ends[1::2]) - c).max() < TOLERANCE
    assert "input 'lens' is the rows' lengths: predict takes it as lengths" in loaded.source.notes


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


def test_activations(rng: np.random.Generator, tmp_path: Path) -> None:
    arrays = weights(rng)
    x = rng.standard_normal((6, 5, 3)).astype(np.float32)
    path = lstm_model(
        tmp_path / "m.onnx", arrays, activations=["HardSigmoid", "relu", "Relu"], activation_alpha=[0.2],
        activation_beta=[0.5],
    )  # fmt: skip
    functions = (lambda z: np.clip(0.2 * z + 0.5, 0, 1), lambda z: np.maximum(z, 0), lambda z: np.maximum(z, 0))
    expected = onnx_lstm(x, arrays, functions=functions)[0][:, 0]
    assert np.abs(nl.load(path)(x) - expected).max() < TOLERANCE


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats(rng: np.random.Generator, tmp_path: Path, dtype: str) -> None:
    arrays = {key: array.astype(dtype) for key, array in weights(rng).items()}
    loaded = nl.load(lstm_model(tmp_path / "m.onnx", arrays))
    x = rng.standard_normal((6, 5, 3))
    assert loaded.dtype == ("float64" if dtype == "float64" else "float32")
    assert np.abs(loaded(x) - onnx_lstm(x, arrays)[0][:, 0]).max() < (1e-14 if dtype == "float64" else 1e-3)
    assert ("weights stored as float16 were converted to float32" in loaded.source.notes) == (dtype == "float16")


def test_numbers_in_typed_fields(rng: np.random.Generator, tmp_path: Path) -> None:
    """float_data instead of raw_data, and shapes as lists of integers."""
    arrays = weights(rng)
    stored = [tensor(key, array, raw=None, more=entry(4, array.tobytes())) for key, array in arrays.items()]
    shape = tensor("shape", np.zeros(0, np.int64), dims=[3], raw=None, more=entry(7, bytes([0, 0, 4])))
    nodes = [node("LSTM", ["X", "W", "R", "B"], ["Y"], hidden_size=4), node("Squeeze", ["Y"], ["s"], axes=[1])]
    nodes.append(node("Reshape", ["s", "shape"], ["out"]))
    path = tmp_path / "m.onnx"
    path.write_bytes(model(nodes, [*stored, shape], [value("X", ["time", "batch", 3])], ["out"], opset=12))
    x = rng.standard_normal((6, 5, 3)).astype(np.float32)
    assert np.abs(nl.load(path)(x) - onnx_lstm(x, arrays)[0][:, 0]).max() < TOLERANCE


def test_biases_of_infinities_are_added_quietly(rng: np.random.Generator, tmp_path: Path) -> None:
    arrays = weights(rng)
    arrays["B"][0, 0], arrays["B"][0, 16] = np.inf, -np.inf
    bias = nl.load(lstm_model(tmp_path / "m.onnx", arrays)).get_weights()[2]
    assert np.isnan(bias[0]) and np.isfinite(bias[1:]).all()


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


def test_saved_and_loaded_again(rng: np.random.Generator, tmp_path: Path) -> None:
    loaded = nl.load(lstm_model(tmp_path / "m.onnx", weights(rng), direction="reverse"))
    nl.save(loaded, tmp_path / "m.npz")
    x = rng.standard_normal((6, 5, 3)).astype(np.float32)
    assert np.array_equal(nl.load(tmp_path / "m.npz")(x), loaded(x))


# -- what is beyond: one line that names it --


def refused(path: Path, *words: str) -> None:
    with pytest.raises(FileFormatError) as caught:
        nl.load(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message and len(message) < 500, message
    assert all(word in message for word in words), message


# -- bytes that are traps --


def test_files_that_are_none(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    for content, words in (
        (b"", "is empty: it has 0 bytes; expected an ONNX model"),
        (entry(1, 10), "holds no graph; expected an ONNX model"),
        (b"\xff" * 40, "m.onnx"),
        (entry(7, b"")[:1], "m.onnx"),
    ):
        path.write_bytes(content)
        refused(path, words)
    good = lstm_model(path, weights(rng)).read_bytes()
    for length in range(0, len(good), 37):
        path.write_bytes(good[:length])
        refused(path)


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
