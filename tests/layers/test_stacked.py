"""Stacks of cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import naive
import numpy as np
import pytest
from numpy.typing import NDArray
from support.recurrent import BATCH, CLOSE, INPUT_DIM, TIMESTEPS, random_weights

import numba_lstm as nl
from numba_lstm.errors import ConfigError, ShapeError

Array = NDArray[Any]
UNITS = (5, 2, 4)


@pytest.fixture
def cells(rng: np.random.Generator) -> list[list[Array]]:
    widths = (INPUT_DIM, *UNITS)
    return [random_weights(rng, width, units) for width, units in zip(widths, UNITS, strict=False)]


@pytest.fixture
def x(rng: np.random.Generator) -> Array:
    return rng.normal(size=(BATCH, TIMESTEPS, INPUT_DIM))


def stack(cells: list[list[Array]], **options: Any) -> nl.RNN:
    rnn = nl.RNN([nl.LSTMCell(units, dtype="float64") for units in UNITS], dtype="float64", **options)
    rnn.set_weights([w for weights in cells for w in weights])
    return rnn


@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_stacks_match_the_oracle(x: Array, cells: list[list[Array]], go_backwards: bool, masked: bool) -> None:
    mask = np.array([[c == "1" for c in row] for row in ("0110100", "1111111", "0000000", "1011110")])
    step_mask = mask if masked else None
    y, states = naive.stacked(x, cells, step_mask=step_mask, go_backwards=go_backwards)
    options: dict[str, Any] = {"go_backwards": go_backwards, "return_state": True}
    whole = stack(cells, return_sequences=True, **options)(x, mask=step_mask)
    assert [len(entry) for entry in whole[1:]] == [2, 2, 2]
    flat = [whole[0], *(state for pair in whole[1:] for state in pair)]
    for value, truth in zip(flat, [y, *states], strict=True):
        np.testing.assert_allclose(value, truth, **CLOSE["float64"])
    np.testing.assert_array_equal(stack(cells, **options)(x, mask=step_mask)[0], whole[0][:, -1])


def test_states_flat_and_in_pairs(x: Array, cells: list[list[Array]]) -> None:
    rnn = stack(cells, return_state=True)
    _, *pairs = rnn(x[:, :3])
    whole = rnn(x)[0]
    np.testing.assert_array_equal(rnn(x[:, 3:], initial_state=pairs)[0], whole)
    np.testing.assert_array_equal(rnn(x[:, 3:], initial_state=[s for pair in pairs for s in pair])[0], whole)


def test_the_stack_is_a_cell(x: Array, cells: list[list[Array]]) -> None:
    rnn = stack(cells, return_sequences=True)
    assert isinstance(rnn.cell, nl.StackedRNNCells)
    states = rnn.cell.get_initial_state(batch_size=BATCH)
    steps = []
    for t in range(TIMESTEPS):
        y, states = rnn.cell(x[:, t], states)
        steps.append(y)
    np.testing.assert_array_equal(np.stack(steps, axis=1), rnn(x))
    assert rnn.cell.state_size == [[5, 5], [2, 2], [4, 4]] and rnn.cell.output_size == 4


def test_one_mask_a_cell(x: Array, cells: list[list[Array]], rng: np.random.Generator) -> None:
    masks = [(rng.random((4, BATCH, width)) < 0.7) / 0.7 for width in (INPUT_DIM, *UNITS[:2])]
    recurrent = [None, (rng.random((4, BATCH, UNITS[1])) < 0.7) / 0.7, None]
    y = x
    for weights, mask, recurrent_mask in zip(cells, masks, recurrent, strict=True):
        y, _, _ = naive.sequence(y, weights, mask=mask, recurrent_mask=recurrent_mask)
    rnn = stack(cells)
    value = rnn(x, training=True, dropout_mask=masks, recurrent_dropout_mask=recurrent)
    np.testing.assert_allclose(value, y[:, -1], **CLOSE["float64"])
    for wrong, came in ((masks[:2], "2 entries"), (masks[0], "a ndarray")):
        with pytest.raises(ShapeError, match=f"dropout_mask is {came}; expected a list of 3, one entry a cell"):
            rnn(x, dropout_mask=wrong)


@pytest.mark.parametrize("dialect", ["tf1", "keras2", "keras3"])
def test_the_states_of_a_stack_of_one_are_a_pair(x: Array, dialect: Any) -> None:
    """[output, [h, c]], as Keras 2.15 and 3.15 return it: a stack is a stack, however small."""
    rnn = nl.RNN([nl.LSTMCell(2, dialect=dialect)], return_state=True, dialect=dialect)
    output, (h, c) = rnn(x)
    np.testing.assert_array_equal(output, h)
    assert c.shape == h.shape == (len(x), 2)


def test_reverse_state_order_changes_nothing_that_keras_can_do(x: Array) -> None:
    outputs = []
    for reverse in (False, True):
        made = nl.StackedRNNCells([nl.LSTMCell(3, seed=1), nl.LSTMCell(3, seed=2)], reverse_state_order=reverse)
        rnn = nl.RNN(made, return_state=True)
        outputs.append([rnn(x)[0], *rnn(x)[1], *rnn(x)[2]])
    for value, same in zip(*outputs, strict=True):
        np.testing.assert_array_equal(value, same)


def test_weights_and_names(cells: list[list[Array]]) -> None:
    rnn = stack(cells)
    assert rnn.weight_names()[:4] == ["cell_0/kernel", "cell_0/recurrent_kernel", "cell_0/bias", "cell_1/kernel"]
    assert rnn.count_params() == sum(w.size for weights in cells for w in weights)
    assert rnn.state_units == [5, 2, 4]
    new = nl.RNN([nl.LSTMCell(units) for units in UNITS])
    new.build((None, None, INPUT_DIM))
    assert isinstance(new.cell, nl.StackedRNNCells) and new.cell.losses == []
    new.cell.apply_constraints()
    assert [w.shape for w in new.get_weights()] == [w.shape for w in rnn.get_weights()]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nl.StackedRNNCells([]), r"cells is \[\]; expected one LSTMCell or more in a list"),
        (lambda: nl.StackedRNNCells([3]), r"cells is \[3\]; expected one LSTMCell or more"),
        (lambda: nl.StackedRNNCells([(c := nl.LSTMCell(2)), c]), r"the same cell twice; expected each once"),
        (
            lambda: nl.StackedRNNCells([nl.LSTMCell(2), nl.LSTMCell(3)], reverse_state_order=True),
            r"reverse_state_order is True for cells of \[2, 3\] units; Keras fails",
        ),
        (
            lambda: nl.StackedRNNCells([nl.LSTMCell(2)], reverse_state_order=True, dialect="keras3"),
            r"reverse_state_order is True; Keras 3 has no such argument",
        ),
        (lambda: nl.StackedRNNCells.from_config({"cells": 5}), r"cells of StackedRNNCells is 5; expected a list"),
        (
            lambda: nl.StackedRNNCells.from_config({"cells": [{"class_name": "GRUCell", "config": {}}]}),
            r"cell 'GRUCell' is not supported; expected LSTMCell or StackedRNNCells",
        ),
        (
            lambda: nl.StackedRNNCells([nl.LSTMCell(2)]).set_weights([np.ones((3, 8))]),
            r"1 arrays of weights came; expected 3 = \[cell_0/kernel, cell_0/recurrent_kernel, cell_0/bias\]",
        ),
    ],
)
def test_messages(
    make: Callable[[], Any], text: str, one_line: Callable[[pytest.ExceptionInfo[BaseException]], str]
) -> None:
    with pytest.raises((ConfigError, ShapeError), match=text) as raised:
        make()
    one_line(raised)
