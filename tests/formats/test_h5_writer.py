"""formats/h5_writer.py: Keras's legacy layout, read again by the package and by h5py. (Keras itself: tests marked
``oracle``.)
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
from support.keras_files import small_model
from support.models import rich_model

import numba_lstm as nl
from numba_lstm.errors import ConfigError, FileFormatError, MissingPackageError
from numba_lstm.formats import h5_writer
from numba_lstm.layers import LastTimestep


@pytest.mark.parametrize("dialect", ["tf1", "keras2", "keras3"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_comes_back_to_the_bit(tmp_path: Path, dialect: Any, dtype: str) -> None:
    model = rich_model(dialect, dtype)
    nl.save(model, tmp_path / "m.h5")
    again = nl.load(tmp_path / "m.h5")
    assert again.get_config() == model.get_config()
    assert (again.dialect, again.dtype) == (dialect, dtype)
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    nl.save(again, tmp_path / "n.hdf5")
    assert (tmp_path / "m.h5").read_bytes() == (tmp_path / "n.hdf5").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["m.h5", "n.hdf5"]


def test_the_layout_is_keras_s(tmp_path: Path) -> None:
    model = small_model("keras2")
    nl.save(model, tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        # Bytes, which TensorFlow 1 and Keras 2.2 decode.
        assert file.attrs["keras_version"] == b"2.15.0" and file.attrs["backend"] == b"tensorflow"
        assert json.loads(file.attrs["model_config"]) == {"class_name": "Sequential", "config": model.get_config()}
        weights = file["model_weights"]
        assert list(weights.attrs["layer_names"]) == [b"first", b"out"]
        names = list(weights["first"].attrs["weight_names"])
        assert names == [b"first/kernel:0", b"first/recurrent_kernel:0", b"first/bias:0"]
        assert weights["first"][names[0]].dtype == np.float32 and weights["first"][names[0]].chunks is None


def test_layers_without_weights_have_empty_lists(tmp_path: Path) -> None:
    model = nl.Sequential([nl.LSTM(2, seed=1), nl.Dropout(0.5), nl.Activation("relu")])
    model.build((None, None, 3))
    nl.save(model, tmp_path / "m.h5")
    assert [layer.name for layer in nl.load(tmp_path / "m.h5").layers] == ["lstm", "dropout", "activation"]


def test_long_lists_of_names_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h5_writer, "_MOST_NAMES", 5)
    model = nl.Sequential([nl.RNN([nl.LSTMCell(1, seed=1) for _ in range(4)], return_sequences=True)])
    model.build((None, None, 1))
    nl.save(model, tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        attributes = file["model_weights"]["rnn"].attrs
        assert {name: len(attributes[name]) for name in attributes} == {
            "weight_names0": 5,
            "weight_names1": 5,
            "weight_names2": 2,
        }
    again = nl.load(tmp_path / "m.h5")
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), again.get_weights(), strict=True))


@pytest.mark.parametrize("name", [".", "..", "a/./b", "/a", "a//b", "a\0b"])
def test_names_that_hdf5_cannot_hold(tmp_path: Path, name: str) -> None:
    model = nl.Sequential([nl.LSTM(2, name=name)])
    model.build((None, None, 3))
    with pytest.raises(ConfigError, match=r"has a name that HDF5 cannot hold; give it another with name="):
        nl.save(model, tmp_path / "m.h5")
    assert os.listdir(tmp_path) == []


def test_layers_that_keras_does_not_have(tmp_path: Path) -> None:
    model = nl.Sequential([nl.LSTM(2, return_sequences=True), LastTimestep(name="end")])
    model.build((None, None, 3))
    with pytest.raises(ConfigError, match=r"layer 'end' is a LastTimestep, which Keras does not have; save a .npz or"):
        nl.save(model, tmp_path / "m.h5")
    assert os.listdir(tmp_path) == []


def test_what_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nl.save(small_model(), tmp_path / "m.h5")
    before = (tmp_path / "m.h5").read_bytes()
    with pytest.raises(ConfigError, match="has no weights yet"):
        nl.save(nl.Sequential([nl.LSTM(3)]), tmp_path / "m.h5")
    model = small_model()
    monkeypatch.setattr(type(model.layers[0]), "get_weights", lambda self: [object()] * 3)
    with pytest.raises(TypeError):
        nl.save(model, tmp_path / "m.h5")
    assert (tmp_path / "m.h5").read_bytes() == before and os.listdir(tmp_path) == ["m.h5"]


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingPackageError, match=r"writing HDF5 files needs the package h5py; install it with: pip"):
        nl.save(small_model(), tmp_path / "m.h5")


def test_formats_that_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"m.keras is of a kind that is not written; expected one of: .npz, .saf"):
        nl.save(small_model(), tmp_path / "m.keras")
    with pytest.raises(FileFormatError, match=r"m.pt would be a pickle, which is not written; .* the format 'torch'"):
        nl.save(small_model(), tmp_path / "m.pt")
    with pytest.raises(ConfigError, match=r"format is 'onnx'; expected one of: 'npz', 'safetensors', 'h5', 'torch'"):
        nl.save(small_model(), tmp_path / "m.npz", format="onnx")
    nl.save(small_model(), tmp_path / "anything", format="h5")
    assert nl.load(tmp_path / "anything").source.format == "Keras HDF5 model"


@pytest.mark.parametrize(
    ("length", "count", "parts"),
    [(1, 4000, None), (1, 4001, [4000, 1]), (1, 8000, [4000, 4000]), (64, 1000, None), (64, 1001, [1000, 1])],
)
def test_names_are_cut_into_attributes(length: int, count: int, parts: list[int] | None) -> None:
    """Of 4000 names, or 64 000 bytes, at most: an attribute holds no more than 64 kB."""
    group = SimpleNamespace(attrs={})
    h5_writer._put_names(group, "names", ["a" * length] * count)
    held = {"names": count} if parts is None else {f"names{i}": part for i, part in enumerate(parts)}
    assert {key: len(value) for key, value in group.attrs.items()} == held
    assert all(value.dtype == f"S{length}" for value in group.attrs.values())


def test_long_texts_are_of_variable_length() -> None:
    """Beyond what an attribute holds in itself."""
    assert h5_writer._text("x" * 64_000).dtype == "S64000"
    assert h5py.check_string_dtype(h5_writer._text("x" * 64_001).dtype).length is None


# As TensorFlow 2.15 loaded them, or not: bias of the forward and the backward direction, which of the two is frozen.
LOADED = {
    (1, 1): {(0, 0), (0, 1), (1, 0), (1, 1)},
    (1, 0): {(1, 0)},
    (0, 1): {(0, 0), (0, 1), (1, 1)},
    (0, 0): {(0, 0), (0, 1), (1, 0), (1, 1)},
}


@pytest.mark.parametrize("dialect", ["tf1", "keras2", "keras3"])
@pytest.mark.parametrize("biases", LOADED)
def test_a_file_that_keras_2_will_not_load_is_announced(
    tmp_path: Path, dialect: Any, biases: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    def direction(kind: str, bias: int, frozen: int, **more: Any) -> nl.RNN:
        arguments = {"use_bias": bool(bias), "trainable": not frozen, "dialect": dialect}
        return nl.LSTM(3, **arguments, **more) if kind == "LSTM" else nl.RNN(nl.LSTMCell(3, **arguments), **more)

    for kind in "LSTM", "RNN":
        for frozen in LOADED[1, 1]:
            forward = direction(kind, biases[0], frozen[0])
            backward = direction(kind, biases[1], frozen[1], go_backwards=True)
            both = nl.Bidirectional(forward, backward_layer=backward, dialect=dialect)
            for layer in (both, nl.TimeDistributed(both, name="each")) if kind == "LSTM" else (both,):
                model = nl.Sequential([layer])
                model.build((None, 2, 4, 5)[-4 if layer is not both else -3 :])
                caplog.clear()
                nl.save(model, tmp_path / "m.h5")
                announced = [record.getMessage() for record in caplog.records]
                if dialect == "keras3" or kind == "RNN" or frozen in LOADED[biases]:
                    assert announced == []
                else:
                    assert len(announced) == 1 and f"one direction of '{layer.name}' has a bias" in announced[0]
                weights = zip(nl.load(tmp_path / "m.h5").get_weights(), model.get_weights(), strict=True)
                assert all(one.tobytes() == other.tobytes() for one, other in weights)
