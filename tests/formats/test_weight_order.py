"""formats/weight_order.py: which array of a legacy file is whose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import numba_lstm as nl
from numba_lstm.formats.stored import StoredArray
from numba_lstm.formats.weight_order import in_structural_order, keras_order, legacy_order

CELL = ("kernel", "recurrent_kernel", "bias")


def stored(names: Sequence[str], units: Sequence[int], inputs: Sequence[int]) -> list[StoredArray]:
    """The arrays of cells, one after the other, under these scopes or names with a star for the weight."""
    arrays = []
    for name, n, width in zip(names, units, inputs, strict=True):
        for weight, shape in zip(CELL, [(width, 4 * n), (n, 4 * n), (4 * n,)], strict=True):
            full = name.replace("*", weight) if "*" in name else f"{name}/{weight}:0"
            arrays.append(StoredArray(full, shape, np.dtype("f4"), full, lambda: np.zeros(0)))
    return arrays


def stack(units: Sequence[int], frozen: Sequence[int] = (), dialect: Any = "keras2", **options: Any) -> nl.RNN:
    cells = [nl.LSTMCell(n, name=f"lstm_cell_{i}" if i else "lstm_cell", dialect=dialect) for i, n in enumerate(units)]
    for i in frozen:
        cells[i].trainable = False
    return nl.RNN(cells, name="st", dialect=dialect, **options)


def owners(layer: Any, arrays: Sequence[StoredArray]) -> list[int]:
    """The place in the file of each cell or direction of the layer."""
    ordered = in_structural_order(layer, arrays)
    assert ordered is not None
    assert [one.name.rpartition("/")[2].split(":")[0].rstrip("_0123456789") for one in ordered] == [
        weight.rpartition("/")[2] for weight in layer.weight_names()
    ]
    return [list(arrays).index(one) // 3 for one in ordered[::3]]


def test_names_of_the_same_session() -> None:
    arrays = stored(["st/cells/lstm_cell_1", "st/cells/lstm_cell"], (4, 4), (4, 4))
    assert owners(stack((4, 4)), arrays) == [1, 0]
    assert owners(stack((4, 4), frozen=[0]), arrays) == [1, 0]


def test_names_of_another_session_follow_the_configuration() -> None:
    arrays = stored(["st/cells/lstm_cell_8", "st/cells/lstm_cell_7"], (4, 4), (4, 4))
    assert owners(stack((4, 4), frozen=[0]), arrays) == [1, 0]
    assert owners(stack((4, 4)), arrays) == [0, 1]


def test_shapes_tell_where_the_configuration_cannot_be_right() -> None:
    """Frozen after the configuration was written, in another session: the counters are followed."""
    arrays = stored(["st/cells/lstm_cell_8", "st/cells/lstm_cell_7"], (5, 4), (4, 3))
    assert owners(stack((4, 5)), arrays) == [1, 0]


def test_numbers_behind_the_names() -> None:
    arrays = stored(["st/*_1:0", "st/*:0"], (4, 4), (4, 4))
    assert owners(stack((4, 4)), arrays) == [1, 0]
    arrays = stored([f"st/*_{i}:0" for i in (10, 9, 2)], (4, 4, 4), (4, 4, 4))
    assert owners(stack((4, 4, 4)), arrays) == [2, 1, 0]


@pytest.mark.parametrize("outer", ["bi", "forward_bi", "backward"])
@pytest.mark.parametrize("backward", ["backward_lstm_3", "lstm_3"])
def test_directions(outer: str, backward: str) -> None:
    layer = nl.Bidirectional(nl.LSTM(4, name="lstm_3"), name=outer)
    arrays = stored([f"{outer}/{backward}/c", f"{outer}/forward_lstm_3/c"], (4, 4), (3, 3))
    assert owners(layer, arrays) == [1, 0]
    layer.layer.trainable = False
    assert owners(layer, arrays) == [1, 0]
    ordered = in_structural_order(layer, arrays)
    assert ordered == keras_order(layer, arrays)


def test_directions_by_numbers() -> None:
    """As Keras 2.1 names them: the forward layer is made first."""
    layer = nl.Bidirectional(nl.LSTM(4), name="bi")
    assert owners(layer, stored(["bi/*_1:0", "bi/*:0"], (4, 4), (3, 3))) == [1, 0]
    layer = nl.Bidirectional(stack((4, 4), dialect="tf1"), name="bi")
    assert owners(layer, stored([f"bi/*_{i}:0" for i in (2, 3, 4, 1)], [4] * 4, [4] * 4)) == [3, 0, 1, 2]


def test_directions_with_unequal_numbers_of_weights() -> None:
    """The forward direction frozen after it was made, which its configuration does not say; and one that says so."""
    directions = nl.LSTM(4, name="lstm"), nl.LSTM(4, use_bias=False, go_backwards=True, name="lstm_1")
    layer = nl.Bidirectional(directions[0], backward_layer=directions[1], name="bi", dialect="keras2")
    forward = stored(["bi/forward_lstm/c"], [4], [3])
    backward = stored(["bi/backward_lstm_1/c"], [4], [3])[:2]
    for arrays in (forward + backward, backward + forward):
        assert in_structural_order(layer, arrays) == forward + backward
    assert legacy_order(layer) == [0, 1, 2, 3, 4]
    layer.layer.trainable = False
    assert legacy_order(layer) == [3, 4, 0, 1, 2]
    assert in_structural_order(layer, backward + forward) == forward + backward
    assert keras_order(layer, backward + forward) == forward + backward


def test_directions_of_stacks() -> None:
    layer = nl.Bidirectional(stack((4, 4), dialect="tf1"), name="bi")
    names = ["bi/backward_st/*_1:0", "bi/forward_st/*:0", "bi/backward_st/*:0", "bi/forward_st/*_1:0"]
    assert owners(layer, stored(names, [4] * 4, [4] * 4)) == [1, 3, 2, 0]


def test_other_arrays_are_refused() -> None:
    arrays = stored(["st/a", "st/b"], (4, 4), (4, 4))
    assert in_structural_order(stack((4, 4)), arrays[:-1]) is None
    assert in_structural_order(nl.BatchNormalization(), arrays) is None


def test_the_order_that_each_keras_writes() -> None:
    """A frozen stack in a Bidirectional: Keras 2 heeds its flag, Keras 3 those of the cells; of the outermost, both."""
    for dialect, expected in (("keras2", [2, 3, 0, 1]), ("keras3", [2, 3, 0, 1])):
        cells = stack((4, 4), dialect=dialect)
        layer = nl.Bidirectional(cells, backward_layer=stack((4, 4), dialect=dialect, go_backwards=True))
        cells.cell.trainable = False
        for cell in cells.cells:
            cell.trainable = False
        assert [place // 3 for place in legacy_order(layer)[::3]] == expected
    cells = stack((4, 4), frozen=[0], dialect="keras3")
    cells.cell._settle(trainable=False)  # as a configuration may say, without its cells
    assert [place // 3 for place in legacy_order(cells)[::3]] == [1, 0]
    cells = stack((4, 4), frozen=[0], dialect="keras2")
    assert [place // 3 for place in legacy_order(cells)[::3]] == [1, 0]
    cells.cell._settle(trainable=False)  # as a configuration may say, without its cells
    assert legacy_order(cells) == list(range(6))
    layer = nl.Bidirectional(stack((4, 4), frozen=[0], dialect="keras3"), trainable=False)
    assert legacy_order(layer) == list(range(12))
    layer = nl.Bidirectional(stack((4, 4), frozen=[0], dialect="keras2"), trainable=False)
    assert [place // 3 for place in legacy_order(layer)[::3]] == [1, 0, 3, 2]
    bn = nl.BatchNormalization(trainable=False)
    bn.build((None, 3))
    assert legacy_order(nl.TimeDistributed(bn)) == [0, 1, 2, 3]
