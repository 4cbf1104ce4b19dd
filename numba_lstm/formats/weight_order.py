"""The order of a layer's weights in Keras's legacy files: those that are trained first, then the frozen ones.

Wherever a layer holds others - two directions, the cells of a stack - a frozen part so comes behind the others, and
Keras gives the arrays back by place, to the parts that its configuration calls frozen. That fails where a part was
frozen after it was made, for a `Bidirectional` does not write that down. The names in the file tell the parts apart
then, and are believed first. Source: `_legacy_weights` and `trainable_weights` in TensorFlow 1.15, Keras 2.15 and 3.15.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice, product, takewhile
from typing import Any

from numba_lstm.cell import LSTMCell
from numba_lstm.formats.stored import StoredArray
from numba_lstm.layers import LSTM, RNN, BatchNormalization, Bidirectional, TimeDistributed

_NUMBER = re.compile(r"(.*?)(?:_(\d+))?")
_COUNTER = re.compile(r"\d+")
_DIRECTION = re.compile(r"(forward|backward)(?:_|\Z)")
_MOST_ORDERS = 32  # ways to tell the parts apart that are tried; a model has one or two

Groups = list[list[StoredArray]] | None
Split = Callable[[Sequence[StoredArray]], Groups]


def legacy_order(part: Any) -> list[int]:
    """The positions, in the order of `part.weight_names`, of the weights in the order of a legacy file."""
    if part.dialect != "keras3":
        trained, frozen = _trained_and_frozen(part, 0)
        return [*trained, *frozen]
    flags = _flags(part)
    if not part.trainable:
        return list(range(len(flags)))
    return sorted(range(len(flags)), key=lambda i: not flags[i])


def in_structural_order(layer: Any, arrays: Sequence[StoredArray]) -> list[StoredArray] | None:
    """The arrays of a layer in a legacy file in the order of `layer.weight_names`; None where they are others."""
    names = [array.name.rpartition(":")[0] or array.name for array in arrays]
    own = [f"{layer.name}/{name}" for name in layer.weight_names()]
    if sorted(names) == sorted(own) and len(set(own)) == len(own):  # names that this package writes
        return [arrays[names.index(name)] for name in own]
    expected = sorted(name.rpartition("/")[2] for name in layer.weight_names())
    if sorted(_base(array)[0] for array in arrays) != expected:
        return None
    orders = list(islice(_orders(layer, arrays), _MOST_ORDERS))
    # Where no order fits the configuration, the error about shapes follows later and names them.
    return next((order for order in orders if _fits(layer, order)), orders[0] if orders else None)


def keras_order(layer: Any, arrays: Sequence[StoredArray]) -> list[StoredArray]:
    """The arrays as Keras itself takes them: by their places, and by what the configuration calls frozen."""
    by_place = dict(zip(legacy_order(layer), arrays, strict=True))
    return [by_place[i] for i in range(len(by_place))]


def directions_fit(layer: Any, shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether Keras 2 can divide arrays of a legacy file, with these shapes, between the directions of a layer.

    It gives each the half of them, and where that is an LSTM looks for a bias in the third place of three.
    """
    while isinstance(layer, TimeDistributed):
        layer = layer.layer
    if not isinstance(layer, Bidirectional):
        return True
    middle = len(shapes) // 2
    halves = zip(_parts(layer), (shapes[:middle], shapes[middle:]), strict=True)
    lstms = [half for inner, half in halves if isinstance(inner, LSTM) and len(half) == 3]
    return all(bias == (4 * recurrent_kernel[0],) for _, recurrent_kernel, bias in lstms)


def _parts(part: Any) -> list[Any]:
    """The layers and cells in a layer, in the order of its weights."""
    if isinstance(part, Bidirectional):
        return [part.layer, part.backward_layer]
    if isinstance(part, TimeDistributed):
        return [part.layer]
    if isinstance(part, RNN):
        return [part.cell]
    return list(getattr(part, "cells", ()))


def _trained_and_frozen(part: Any, start: int) -> tuple[list[int], list[int]]:
    """The places of the weights that are trained, and of the others, as Keras 2 has it: all in a frozen part is frozen.

    `start` is the place of the first.
    """
    trained: list[int] = []
    frozen: list[int] = []
    place = start
    for inner in _parts(part):
        below = _trained_and_frozen(inner, place)
        place += len(inner.weight_names())
        if part.trainable:
            trained += below[0]
            frozen += below[1]
        else:
            frozen += [*below[0], *below[1]]
    if not _parts(part):
        places = range(start, start + len(part.weight_names()))
        trained = [place for place, flag in zip(places, _flags(part), strict=True) if flag]
        frozen = [place for place in places if place not in trained]
    return trained, frozen


def _flags(part: Any) -> list[bool]:
    """Whether each weight is trained, as Keras 3 has it: by the innermost part that holds it."""
    inner = [] if isinstance(part, LSTM) else _parts(part)  # an LSTM makes its cell like itself
    if inner:
        return [flag for one in inner for flag in _flags(one)]
    count = len(part.weight_names())
    own = count - 2 if isinstance(part, BatchNormalization) else count
    return [part.trainable] * own + [False] * (count - own)


