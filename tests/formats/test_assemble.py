"""From what is stored to a model: dtypes and shapes that are settled, and what is told about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.keras_files import small_model, write_h5

import numba_lstm as nl
from numba_lstm.formats.assemble import settle_dialect
from numba_lstm.formats.keras_json import read_chain
from numba_lstm.formats.stored import StoredModel


def test_float64_weights_of_a_float32_configuration(tmp_path: Path) -> None:
    double = small_model(dtype="float64")
    path = write_h5(tmp_path / "w.h5", double, whole=False)
    again = nl.load(path, config=small_model().get_config())
    assert again.dtype == "float64"
    for weight, written in zip(again.get_weights(), double.get_weights(), strict=True):
        assert weight.dtype == written.dtype and weight.tobytes() == written.tobytes()


@pytest.mark.parametrize("dtype", ["float16", "int64", "uint8"])
def test_weights_of_other_dtypes_are_converted_and_told(tmp_path: Path, dtype: str) -> None:
    kernel = (np.arange(48).reshape(3, 16) % 5).astype(dtype)
    model = nl.load(write_h5(tmp_path / "m.h5", small_model(), replaced={"first/kernel:0": kernel}))
    assert model.dtype == "float32"
    np.testing.assert_array_equal(model.get_weights()[0], kernel)
    assert model.source.notes == [f"weights stored as {dtype} were converted to float32"]
    assert model.source.weights[0].dtype == dtype


def test_model_input_shape_without_an_input_layer(tmp_path: Path) -> None:
    model = nl.Sequential([nl.Masking(dialect="keras2"), *small_model().layers])
    config = {"class_name": "Sequential", "config": {"layers": model.get_config()["layers"]}}
    path = write_h5(tmp_path / "w.h5", model, whole=False)
    assert nl.load(path, config=config).input_shape == (None, None, 3)


def test_timesteps_that_only_the_weights_behind_flatten_tell(tmp_path: Path) -> None:
    """TensorFlow 1.15 loses the length of the indices of an Embedding."""
    layers = [nl.Embedding(9, 2, input_length=3), nl.Flatten(), nl.Dropout(0.1), nl.Dense(4)]
    model = nl.Sequential(layers)
    model.build((None, 3))
    path = write_h5(tmp_path / "w.h5", model, whole=False)
    entries = [entry for entry in model.get_config()["layers"] if entry["class_name"] != "InputLayer"]
    for entry in entries:
        for key in ("batch_input_shape", "input_length"):
            entry["config"].pop(key, None)
    loaded = nl.load(path, config={"class_name": "Sequential", "config": {"name": "s", "layers": entries}})
    assert loaded.input_shape == (None, 3)
    assert any(
        "the inputs have 3 timesteps, as the weights behind Flatten tell" in note for note in loaded.source.notes
    )


@pytest.mark.parametrize(
    ("given", "version", "stored", "own", "dialect", "words"),
    [
        ("keras2", "3.1.0", "keras3", True, "keras2", "as given"),
        (None, "3.1.0", "tf1", True, "tf1", "as saved"),
        (None, "3.1.0", "tf1", False, "keras3", "keras_version 3.1.0 in the configuration"),
        (None, "2.2.4-tf", None, True, "tf1", "keras_version 2.2.4-tf in the configuration"),
        (None, None, None, True, "keras2", "keras_version 2.15.0 in the file"),
    ],
)
def test_who_says_the_dialect(given: Any, version: Any, stored: Any, own: bool, dialect: str, words: str) -> None:
    """The caller, then the project's own file, then the configuration, then the file of the weights."""
    document = {"class_name": "Sequential", "config": {"layers": [{"class_name": "Dense", "config": {"units": 2}}]}}
    chain = read_chain(document | ({} if version is None else {"keras_version": version}), "config")
    held = StoredModel("", "", list, list, keras_version="2.15.0", dialect=stored, dialect_from="as saved")  # type: ignore[arg-type]
    assert settle_dialect(held, chain, given, own_config=own)[1:] == (dialect, words)


def test_a_file_that_would_grow_is_refused(tmp_path: Path) -> None:
    small = np.zeros((1024, 4096), np.float32)
    np.savez_compressed(tmp_path / "w.npz", kernel=small, recurrent_kernel=small, bias=small[0])
    with pytest.raises(nl.NumbaLSTMError, match=r"would grow from \d+ to \d+ bytes"):
        nl.load(tmp_path / "w.npz")
