"""``numba-lstm inspect``: models, weights and configurations, for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numba_lstm_cli.main import cli
from support.paths import ROOT

from numba_lstm import (
    LSTM,
    RNN,
    Bidirectional,
    Dense,
    Dropout,
    Embedding,
    LSTMCell,
    Sequential,
    TimeDistributed,
    load,
    save,
)

DATA = ROOT / "data"
Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    return lambda *words: runner.invoke(cli, ["inspect", *(str(word) for word in words)])


def configuration(model: Sequential, **beside: Any) -> str:
    """A file with the model's configuration."""
    Path("model.json").write_text(json.dumps({"class_name": "Sequential", "config": model.get_config(), **beside}))
    return "model.json"


def test_digits(command: Command) -> None:
    file = DATA / "digits/model.h5"
    result = command(file)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        f"{file}: Keras HDF5 model, Keras 2.15.0",
        "dialect keras2 (keras_version 2.15.0 in the file), float32, 5,578 parameters",
        "each row: (8, 8) -> (10,)",
        "1. lstm: LSTM(32, tanh, sigmoid) -> (32,), 5,248 parameters",
        "     kernel (8, 128) float32 from /model_weights/lstm/lstm/lstm_cell/kernel:0",
        "     recurrent_kernel (32, 128) float32 from /model_weights/lstm/lstm/lstm_cell/recurrent_kernel:0",
        "     bias (128,) float32 from /model_weights/lstm/lstm/lstm_cell/bias:0",
        "2. dense: Dense(10, softmax) -> (10,), 330 parameters",
        "     kernel (32, 10) float32 from /model_weights/dense/dense/kernel:0",
        "     bias (10,) float32 from /model_weights/dense/dense/bias:0",
    ]


def test_json(command: Command) -> None:
    result = command(DATA / "sunspots/model.h5", "--json")
    found = json.loads(result.stdout)
    assert found["file"] == str(DATA / "sunspots/model.h5")
    assert (found["dialect"], found["dtype"], found["parameters"]) == ("keras2", "float32", 1169)
    assert (found["input_shape"], found["output_shape"]) == ([22, 1], [1])
    assert [layer["class_name"] for layer in found["layers"]] == ["RNN", "Dense"]
    assert found["layers"][0]["config"]["cell"]["config"]["units"] == 16
    assert found["layers"][0]["weights"][0] == {
        "name": "kernel",
        "shape": [1, 64],
        "dtype": "float32",
        "where": "/model_weights/rnn/rnn/lstm_cell/kernel:0",
    }


