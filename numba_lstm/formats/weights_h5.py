"""The layout that Keras 3, and Keras 2 since its last releases, give weights: ``.weights.h5`` and inside ``.keras``.

A layer's group is called by its class and a number, ``layers/lstm_1``, and not by the layer's name; below it stand the
attributes that hold parts, such as ``forward_layer/cell``, and in ``vars`` the weights in order. In the file of a model
that is a class of somebody's own, the groups are called by the attributes that hold the layers. Source: Keras 3.15
`saving_lib`, TensorFlow 2.15 `saving_lib`.
"""

from __future__ import annotations

from collections import Counter

from numba_lstm.checks import shown
from numba_lstm.errors import FileFormatError
from numba_lstm.formats.hdf5 import H5File, H5Object
from numba_lstm.formats.stored import StoredArray
from numba_lstm.formats.subclassed import match_by_shape
from numba_lstm.formats.weights_tree import VARS, Group
from numba_lstm.layers import RNN, Bidirectional, Layer, StackedRNNCells, TimeDistributed
from numba_lstm.layers.base import snake_case
from numba_lstm.model import Sequential

_LAYERS = "layers"


def has_weights_layout(root: H5Object) -> bool:
    """Whether a file has this layout."""
    if root.attribute("layer_names") is not None:
        return False
    names = Group(root, "").names
    return _LAYERS in names or VARS in names


def all_arrays(file: H5File) -> list[StoredArray]:
    """Every weight in the file, for files without a configuration. Raises `FileFormatError`."""
    return [array for _, array in Group(file.root, "").arrays()]


def match_arrays(model: Sequential, file: H5File, notes: list[str]) -> list[StoredArray]:
    """The arrays in the order of the model's weights; `notes` is added to where they are told by their shapes.

    Raises `FileFormatError` where the file has others.
    """
    root = Group(file.root, "")
    layers = root.child(_LAYERS)
    if layers is None or _holds_weights_beside(root):
        return match_by_shape(model, root, file.name, parts_of, notes)
    counts: Counter[str] = Counter()
    found: list[StoredArray] = []
    expected: list[str] = []
    for layer in model.layers:
        kind = snake_case(type(layer).__name__)
        group_name = f"{kind}_{counts[kind]}" if counts[kind] else kind
        counts[kind] += 1
        if not layer.weight_names():
            continue
        expected.append(group_name)
        group = layers.child(group_name)
        if group is None:
            raise FileFormatError(
                f"{file.name} has weights of the layers {shown(_with_weights(layers))}; expected "
                f"{shown(group_name)} among them for the layer {shown(layer.name)} of the configuration"
            )
        own = [array for part in parts_of(layer) for array in _part(layers, f"{group_name}/{part}", file).variables()]
        if len(own) != len(layer.weight_names()):
            raise FileFormatError(
                f"{file.name}: {shown(group_name)} has {len(own)} arrays; expected {len(layer.weight_names())}, "
                f"{shown(layer.weight_names())}, for the layer {shown(layer.name)} of the configuration"
            )
        found += own
    beyond = [name for name in _with_weights(layers) if name not in expected]
    if beyond:
        raise FileFormatError(
            f"{file.name} has weights of {shown(beyond)} too; expected {shown(expected)}, the layers of the "
            "configuration"
        )
    return found


def _part(layers: Group, path: str, file: H5File) -> Group:
    group = layers.child(path)
    if group is None:
        place = shown(f"/{_LAYERS}/{path}")
        raise FileFormatError(f"{file.name} has no {place}, which it lists; it is damaged: copy or write it again")
    return group


def parts_of(layer: Layer) -> list[str]:
    """The places of a layer's weights below its group, in the order of `get_weights`."""
    if isinstance(layer, Bidirectional):
        directions = ("forward_layer", layer.layer), ("backward_layer", layer.backward_layer)
        return [f"{name}/{part}" for name, one in directions for part in parts_of(one)]
    if isinstance(layer, TimeDistributed):
        return [f"layer/{part}" for part in parts_of(layer.layer)]
    if not isinstance(layer, RNN):
        return [""]
    if not isinstance(layer.cell, StackedRNNCells):
        return ["cell"]
    return ["cell/cells/lstm_cell" + (f"_{i}" if i else "") for i in range(len(layer.cells))]


def _with_weights(layers: Group) -> list[str]:
    """The layers that have weights, of themselves or in a part; the seeds of dropout count for nothing."""
    return list(dict.fromkeys(path.partition("/")[0] for path, _ in layers.arrays() if path))


def _holds_weights_beside(root: Group) -> bool:
    """Whether there are weights outside of the layers, as in the file of a class of somebody's own."""
    return any(path.partition("/")[0] != _LAYERS for path, _ in root.arrays())
