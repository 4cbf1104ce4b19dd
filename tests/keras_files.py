"""Keras's HDF5 files as h5py writes them, for tests that need one of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import numba_lstm as nl

CELL_CONFIG = {"class_name": "LSTMCell", "config": {"units": 4}}


def small_model(dialect: Any = "keras2", dtype: str = "float32") -> nl.Sequential:
    """LSTM(4) -> Dense(2), with weights."""
    common = {"dialect": dialect, "dtype": dtype}
    model = nl.Sequential(
        [nl.LSTM(4, name="first", seed=1, **common), nl.Dense(2, name="out", activation="softmax", **common)]
    )
    model.reseed(7)
    model.build((None, None, 3))
    return model


def write_h5(
    path: Path,
    model: nl.Sequential,
    *,
    version: str | None = "2.15.0",
    whole: bool = True,
    fixed_strings: bool = False,
    replaced: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    libver: str | None = None,
) -> Path:
    """Write a model as Keras 2 does: whole, or its weights alone.

    `fixed_strings`: names as TensorFlow 1.15 writes them. `replaced`: other arrays for some datasets, None for leaving
    them out. `options`: of h5py's create_dataset.
    """
    replaced = replaced or {}

    def names(values: Sequence[str]) -> Any:
        values_in_bytes = [value.encode() for value in values]
        return np.array(values_in_bytes) if fixed_strings and values else values_in_bytes

    with h5py.File(path, "w", libver=libver) as file:
        weights = file
        if whole:
            config = {"class_name": "Sequential", "config": model.get_config()}
            file.attrs["model_config"] = json.dumps(config).encode()
            weights = file.create_group("model_weights")
        if version is not None:
            file.attrs["keras_version"] = version.encode()
        weights.attrs["layer_names"] = names([layer.name for layer in model.layers])
        for layer in model.layers:
            group = weights.create_group(layer.name)
            paths = [f"{layer.name}/{name}:0" for name in layer.weight_names()]
            group.attrs["weight_names"] = names(paths)
            for weight, weight_path in zip(layer.get_weights(), paths, strict=True):
                value = replaced.get(weight_path, weight)
                if value is not None:
                    group.create_dataset(weight_path, data=value, **(options or {}))
    return path
