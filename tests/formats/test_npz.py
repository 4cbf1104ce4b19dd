"""formats/npz.py: the project's own files, and bare ones."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.keras_files import small_model
from support.npz_files import D, U, bare_members, cell_weights, zip_of

import numba_lstm as nl
from numba_lstm.errors import ConfigError, DTypeError, FileFormatError, ShapeError
from numba_lstm.formats.own import weight_keys

# -- the project's own files --


def all_kinds(dialect: Any, dtype: str) -> nl.Sequential:
    common: Any = {"dialect": dialect, "dtype": dtype}
    cells = [nl.LSTMCell(3, **common), nl.LSTMCell(2, use_bias=False, **common)]
    model = nl.Sequential(
        [
            nl.Embedding(7, D, mask_zero=True, **common),
            nl.Bidirectional(nl.LSTM(U, return_sequences=True, dropout=0.25, **common), merge_mode="ave", **common),
            nl.TimeDistributed(nl.Dense(5, activation="relu", **common), **common),
            nl.RNN(cells, return_sequences=True, **common),
            nl.LSTM(3, recurrent_activation="sigmoid", kernel_regularizer="l2", bias_constraint="non_neg", **common),
            nl.RepeatVector(2, **common),
            nl.Flatten(**common),
            nl.Dropout(0.5, **common),
            nl.Activation("tanh", **common),
            nl.Dense(2, activation="softmax", use_bias=False, **common),
        ],
        name="all kinds/of layers",
    )
    model.reseed(11)
    model.build((None, None))
    return model


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dialect", ["tf1", "keras2", "keras3"])
def test_round_trip_is_exact_to_the_bit(tmp_path: Path, dialect: str, dtype: str) -> None:
    model = all_kinds(dialect, dtype)
    nl.save(model, tmp_path / "a.npz")
    again = nl.load(tmp_path / "a.npz")
    assert (again.name, again.dialect, again.dtype) == (model.name, dialect, dtype)
    assert again.weight_names() == model.weight_names()
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        assert one.dtype == other.dtype == dtype
        assert one.tobytes() == other.tobytes()
    assert again.get_config() == model.get_config()
    nl.save(again, tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_outputs_are_those_of_the_model_that_was_saved(tmp_path: Path) -> None:
    model = small_model()
    nl.save(model, tmp_path / "a.npz")
    x = np.random.default_rng(3).standard_normal((5, 6, D))
    assert nl.load(tmp_path / "a.npz")(x).tobytes() == model(x).tobytes()


def test_report_of_an_own_file(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    nl.save(small_model(), path)
    source = nl.load(path).source
    assert (source.format, source.producer) == ("numba_lstm npz", f"numba_lstm {nl.__version__}")
    assert (source.dialect, source.dialect_from, source.notes) == ("keras2", "as saved", [])
    assert source.weights[0] == ("first/kernel", (3, 16), "float32", "0.kernel.npy")
    other = nl.load(path, dialect="tf1")
    assert (other.dialect, other.source.dialect_from) == ("tf1", "as given")


def test_numpy_reads_what_is_written(tmp_path: Path) -> None:
    model = small_model()
    nl.save(model, tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        assert sorted(file.files) == sorted(["config", *weight_keys(model)])
        assert json.loads(file["config"].tobytes())["dialect"] == "keras2"
        np.testing.assert_array_equal(file["1.kernel"], model.get_weights()[3])


def test_a_configuration_stored_as_text(tmp_path: Path) -> None:
    model = small_model()
    nl.save(model, tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz") as file:
        members = {**file, "config": np.array(file["config"].tobytes().decode())}
    np.savez(tmp_path / "text.npz", **members)
    assert nl.load(tmp_path / "text.npz").get_config() == model.get_config()


def test_models_that_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no weights yet; expected a built model; call build"):
        nl.save(nl.Sequential([nl.LSTM(3)]), tmp_path / "a.npz")
    model = nl.Sequential([nl.LSTM(3, activation=abs)])
    model.build((None, None, 2))
    with pytest.raises(ConfigError, match="no configuration can hold"):
        nl.save(model, tmp_path / "a.npz")
    with pytest.raises(FileFormatError, match=r"a.onnx is of a kind that is not written; expected one of: .npz"):
        nl.save(small_model(), tmp_path / "a.onnx")
    assert os.listdir(tmp_path) == []


def test_saving_replaces_a_file_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"before")

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("numba_lstm.formats.npz._write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            nl.save(small_model(), path)
    assert os.listdir(tmp_path) == ["a.npz"] and path.read_bytes() == b"before"
    nl.save(small_model(), path)
    assert os.listdir(tmp_path) == ["a.npz"]
    assert nl.load(path).count_params() == small_model().count_params()


def own_file(path: Path, document: Any, **arrays: Any) -> Path:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    np.savez(path, config=np.frombuffer(text, np.uint8), **arrays)
    return path


def test_a_configuration_of_another_type(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", config=np.zeros(3, "f4"))
    with pytest.raises(FileFormatError, match="config is not JSON in bytes"):
        nl.load(tmp_path / "m.npz")


# -- bare files --


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_bare_weights_are_one_default_cell(tmp_path: Path, dtype: str, save: Any) -> None:
    weights = cell_weights(dtype)
    save(tmp_path / "w.npz", **weights)
    model = nl.load(tmp_path / "w.npz")
    (layer,) = model.layers
    assert isinstance(layer, nl.RNN) and layer.return_sequences
    cell = layer.cells[0]
    assert (cell.units, cell.activation, cell.recurrent_activation) == (U, "tanh", "hard_sigmoid")
    assert model.dtype == dtype and model.input_shape == (None, None, D)
    for one, other in zip(weights.values(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert model.source.format == "bare npz"
    assert model.source.notes == [
        "the file has weights only: taken for one LSTMCell with its class's defaults; give config if it is another",
        "a bare LSTMCell is run as RNN(cell, return_sequences=True)",
    ]


def test_bare_weights_with_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    np.savez(path, **cell_weights())
    model = nl.load(path, config={"class_name": "LSTM", "config": {"units": U, "recurrent_activation": "sigmoid"}})
    assert isinstance(model.layers[0], nl.LSTM) and model.source.notes == []
    (tmp_path / "c.json").write_text('{"units": 4, "recurrent_activation": "sigmoid"}')
    model = nl.load(path, config=tmp_path / "c.json")
    assert model.recurrent_layers[0].cells[0].recurrent_activation == "sigmoid"


def test_weights_without_bias_need_a_configuration_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    np.savez(path, **cell_weights(bias=False))
    with pytest.raises(FileFormatError, match=r"lacks the array bias; .*; add it, or give a config"):
        nl.load(path)
    assert nl.load(path, config={"units": U, "use_bias": False}).count_params() == (D + U) * 4 * U
    np.savez(path, **cell_weights())
    with pytest.raises(FileFormatError, match=r"holds the array bias; .*; leave it out"):
        nl.load(path, config={"units": U, "use_bias": False})


def test_weights_for_another_model(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    np.savez(path, **cell_weights())
    config = {"class_name": "Bidirectional", "config": {"layer": {"class_name": "LSTM", "config": {"units": U}}}}
    with pytest.raises(FileFormatError, match=r"has the weights of one cell, .*; expected \['bidirectional/forward"):
        nl.load(path, config=config)
    with pytest.raises(ShapeError, match=r"kernel has shape \(3, 16\); expected \(3, 20\) = \(input_dim, 4 \* units\)"):
        nl.load(path, config={"units": 5})
    with pytest.raises(ConfigError, match="config: units is 1000000000000"):
        nl.load(path, config={"units": 10**12})


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<i4", "|b1"])
def test_other_dtypes_are_converted_and_told(tmp_path: Path, dtype: str) -> None:
    weights = {key: (value * 3).astype(dtype) for key, value in cell_weights().items()}
    np.savez(tmp_path / "w.npz", **weights)
    model = nl.load(tmp_path / "w.npz")
    assert model.dtype == "float32"
    for one, other in zip(weights.values(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one.astype("float32"), other)
    note = f"weights stored as {np.dtype(dtype).name} were converted to float32"
    assert (note in model.source.notes) == (dtype != ">f4")


def test_fortran_ordered_and_version_2_members(tmp_path: Path) -> None:
    weights = cell_weights()
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, weights["recurrent_kernel"], (2, 0))
    members = bare_members(kernel=np.asfortranarray(weights["kernel"]), recurrent_kernel=None)
    members.append(("recurrent_kernel.npy", buffer.getvalue() + b"bytes after the end"))
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        model = nl.load(zip_of(tmp_path / "w.npz", members, method))
        np.testing.assert_array_equal(model.get_weights()[0], weights["kernel"])
        np.testing.assert_array_equal(model.get_weights()[1], weights["recurrent_kernel"])


@pytest.mark.parametrize(
    ("replaced", "error", "message"),
    [
        (
            {"kernel": None},
            FileFormatError,
            "expected kernel, recurrent_kernel and bias of one cell",
        ),
        ({"recurrent_kernel": None}, FileFormatError, "holds ['bias', 'kernel']; expected kernel"),
        ({"other": np.zeros(3)}, FileFormatError, "'other'"),
        ({"kernel": np.zeros((3, 15), "f")}, ShapeError, "kernel has shape (3, 15); expected (3, 16)"),
        ({"kernel": np.zeros((1, 3, 16), "f")}, ShapeError, "kernel has shape (1, 3, 16)"),
        ({"kernel": np.zeros((0, 16), "f")}, ConfigError, "input_dim of kernel is 0"),
        ({"recurrent_kernel": np.zeros((), "f")}, ConfigError, "units is 0"),
        ({"bias": np.zeros(12, "f")}, ShapeError, "bias has shape (12,); expected (16,) = (4 * units,)"),
        ({"bias": np.zeros(16, "c8")}, DTypeError, "bias.npy holds complex numbers"),
        ({"bias": np.array([None] * 16)}, DTypeError, "bias.npy holds objects, which need pickle"),
    ],
)
def test_bare_files_that_do_not_fit(tmp_path: Path, replaced: Any, error: type[Exception], message: str) -> None:
    path = zip_of(tmp_path / "w.npz", bare_members(**replaced))
    with pytest.raises(error) as caught:
        nl.load(path)
    assert message in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)
