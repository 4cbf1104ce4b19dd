"""The files that are written here, in the hands of those they are for: Keras 2, Keras 3, PyTorch, safetensors."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from oracles.environment import interpreter, run
from support.models import rich_model
from support.paths import ROOT

import numba_lstm as nl
from numba_lstm.errors import FileFormatError
from numba_lstm.formats import pytorch

pytestmark = pytest.mark.oracle

TOLERANCE = 2e-6
DATA = ROOT / "data"


def built(*layers: Any, shape: Any = (None, None, 3)) -> nl.Sequential:
    model = nl.Sequential(layers)
    model.reseed(8)
    model.build(shape)
    return model


def recurrent(dialect: Any, dtype: str = "float32") -> list[Callable[[], nl.Sequential]]:
    """Models with every layer that Keras has too, in one dialect."""
    common = {"dialect": dialect, "dtype": dtype}
    gates = {"recurrent_activation": "sigmoid", "bias_initializer": "random_normal", **common}
    return [
        lambda: built(nl.LSTM(4, **common), nl.Dense(2, "softmax", **common)),
        lambda: built(nl.LSTM(4, use_bias=False, return_sequences=True, go_backwards=True, **common)),
        lambda: built(
            nl.Masking(0.5, **common),
            nl.Bidirectional(nl.LSTM(4, return_sequences=True, **gates), merge_mode="ave", **common),
            nl.TimeDistributed(nl.Dense(3, "relu", **common), **common),
            nl.Dropout(0.3, **common),
            nl.Activation("tanh", **common),
            nl.RNN([nl.LSTMCell(3, **gates), nl.LSTMCell(2, activation="relu", **gates)], **common),
            nl.RepeatVector(2, **common),
            nl.LSTM(2, return_sequences=True, **gates),
            nl.Flatten(**common),
            nl.Dense(2, use_bias=False, **common),
            shape=(None, 5, 3),
        ),
        lambda: built(nl.RNN(nl.LSTMCell(4, **gates), return_sequences=True, **common)),
        lambda: rich_model(dialect, dtype),
        lambda: built(
            nl.Bidirectional(
                nl.LSTM(3, return_sequences=True, trainable=False, **gates),
                backward_layer=nl.LSTM(3, return_sequences=True, go_backwards=True, **gates),
            ),
            nl.TimeDistributed(nl.BatchNormalization(trainable=False, **common), **common),
            frozen_stack(nl.RNN([nl.LSTMCell(3, **gates) for _ in range(3)], return_sequences=True, **common)),
            nl.Bidirectional(frozen_stack(nl.RNN([nl.LSTMCell(3, **gates), nl.LSTMCell(3, **gates)], **common))),
        ),
    ]


def frozen_stack(layer: nl.RNN) -> nl.RNN:
    """The layer, its lowest cell frozen: Keras lists the weights of the others first."""
    layer.cells[0].trainable = False
    return layer


@pytest.mark.parametrize(
    ("variable", "dialect"),
    [("NUMBA_LSTM_KERAS2", "tf1"), ("NUMBA_LSTM_KERAS2", "keras2"), ("NUMBA_LSTM_KERAS3", "keras3")],
)
def test_keras_loads_h5(tmp_path: Path, variable: str, dialect: Any) -> None:
    rng = np.random.default_rng(0)
    expected, arguments = {}, []
    for dtype in ("float32", "float64"):
        for number, make in enumerate(recurrent(dialect, dtype)):
            model = make()
            x = rng.integers(0, 7, (2, 5)) if model.takes_indices else rng.standard_normal((2, 5, 3)).astype(dtype)
            files = [tmp_path / f"{dtype}-{number}{end}" for end in (".h5", "-x.npy", "-y.npy")]
            nl.save(model, files[0])
            np.save(files[1], x)
            expected[files[2]] = model.predict(x)
            arguments += files
    version = run(variable, "keras_h5.py", *arguments)
    assert version.strip().split()[-1].startswith("3." if variable == "NUMBA_LSTM_KERAS3" else "2.15")
    for path, outputs in expected.items():
        assert np.abs(np.load(path) - outputs).max() < TOLERANCE, path.name


CASES: list[tuple[Callable[[], nl.Sequential], dict[str, Any]]] = [
    (
        lambda: built(nl.LSTM(4, recurrent_activation="sigmoid", return_sequences=True)),
        {"num_layers": 1, "bias": True, "bidirectional": False, "linear": 0, "last": False},
    ),
    (
        lambda: built(nl.RNN([nl.LSTMCell(4, recurrent_activation="sigmoid") for _ in "ab"]), nl.Dense(2)),
        {"num_layers": 2, "bias": True, "bidirectional": False, "linear": 2, "last": True},
    ),
    (
        lambda: built(
            *(
                nl.Bidirectional(
                    nl.LSTM(4, recurrent_activation="sigmoid", use_bias=False, return_sequences=more, dtype="float64")
                )
                for more in (True, False)
            ),
            nl.Dense(2, dtype="float64"),
        ),
        {"num_layers": 2, "bias": False, "bidirectional": True, "linear": 2, "last": True, "dtype": "float64"},
    ),
]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_pytorch_loads_state_dicts(tmp_path: Path, number: int) -> None:
    make, options = CASES[number]
    model = make()
    nl.save(model, tmp_path / "m.safetensors", format="torch")
    x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(model.dtype)
    np.save(tmp_path / "x.npy", x)
    arguments = json.dumps({"input_size": 3, "hidden_size": 4, "dtype": "float32", **options})
    files = [tmp_path / name for name in ("m.safetensors", "x.npy", "y.npy")]
    run("NUMBA_LSTM_TORCH", "torch_lstm.py", *files, arguments)
    assert np.abs(np.load(tmp_path / "y.npy") - model.predict(x)).max() < TOLERANCE


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_safetensors_reads_and_writes_the_same(tmp_path: Path, dtype: str) -> None:
    model = rich_model("keras2", dtype)
    nl.save(model, tmp_path / "m.safetensors")
    run("NUMBA_LSTM_SAFETENSORS", "safetensors_package.py", tmp_path / "m.safetensors", tmp_path / "n.safetensors")
    again = nl.load(tmp_path / "n.safetensors")
    assert again.get_config() == model.get_config()
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        assert (one.dtype, one.tobytes()) == (other.dtype, other.tobytes())


@pytest.fixture
def real_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker in the interpreter that has torch."""
    executable = interpreter("NUMBA_LSTM_TORCH")
    code = "import json, sys; print(json.dumps(sys.path))"
    done = subprocess.run([executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    monkeypatch.setattr(pytorch, "sys", SimpleNamespace(executable=executable, path=json.loads(done.stdout)))
    monkeypatch.setattr(pytorch.importlib.util, "find_spec", lambda name: name)


@pytest.mark.goldens
@pytest.mark.usefixtures("real_torch")
def test_pickles_of_the_real_pytorch(goldens: Any) -> None:
    files = goldens.data / "files"
    rows = json.loads((goldens.data / "files_torch_onnx.json").read_text())["files"]
    rows = [row for row in rows if row["file"].endswith(".pt")]
    assert len(rows) == 5
    for row in rows:
        x = np.load(files / row["x"])
        expected = np.load(files / (row.get("y_zero_state") or row["y"]))
        if row["file"].startswith("torch_l1."):  # made without batch_first
            x, expected = x.swapaxes(0, 1), expected.swapaxes(0, 1)
        assert np.abs(nl.load(files / row["file"]).predict(x) - expected).max() < TOLERANCE, row["file"]


@pytest.mark.goldens
@pytest.mark.usefixtures("real_torch")
def test_damaged_pickles_with_the_real_pytorch(goldens: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in sorted((goldens.data / "bad").glob("*.pt")):
        with pytest.raises(FileFormatError, match="is refused by torch's weights_only loader"):
            nl.load(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("real_torch")
def test_checkpoints_of_the_real_pytorch(tmp_path: Path) -> None:
    run("NUMBA_LSTM_TORCH", "torch_checkpoints.py", tmp_path)
    x, y = np.load(tmp_path / "x.npy"), np.load(tmp_path / "y.npy")
    unused = {
        "training": "'epoch', 'optimizer_state_dict', 'scheduler', 'loss', 'rng_state'",
        "lightning": "'optimizer_states', 'callbacks', 'hyper_parameters'",
    }
    for name in ("plain", "parallel", "compiled", "training", "lightning", "two_parts"):
        model = nl.load(tmp_path / f"{name}.pt")
        assert np.abs(model.predict(x) - y).max() < TOLERANCE, name
        said = [note for note in model.source.notes if note.startswith("what the file holds beside the weights")]
        assert said == (
            [f"what the file holds beside the weights is not used: {unused[name]}"] if name in unused else []
        )
    for name, words in {
        "three_parts": "'norm.weight (5,)', 'norm.bias (5,)'] beside its LSTM",
        "scaled": "'mean (3,)'] beside its LSTM",
        "averaged": "holds 2 state dicts with an LSTM in it, at ['model', 'ema']",
        "encoder_decoder": "holds 2 state dicts with an LSTM in it, at ['encoder', 'decoder']",
    }.items():
        with pytest.raises(FileFormatError) as caught:
            nl.load(tmp_path / f"{name}.pt")
        assert words in str(caught.value), str(caught.value)
