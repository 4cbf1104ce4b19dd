"""Keras's files as h5py writes them, for tests that need one of their own."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

import numba_lstm as nl
from numba_lstm.layers.base import snake_case

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


def write_weights_h5(path: Path | IO[bytes], model: nl.Sequential, **options: Any) -> None:
    """Write a model's weights in the layout of Keras 3; `options` are h5py's of a dataset."""
    counts: Counter[str] = Counter()
    with h5py.File(path, "w") as file:
        file.create_group("vars")
        for layer in model.layers:
            kind = snake_case(type(layer).__name__)
            group = f"layers/{kind}" + (f"_{counts[kind]}" if counts[kind] else "")
            counts[kind] += 1
            _write_variables(file, group, layer, options)


def _write_variables(file: h5py.File, group: str, part: Any, options: Mapping[str, Any]) -> None:
    parts: dict[str, Any] = {}
    if isinstance(part, nl.Bidirectional):
        parts = {"forward_layer": part.layer, "backward_layer": part.backward_layer}
    elif isinstance(part, nl.TimeDistributed):
        parts = {"layer": part.layer}
    elif isinstance(part, nl.RNN):
        parts = {"cell": part.cell}
    elif isinstance(part, nl.StackedRNNCells):
        parts = {f"cells/lstm_cell_{i}".removesuffix("_0"): cell for i, cell in enumerate(part.cells)}
    own = file.create_group(f"{group}/vars")
    for name, inner in parts.items():
        _write_variables(file, f"{group}/{name}", inner, options)
    for i, weight in enumerate([] if parts else part.get_weights()):
        own.create_dataset(str(i), data=weight, **options)


def write_keras(
    path: Path,
    model: nl.Sequential,
    *,
    version: str | None = "3.15.1",
    replaced: Mapping[str, bytes | None] | None = None,
    method: int = zipfile.ZIP_STORED,
    **options: Any,
) -> Path:
    """Write a model as Keras 3's archive. `replaced`: other bytes for some members, None for leaving them out."""
    weights = io.BytesIO()
    write_weights_h5(weights, model, **options)
    config = {"module": "keras", "class_name": "Sequential", "config": model.get_config(), "registered_name": None}
    members = {
        "metadata.json": None if version is None else json.dumps({"keras_version": version}).encode(),
        "config.json": json.dumps(config).encode(),
        "model.weights.h5": weights.getvalue(),
        **(replaced or {}),
    }
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            if content is not None:
                archive.writestr(zipfile.ZipInfo(name), content, method)
    return path
