"""Keras's HDF5 files: a whole model, or weights alone, as TensorFlow 1 and 2 and Keras 3 write them.

In the legacy layout the arrays are found by the attributes ``layer_names`` and ``weight_names``, never by guessing
paths; the newer layout of weights is that of `numba_lstm.formats.weights_h5`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from numba_lstm.checks import shown
from numba_lstm.errors import FileFormatError
from numba_lstm.formats.config_json import parse_json
from numba_lstm.formats.hdf5 import H5File, H5Object
from numba_lstm.formats.hdf5_data import H5Dataset
from numba_lstm.formats.stored import StoredArray, StoredModel
from numba_lstm.formats.weight_order import in_structural_order, keras_order
from numba_lstm.formats.weights_h5 import all_arrays, has_weights_layout, match_arrays
from numba_lstm.model import Sequential

_MOST_NAMES = 100_000


@contextmanager
def open_h5(path: str | os.PathLike[str]) -> Iterator[StoredModel]:
    """The model in an HDF5 file of Keras; its arrays can be read while the context lasts.

    Raises `FileFormatError` for files that are damaged, hostile or not Keras's, `MissingPackageError` without pyfive.
    """
    with H5File(path) as file:
        yield _read(file)


def _read(file: H5File) -> StoredModel:
    name, root = file.name, file.root
    config = None
    notes: list[str] = []
    text = root.attribute("model_config")
    if text is not None:
        config = parse_json(_one_text(text, "model_config", root).encode(), f"{name}: model_config")
    weights = root.child("model_weights") if "model_weights" in root.links else root
    if not _has_names(weights, "layer_names"):
        if has_weights_layout(root):
            return StoredModel(
                format="Keras weights",
                producer="Keras 3, or 2.15 and its like",
                arrays=lambda: all_arrays(file),
                match=lambda model: match_arrays(model, file, notes),
                notes=notes,
            )
        if "_layer_checkpoint_dependencies" in root.links:
            raise FileFormatError(
                f"{name} has a layout that Keras 2.12 had for a while, which is not read; "
                "in Keras, write model.save('model.h5') and load that"
            )
        raise FileFormatError(f"{name} lists no layers (no attribute layer_names); expected a file written by Keras")
    version = _text(root, "keras_version") or _text(weights, "keras_version")
    return StoredModel(
        format="Keras HDF5 model" if config is not None else "Keras HDF5 weights",
        producer=_producer(version),
        arrays=lambda: [array for _, arrays in _groups(weights) for array in arrays],
        match=lambda model: _match(model, _groups(weights), name, notes),
        notes=notes,
        config=config,
        config_name=f"{name}: model_config",
        keras_version=version,
        keras_backend=_text(root, "backend") or _text(weights, "backend"),
    )


def _text(node: H5Object, attribute: str) -> str | None:
    value = node.attribute(attribute)
    return None if value is None else _one_text(value, attribute, node)


def _producer(version: str | None) -> str:
    if version is None:
        return "Keras, of an unknown version"
    if version.startswith("2.2.4-tf"):
        return f"TensorFlow 1.15 or 2.0 (Keras {version})"
    return f"Keras {version}"


def _one_text(value: bytes | list[bytes], attribute: str, node: H5Object) -> str:
    if not isinstance(value, bytes):
        raise FileFormatError(f"{node.where()} has several values in its attribute {attribute}; expected one text")
    return _decode(value, node)


def _decode(value: bytes, node: H5Object) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise FileFormatError(f"{node.where()} holds {shown(value)}; expected text in UTF-8") from None


def _has_names(node: H5Object, attribute: str) -> bool:
    return node.attribute(attribute) is not None or node.attribute(f"{attribute}0") is not None


def _names(node: H5Object, attribute: str) -> list[str]:
    """A list of names; Keras cuts one that is too long for an attribute into attribute0, attribute1 and so on."""
    value = node.attribute(attribute)
    parts = [value]
    if value is None:
        parts = []
        while len(parts) < _MOST_NAMES and (part := node.attribute(f"{attribute}{len(parts)}")) is not None:
            parts.append(part)
    if not parts or not all(isinstance(part, list) for part in parts):
        raise FileFormatError(
            f"{node.where()} has no list of names in its attribute {attribute}; it is damaged: copy or write it again"
        )
    return [_decode(one, node) for part in parts for one in part]


def _groups(weights: H5Object) -> list[tuple[str, list[StoredArray]]]:
    """The layers that have weights, each with its arrays, in the file's order."""
    groups = []
    for layer_name in _names(weights, "layer_names"):
        if layer_name.partition("/")[0] not in weights.links:
            raise FileFormatError(
                f"{weights.h5.name} has no {shown(f'{weights.path}/{layer_name}')}, which it lists: Keras broke off "
                "while it wrote the file, as TensorFlow 1.15 does for a stack of cells under eager execution; write it "
                "again"
            )
        group = weights.child(layer_name)
        names = _names(group, "weight_names")
        if names:
            groups.append((layer_name, [_array(group, name) for name in names]))
    return groups


def _array(group: H5Object, name: str) -> StoredArray:
    data = H5Dataset(group.child(name))
    return StoredArray(name, data.shape, data.dtype, data.node.path, data.read)


def _match(
    model: Sequential, groups: list[tuple[str, list[StoredArray]]], name: str, notes: list[str]
) -> list[StoredArray]:
    """Arrays in the order of the model's weights: layers by position, as in Keras, since names carry counters."""
    layers = [layer for layer in model.layers if layer.weight_names()]
    if len(layers) != len(groups):
        raise FileFormatError(
            f"{name} has weights of {len(groups)} layers, {shown([group for group, _ in groups])}; "
            f"expected {len(layers)}, {shown([layer.name for layer in layers])}, those of the configuration"
        )
    found: list[StoredArray] = []
    for layer, (group, arrays) in zip(layers, groups, strict=True):
        ordered = in_structural_order(layer, arrays)
        if ordered is None:
            expected = [weight.rpartition("/")[2] for weight in layer.weight_names()]
            names = [array.name.rpartition("/")[2].partition(":")[0] for array in arrays]
            raise FileFormatError(
                f"{name}: layer {shown(group)} has the weights {shown(names)}; expected {shown(expected)} for the "
                f"layer {shown(layer.name)} of the configuration"
            )
        if any(one is not other for one, other in zip(ordered, keras_order(layer, arrays), strict=True)):
            notes.append(
                f"layer {shown(layer.name)}: parts of it were frozen, which the configuration does not say; the "
                "weights go to the parts that their names tell, where Keras, loading this file, exchanges them"
            )
        found += ordered
    return found
