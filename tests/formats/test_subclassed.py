"""The weights of a subclassed model, for a configuration of the same layers."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from support.keras_files import small_model, write_weights_h5

import numba_lstm as nl
from numba_lstm.errors import FileFormatError


def subclassed(path: Path, model: nl.Sequential, names: list[str]) -> Path:
    """The weights of a model whose class has its layers in attributes of these names."""
    write_weights_h5(path, model)
    with h5py.File(path, "r+") as file:
        for group, name in zip(["layers/lstm", "layers/lstm_1", "layers/dense"], names, strict=True):
            file.move(group, name)
    return path


def two_lstms(units: int, names: tuple[str, str] = ("a", "b")) -> nl.Sequential:
    layers = [
        nl.LSTM(4, name=names[0], return_sequences=True, dialect="keras3"),
        nl.LSTM(units, name=names[1], dialect="keras3"),
        nl.Dense(2, name="end", dialect="keras3"),
    ]
    model = nl.Sequential(layers)
    model.reseed(3)
    model.build((None, None, 4))
    return model


def test_weights_of_a_class_by_shapes_or_names(tmp_path: Path) -> None:
    model = two_lstms(3)
    path = subclassed(tmp_path / "m.weights.h5", model, ["zeta", "alpha", "layers/dense"])
    loaded = nl.load(path, config=model.get_config())
    for value, expected in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, expected)
    model = two_lstms(4)
    path = subclassed(tmp_path / "n.weights.h5", model, ["zeta", "alpha", "out"])
    with pytest.raises(
        FileFormatError, match=r"fit the layers \['a', 'b', 'end'\] of the configuration in several way"
    ):
        nl.load(path, config=model.get_config())
    named = two_lstms(4, ("zeta", "alpha"))
    loaded = nl.load(path, config=named.get_config())
    for value, expected in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, expected)
    with pytest.raises(FileFormatError, match=r"in no way; give these layers the names of the groups that hold their"):
        nl.load(path, config=two_lstms(3).get_config())
    with pytest.raises(FileFormatError, match=r"has 8 arrays, of .*; expected 5, those of \['first', 'out'\], the lay"):
        nl.load(path, config=small_model("keras3").get_config())
