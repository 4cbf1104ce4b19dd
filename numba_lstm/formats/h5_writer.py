"""A model as the HDF5 file that Keras loads: the legacy layout, which Keras 2 and Keras 3 both read.

h5py writes the file (it never reads one here), which is for the Keras of the model's dialect, with its configuration.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from typing import Any

from numba_lstm.checks import shown
from numba_lstm.errors import ConfigError, MissingPackageError
from numba_lstm.formats.atomic import AtomicFile
from numba_lstm.formats.own import weights_by_key
from numba_lstm.formats.weight_order import directions_fit, legacy_order
from numba_lstm.formats.written import written_config, written_model, written_version
from numba_lstm.model import Sequential
from numba_lstm.semantics.dialects import SYSTEM_NAMES

_log = logging.getLogger("numba_lstm")

_MOST_NAMES = 4000
_ATTRIBUTE_BYTES = 64_000  # that an attribute takes at most; Keras too cuts longer lists of names into several


def save_h5(model: Sequential, path: str | os.PathLike[str], *, replace: bool = True) -> None:
    """Write a whole model; the file appears whole or not at all.

    Raises `ConfigError` for a model without weights, with an activation that no configuration can hold, with a
    layer's name that HDF5 cannot, or with a layer that Keras does not have; `MissingPackageError` without h5py. Logs a
    warning about a file that its Keras will refuse, as it refuses its own of such a model.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingPackageError(
            "writing HDF5 files needs the package h5py; install it with: pip install 'numba_lstm[h5]'"
        ) from error
    from numba_lstm import __version__

    weights_by_key(model)  # raises where there are none
    text = json.dumps(written_model(model), allow_nan=False)
    if '"hard_sigmoid_keras3"' in text:
        raise ConfigError(
            f"{model.name} has the activation 'hard_sigmoid_keras3', Keras 3's hard_sigmoid, which "
            f"{SYSTEM_NAMES[model.dialect]} does not have; save a .npz or .safetensors file"
        )
    # The model as Keras will read it from the configuration, which may express less than the model.
    as_read = type(model).from_config(written_config(model), model.dialect)
    for layer in model.layers:
        _check_name(layer.name)
        if not layer.in_keras:
            raise ConfigError(
                f"layer {shown(layer.name)} is a {type(layer).__name__}, which Keras does not have; save a .npz or "
                ".safetensors file"
            )
    versions = {"keras_version": written_version(model), "backend": "tensorflow"}
    # As bytes: TensorFlow 1 and Keras 2.2, with the h5py of their time, decode what they find.
    attributes = {key: _text(value) for key, value in {**versions, "numba_lstm_version": __version__}.items()}
    refused = []
    # Times in the file would make two files of one model.
    with AtomicFile(path, replace=replace) as output, h5py.File(output.file, "w", track_order=False) as file:
        file.attrs.update({**attributes, "model_config": _text(text)})
        weights = file.create_group("model_weights")
        weights.attrs.update({key: attributes[key] for key in versions})
        _put_names(weights, "layer_names", [layer.name for layer in model.layers])
        for layer, read in zip(model.layers, as_read.layers, strict=True):
            group = weights.create_group(layer.name)
            names, arrays = layer.weight_names(), layer.get_weights()
            ordered = [(f"{layer.name}/{names[i]}:0", arrays[i]) for i in legacy_order(read)]
            _put_names(group, "weight_names", [name for name, _ in ordered])
            for name, weight in ordered:
                group.create_dataset(name, data=weight)
            if model.dialect != "keras3" and not directions_fit(read, [weight.shape for _, weight in ordered]):
                refused.append(layer.name)
    for name in refused:
        _log.warning(
            "%s: %s will not load it (Invalid bias shape), nor its own file of such a model: one direction of %s has a "
            "bias and the other has none; with biases of zeros there it loads",
            os.fspath(path),
            SYSTEM_NAMES[model.dialect],
            shown(name),
        )


def _check_name(name: str) -> None:
    """Raise for a name that h5py would refuse, or read as another path in the file."""
    if "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise ConfigError(f"layer {shown(name)} has a name that HDF5 cannot hold; give it another with name=")


def _put_names(group: Any, attribute: str, names: Sequence[str]) -> None:
    values = [name.encode() for name in names]
    most = max(1, min(_MOST_NAMES, _ATTRIBUTE_BYTES // max(map(len, values), default=1)))
    if len(values) <= most:
        group.attrs[attribute] = _strings(values)
        return
    for number, start in enumerate(range(0, len(values), most)):
        group.attrs[f"{attribute}{number}"] = _strings(values[start : start + most])


def _strings(values: Sequence[bytes]) -> Any:
    """Bytes of fixed length, as TensorFlow 1.15 writes them."""
    import numpy as np

    return np.array(values, dtype=f"S{max(map(len, values), default=1)}")


def _text(value: str) -> Any:
    """A text in ASCII that every h5py gives back as bytes, or its versions before 3 where it is too long for that."""
    import h5py
    import numpy as np

    content = value.encode("ascii")
    fixed = len(content) <= _ATTRIBUTE_BYTES
    return np.bytes_(content) if fixed else np.array(content, dtype=h5py.string_dtype("ascii"))