def _orders(part: Any, arrays: Sequence[StoredArray]) -> Iterator[list[StoredArray]]:
    """The orders that the arrays may have, the likeliest first."""
    parts = _parts(part)
    if not parts:
        by_base = {_base(array)[0]: array for array in arrays}
        names = part.weight_names()
        if len(arrays) == len(names) and by_base.keys() == set(names):
            yield [by_base[name] for name in names]
        return
    if len(parts) == 1:
        yield from _orders(parts[0], arrays)
        return
    for split in _ways(part, parts):
        groups = split(arrays)
        if groups is not None and [len(group) for group in groups] == [len(one.weight_names()) for one in parts]:
            below = [list(_orders(inner, group)) for inner, group in zip(parts, groups, strict=True)]
            yield from ([one for order in orders for one in order] for orders in product(*below))


def _ways(part: Any, parts: Sequence[Any]) -> list[Split]:
    """The ways to tell the arrays of several parts apart."""
    names = [inner.name for inner in parts]
    numbered = [f"cell_{i}" for i in range(len(parts))]  # as this package writes them
    by_name = [partial(_by_names, names)] if len(set(names)) == len(names) else []
    if isinstance(part, Bidirectional):
        return [*by_name, _by_direction, partial(_by_number, parts), partial(_by_place, part)]
    return [*by_name, partial(_by_names, numbered), partial(_by_number, parts), partial(_by_place, part), _by_counter]


def _by_names(names: Sequence[str], arrays: Sequence[StoredArray]) -> Groups:
    """Group arrays by the names of the parts, one of which is in the path of each array."""
    owners = [[i for i, name in enumerate(names) if name in array.name.split("/")[:-1]] for array in arrays]
    if any(len(owner) != 1 for owner in owners):
        return None
    return [[array for array, owner in zip(arrays, owners, strict=True) if owner == [i]] for i in range(len(names))]


def _by_direction(arrays: Sequence[StoredArray]) -> Groups:
    """Group arrays by "forward_" and "backward_", which Keras puts before layers' names; Keras 3 only before one."""
    paths = [array.name.split("/")[:-1] for array in arrays]
    common = sum(1 for _ in takewhile(lambda names: len(set(names)) == 1, zip(*paths, strict=False)))
    groups: list[list[StoredArray]] = [[], []]
    for array, path in zip(arrays, paths, strict=True):
        found = [match[1] for part in path[common:] if (match := _DIRECTION.match(part))]
        groups[0 if found[:1] == ["forward"] else 1].append(array)
    return groups


def _by_number(parts: Sequence[Any], arrays: Sequence[StoredArray]) -> Groups:
    """Group arrays by kernel, kernel_1, ...: one scope of names, in the order in which they were made."""
    groups: list[list[StoredArray]] = [[] for _ in parts]
    for base in {_base(array)[0] for array in arrays}:
        same = sorted((array for array in arrays if _base(array)[0] == base), key=lambda array: _base(array)[1])
        owners = [i for i, inner in enumerate(parts) for leaf in _leaves(inner) if leaf == base]
        if len({_base(array)[1] for array in same}) < len(owners) or len(same) != len(owners):
            return None
        for i, array in zip(owners, same, strict=True):
            groups[i].append(array)
    return groups


def _by_place(part: Any, arrays: Sequence[StoredArray]) -> Groups:
    """Group arrays by position, as Keras does."""
    ordered, groups = keras_order(part, arrays), []
    for inner in _parts(part):
        count = len(inner.weight_names())
        groups.append(ordered[:count])
        ordered = ordered[count:]
    return groups


def _by_counter(arrays: Sequence[StoredArray]) -> Groups:
    """Group arrays by lstm_cell_4, lstm_cell_5, ...: another session's counters, in order of creation."""
    scopes = list(dict.fromkeys(array.name.rpartition("/")[0] for array in arrays))
    scopes.sort(key=lambda scope: [int(number) for number in _COUNTER.findall(scope)])
    return [[array for array in arrays if array.name.rpartition("/")[0] == scope] for scope in scopes]


def _leaves(part: Any) -> list[str]:
    return [name.rpartition("/")[2] for name in part.weight_names()]


def _base(array: StoredArray) -> tuple[str, int]:
    """kernel and 1 for ``lstm/cell/kernel_1:0``."""
    last = array.name.rpartition("/")[2].partition(":")[0]
    match = _NUMBER.fullmatch(last)
    assert match is not None
    return match[1], int(match[2] or 0)


def _fits(part: Any, arrays: Sequence[StoredArray], input_dim: int | None = None) -> bool:
    """Whether the arrays of the cells in a layer have the shapes of their units."""
    if isinstance(part, LSTMCell):
        shapes = part.weight_shapes(
            input_dim if input_dim is not None else arrays[0].shape[0] if arrays[0].shape else 0
        )
        return [array.shape for array in arrays] == shapes
    start, width = 0, None
    for inner in _parts(part):
        stop = start + len(inner.weight_names())
        if not _fits(inner, arrays[start:stop], width):
            return False
        start, width = stop, inner.units if isinstance(inner, LSTMCell) else None
    return True