def test_every_kind_of_layer_has_the_shapes_of_its_weights(command: Command) -> None:
    model = Sequential(
        [
            Embedding(9, 3, mask_zero=True),
            Bidirectional(LSTM(4, return_sequences=True), merge_mode="sum"),
            RNN([LSTMCell(5), LSTMCell(2, use_bias=False)], return_sequences=True, go_backwards=True),
            Dropout(0.5),
            TimeDistributed(Dense(3, use_bias=False)),
            LSTM(2),
            Dense(1, None),
        ]
    )
    model.build((None, None))
    result = command(configuration(model), "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["parameters"] == model.count_params()
    assert (found["format"], found["input_shape"], found["output_shape"]) == ("configuration", [None], [1])
    shapes = [tuple(weight["shape"]) for layer in found["layers"] for weight in layer["weights"]]
    assert shapes == [weight.shape for weight in model.get_weights()]
    names = [f"{layer['name']}/{weight['name']}" for layer in found["layers"] for weight in layer["weights"]]
    assert names == model.weight_names()
    assert {weight["where"] for layer in found["layers"] for weight in layer["weights"]} == {None}
    assert [layer["summary"] for layer in found["layers"]] == [
        "Embedding(9, 3)",
        "Bidirectional(LSTM(4, tanh, hard_sigmoid, return_sequences), sum)",
        "RNN(5, 2, tanh, hard_sigmoid, return_sequences, go_backwards)",
        "Dropout",
        "TimeDistributed(Dense(3, linear))",
        "LSTM(2, tanh, hard_sigmoid)",
        "Dense(1, linear)",
    ]
    text = command("model.json").stdout
    assert "each row: (timesteps,) -> (1,)" in text
    assert "4. dropout: Dropout -> (timesteps, 2)\n" in text


def test_a_configuration_without_input_shape(command: Command) -> None:
    result = command(configuration(Sequential([LSTM(4), Dense(2)])))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "model.json: configuration, Keras, of an unknown version"
    assert lines[1].endswith("float32, as many parameters as input_dim makes them")
    assert lines[2:4] == ["1. lstm: LSTM(4, tanh, hard_sigmoid)", "2. dense: Dense(2, linear)"]


def test_a_configuration_costs_no_weights(command: Command) -> None:
    model = Sequential([LSTM(16384, batch_input_shape=(None, None, 8))])
    result = command(configuration(model))
    assert result.exit_code == 0
    assert "1,074,331,648 parameters" in result.stdout


def test_bare_weights_say_what_is_assumed(command: Command) -> None:
    np.savez("bare.npz", kernel=np.ones((3, 8), "f4"), recurrent_kernel=np.ones((2, 8), "f4"), bias=np.ones(8, "f4"))
    lines = command("bare.npz").stdout.splitlines()
    assert "     kernel (3, 8) float32 from kernel.npy" in lines
    assert "note: a bare LSTMCell is run as RNN(cell, return_sequences=True)" in lines


def test_weights_alone(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a configuration the arrays are listed."""
    from contextlib import contextmanager

    from numba_lstm.formats.stored import StoredArray, StoredModel

    array = StoredArray("lstm/kernel:0", (8, 128), np.dtype(np.float32), "/lstm/lstm/kernel:0", lambda: np.zeros(1))
    stored = StoredModel("Keras HDF5 weights", "Keras 2.15.0", lambda: [array], lambda model: [])
    monkeypatch.setattr("numba_lstm_cli.description.open_stored", contextmanager(lambda path: iter([stored])))
    assert command("weights.h5").stdout.splitlines() == [
        "weights.h5: Keras HDF5 weights, Keras 2.15.0",
        "1,024 parameters in 1 array",
        "     lstm/kernel:0 (8, 128) float32 from /lstm/lstm/kernel:0",
        "note: there is no configuration: give the model's JSON or .keras as --config to see its layers",
    ]


def test_another_dialect_and_configuration(command: Command) -> None:
    save(load(DATA / "sunspots/model.h5"), "model.npz")
    result = command("model.npz", "--dialect", "tf1")
    assert "dialect tf1 (as given)" in result.stdout
    np.savez("bare.npz", kernel=np.ones((3, 8), "f4"), recurrent_kernel=np.ones((2, 8), "f4"), bias=np.ones(8, "f4"))
    model = Sequential([LSTM(2, activation="relu", batch_input_shape=(None, 7, 3))])
    result = command("bare.npz", "--config", configuration(model))
    assert result.exit_code == 0, result.output
    assert "1. lstm: LSTM(2, relu, hard_sigmoid) -> (2,), 48 parameters" in result.stdout
    assert "each row: (7, 3) -> (2,)" in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.h5"], "missing.h5: No such file or directory"),
        (["missing.json"], "missing.json: No such file or directory"),
        (["bad.json"], "bad.json is not JSON: Expecting value at line 1, column 1"),
        (["x.npy"], "x.npy is "),
        (["empty.h5"], "empty.h5"),
    ],
)
def test_errors(command: Command, words: list[str], message: str) -> None:
    Path("bad.json").write_text("LSTM")
    Path("empty.h5").touch()
    np.save("x.npy", np.zeros(3))
    result = command(*words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {message}")
    assert result.stderr.count("\n") == 1


def test_shapes_without_the_batch() -> None:
    from numba_lstm_cli.description import _without_batch

    assert _without_batch((None, 7, 3), False) == [7, 3] and _without_batch((None, 3), False) == [3]
    assert _without_batch((7, None, 3), True) == [7, 3] and _without_batch((None, 3), True) == [3]
