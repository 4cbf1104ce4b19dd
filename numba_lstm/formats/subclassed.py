"""The weights of a subclassed model, for a configuration of the same layers in a row.

Keras names their groups by the attributes of the class, which no configuration tells. So each layer of the
configuration gets the group that has its parts and its shapes, if that leaves one way only; where several layers are
alike, the names of the configuration's layers decide, if they are those of the groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numba_lstm.checks import shown
from numba_lstm.errors import FileFormatError
from numba_lstm.formats.stored import StoredArray
from numba_lstm.formats.weights_tree import Group
from numba_lstm.layers import RNN, Bidirectional, Dense, Embedding, Layer, TimeDistributed
from numba_lstm.model import Sequential

Arrays = list[StoredArray]
_MOST_STEPS = 10_000  # of the search; without layers that are alike it takes one for each


def match_by_shape(
    model: Sequential, root: Group, name: str, parts_of: Callable[[Layer], list[str]], notes: list[str]
) -> list[StoredArray]:
    """The arrays in the order of the model's weights; `notes` gets the groups they come from.

    `parts_of` says where below its group a layer's weights stand. Raises `FileFormatError` where the groups fit in no
    way, or in several.
    """
    held: dict[str, Arrays] = {}
    for path, array in root.arrays():
        held.setdefault(path, []).append(array)
    layers = [layer for layer in model.layers if layer.weight_names()]
    parts = [parts_of(layer) for layer in layers]
    groups = _groups(held, parts)
    listed = shown(sorted(groups) or sorted(held))
    count, expected = sum(map(len, held.values())), sum(len(layer.weight_names()) for layer in layers)
    names = shown([layer.name for layer in layers])
    if count != expected:
        raise FileFormatError(
            f"{name} has {count} arrays, of {listed}; expected {expected}, those of {names}, the layers of the "
            "configuration"
        )
    choices = []
    for layer, own in zip(layers, parts, strict=True):
        fitting = {
            group: arrays
            for group, found in groups.items()
            if (arrays := [array for part in own for array in found.get(part, ())])
            and set(found) == set(own)
            and len(arrays) == len(layer.weight_names())
        }
        named = {group: arrays for group, arrays in fitting.items() if group.rpartition("/")[2] == layer.name}
        choices.append(named if len(named) == 1 else fitting)
    ways = _ways(layers, choices)
    if len(ways) == 1:
        pairs = ", ".join(f"{shown(group)} for {shown(one.name)}" for group, one in zip(ways[0], layers, strict=True))
        notes.append(f"the groups of weights were told by their shapes and names: {pairs}")
        return [array for arrays in ways[0].values() for array in arrays]
    how = "in several ways" if ways else "in no way"
    raise FileFormatError(
        f"{name} has weights of {listed}, which fit the layers {names} of the configuration "
        f"{how}; give these layers the names of the groups that hold their weights"
    )


def _groups(held: Mapping[str, Arrays], parts: Sequence[Sequence[str]]) -> dict[str, dict[str, Arrays]]:
    """The arrays by the groups of layers and the parts in them: a group's path ends where a layer's part begins."""
    groups: dict[str, dict[str, Arrays]] = {}
    tails = sorted({part.rstrip("/") for own in parts for part in own}, key=len, reverse=True)
    for path, arrays in held.items():
        tail = next((tail for tail in tails if tail and path.endswith(f"/{tail}")), "")
        group = path.removesuffix(tail).rstrip("/")
        groups.setdefault(group, {})[tail] = arrays
    return groups


def _ways(layers: Sequence[Layer], choices: Sequence[Mapping[str, Arrays]]) -> list[dict[str, Arrays]]:
    """The ways to give each layer a group of its own so that the shapes fit: none, the only one, or two of several."""
    found: list[dict[str, Arrays]] = []
    budget = [_MOST_STEPS]

    def search(number: int, width: int | None, taken: dict[str, Arrays]) -> None:
        budget[0] -= 1
        if budget[0] < 0 or len(found) > 1:
            return
        if number == len(layers):
            found.append(taken)
            return
        for group, arrays in choices[number].items():
            if group not in taken and (shape := _width(layers[number], [one.shape for one in arrays], width)):
                search(number + 1, shape[0], {**taken, group: arrays})

    search(0, None, {})
    return found


def _width(layer: Any, shapes: Sequence[tuple[int, ...]], width: int | None) -> tuple[int | None] | None:
    """The width for the next layer, in a tuple, if a layer with `width` features may have weights of these shapes."""
    if isinstance(layer, TimeDistributed):
        return _width(layer.layer, shapes, width)
    if isinstance(layer, Bidirectional):
        count = len(layer.layer.weight_names())
        halves = (layer.layer, shapes[:count]), (layer.backward_layer, shapes[count:])
        ends = [end for one, own in halves if (end := _width(one, own, width)) is not None]
        if len(ends) < 2:
            return None
        units = [one.cells[-1].units for one, _ in halves]
        return (sum(units) if layer.merge_mode == "concat" else units[0],)
    if isinstance(layer, RNN):
        rest = iter(shapes)
        for cell in layer.cells:
            own = [next(rest) for _ in cell.weight_names()]
            if not own[0] or own != cell.weight_shapes(own[0][0]) or width not in (None, own[0][0]):
                return None
            width = cell.units
        return (width,)
    if isinstance(layer, Dense):
        kernel, *bias = shapes
        fits = len(kernel) == 2 and kernel[1] == layer.units and all(one == (layer.units,) for one in bias)
        # What is flattened has other features than the layer before.
        return (layer.units,) if fits else None
    if isinstance(layer, Embedding):
        return (layer.output_dim,) if list(shapes) == [(layer.input_dim, layer.output_dim)] else None
    return (width,) if len(set(shapes)) == 1 and (width is None or shapes[0] == (width,)) else None
