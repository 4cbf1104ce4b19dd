"""A model as the HDF5 file that Keras loads: the legacy layout, which Keras 2 and Keras 3 both read.

h5py writes it (it never reads a file here). The file is of the Keras of the model's dialect, configuration and all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from numba_lstm.checks import shown
from numba_lstm.dialects import SYSTEM_NAMES, Dialect
from numba_lstm.errors import ConfigError, MissingPackageError
from numba_lstm.formats.atomic import AtomicFile
from numba_lstm.formats.own import weights_by_key
from numba_lstm.model import Sequential

# What the Keras of each dialect calls itself.
KERAS_VERSIONS: Mapping[Dialect, str] = {"tf1": "2.2.4-tf", "keras2": "2.15.0", "keras3": "3.15.1"}
_MOST_NAMES = 4000  # of 16 bytes in one attribute, which takes 64 kB; Keras too cuts longer lists into several


def save_h5(model: Sequential, path: str | os.PathLike[str], *, replace: bool = True) -> None:
    """Write a whole model; the file appears whole or not at all.

    Raises `ConfigError` for a model without weights, with an activation that no configuration can hold, with a
    layer's name that HDF5 cannot, or with a layer that Keras does not have; `MissingPackageError` without h5py.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingPackageError(
            "writing HDF5 files needs the package h5py; install it with: pip install 'numba_lstm[h5]'"
        ) from error
    from numba_lstm import __version__

    weights_by_key(model)  # raises where there are none
    config = {"class_name": "Sequential", "config": model.get_config()}
    text = json.dumps(config, allow_nan=False)
    if '"hard_sigmoid_keras3"' in text:
        raise ConfigError(
            f"{model.name} has the activation 'hard_sigmoid_keras3', Keras 3's hard_sigmoid, which "
            f"{SYSTEM_NAMES[model.dialect]} does not have; save a .npz or .safetensors file"
        )
    for layer in model.layers:
        _check_name(layer.name)
        if not layer.in_keras:
            raise ConfigError(
                f"layer {shown(layer.name)} is a {type(layer).__name__}, which Keras does not have; save a .npz or "
                ".safetensors file"
            )
    versions = {"keras_version": KERAS_VERSIONS[model.dialect], "backend": "tensorflow"}
    # Times in the file would make two files of one model.
    with AtomicFile(path, replace=replace) as output, h5py.File(output.file, "w", track_order=False) as file:
        file.attrs.update({**versions, "numba_lstm_version": __version__, "model_config": text})
        weights = file.create_group("model_weights")
        weights.attrs.update(versions)
        _put_names(weights, "layer_names", [layer.name for layer in model.layers])
        for layer in model.layers:
            group = weights.create_group(layer.name)
            names = [f"{layer.name}/{name}:0" for name in layer.weight_names()]
            _put_names(group, "weight_names", names)
            for name, weight in zip(names, layer.get_weights(), strict=True):
                group.create_dataset(name, data=weight)


def _check_name(name: str) -> None:
    """Raise for what h5py would refuse, or take for another place in the file."""
    if "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise ConfigError(f"layer {shown(name)} has a name that HDF5 cannot hold; give it another with name=")


def _put_names(group: Any, attribute: str, names: Sequence[str]) -> None:
    values = [name.encode() for name in names]
    if len(values) <= _MOST_NAMES:
        group.attrs[attribute] = _strings(values)
        return
    for number, start in enumerate(range(0, len(values), _MOST_NAMES)):
        group.attrs[f"{attribute}{number}"] = _strings(values[start : start + _MOST_NAMES])


def _strings(values: Sequence[bytes]) -> Any:
    """Text of variable length, as TensorFlow 2.15 writes it."""
    import h5py
    import numpy as np

    return np.array(values, dtype=h5py.string_dtype())
