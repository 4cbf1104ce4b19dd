"""The layout that Keras 3, and Keras 2 since its last releases, give weights: ``.weights.h5`` and inside ``.keras``.

A layer's group is called by its class and a number, ``layers/lstm_1``, whatever the layer's name is; below it stand the
attributes that hold parts, such as ``forward_layer/cell``, and in ``vars`` the weights in order. Source: Keras 3.15
`saving_lib`, TensorFlow 2.15 `saving_lib`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from numba_lstm.checks import shown
from numba_lstm.errors import FileFormatError
from numba_lstm.formats.hdf5 import H5File, H5Object
from numba_lstm.formats.hdf5_data import H5Dataset
from numba_lstm.formats.stored import StoredArray
from numba_lstm.layers import RNN, Bidirectional, Layer, StackedRNNCells, TimeDistributed
from numba_lstm.layers.base import snake_case
from numba_lstm.model import Sequential

_LAYERS, _VARS = "layers", "vars"
_DEEPEST = 12  # parts in parts: bidirectional/forward_layer/cell/cells/lstm_cell/vars has six
_MOST_GROUPS = 100_000


def has_weights_layout(root: H5Object) -> bool:
    """Whether a file is laid out like this."""
    return _LAYERS in root.links and root.attribute("layer_names") is None


def all_arrays(file: H5File) -> list[StoredArray]:
    """Every weight in the file, for those who look at one without a configuration. Raises `FileFormatError`."""
    return list(_arrays_below(file.root.child(_LAYERS), 0, [_MOST_GROUPS]))


def _arrays_below(group: H5Object, depth: int, budget: list[int]) -> Iterator[StoredArray]:
    for name in sorted(group.links):
        budget[0] -= 1
        if depth > _DEEPEST or budget[0] < 0:
            raise FileFormatError(f"{group.where()} has groups without end; it is damaged: copy or write it again")
        member = group.child(name)
        if name == _VARS:
            yield from _variables(member)
        elif "seed_generator" not in name:
            yield from _arrays_below(member, depth + 1, budget)


def match_arrays(model: Sequential, file: H5File) -> list[StoredArray]:
    """The arrays in the order of the model's weights. Raises `FileFormatError` where the file has others."""
    layers = file.root.child(_LAYERS)
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
        if group_name not in layers.links:
            raise FileFormatError(
                f"{file.name} has weights of the layers {shown(_groups_with_weights(layers))}; expected "
                f"{shown(group_name)} among them for the layer {shown(layer.name)} of the configuration"
            )
        own = [array for part in _parts(layer) for array in _variables(layers.child(f"{group_name}/{part}/{_VARS}"))]
        if len(own) != len(layer.weight_names()):
            raise FileFormatError(
                f"{file.name}: {shown(group_name)} has {len(own)} arrays; expected {len(layer.weight_names())}, "
                f"{shown(layer.weight_names())}, for the layer {shown(layer.name)} of the configuration"
            )
        found += own
    beyond = [name for name in _groups_with_weights(layers) if name not in expected]
    if beyond:
        raise FileFormatError(
            f"{file.name} has weights of {shown(beyond)} too; expected {shown(expected)}, the layers of the "
            "configuration"
        )
    return found


def _parts(layer: Layer) -> list[str]:
    """Where below its group a layer's weights stand, in the order of `get_weights`."""
    if isinstance(layer, Bidirectional):
        directions = ("forward_layer", layer.layer), ("backward_layer", layer.backward_layer)
        return [f"{name}/{part}" for name, one in directions for part in _parts(one)]
    if isinstance(layer, TimeDistributed):
        return [f"layer/{part}" for part in _parts(layer.layer)]
    if not isinstance(layer, RNN):
        return [""]
    if not isinstance(layer.cell, StackedRNNCells):
        return ["cell"]
    return ["cell/cells/lstm_cell" + (f"_{i}" if i else "") for i in range(len(layer.cells))]


def _variables(group: H5Object) -> list[StoredArray]:
    """The arrays 0, 1, ... of a group ``vars``."""
    names = [str(i) for i in range(len(group.links))]
    if group.links.keys() != set(names):
        raise FileFormatError(f"{group.where()} holds {shown(sorted(group.links))}; expected arrays 0, 1 and so on")
    datasets = [H5Dataset(group.child(name)) for name in names]
    return [StoredArray(data.node.path, data.shape, data.dtype, data.node.path, data.read) for data in datasets]


def _groups_with_weights(layers: H5Object) -> list[str]:
    """The layers that have weights, of themselves or in a part; the seeds of dropout count for nothing."""
    budget = [_MOST_GROUPS]
    return [name for name in sorted(layers.links) if any(_arrays_below(layers.child(name), 1, budget))]
