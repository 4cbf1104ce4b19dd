"""The work around a step: rows copied, times dropout masks, rounded, and what masked rows keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.bf16 import to_bf16
from support.plain_kernels import memory, plain

from numba_lstm.kernels.arguments import NO_TEAM, Call, Cell, GroupState, Masks, Options, RowGroup, Scratch, Window

LANES = 4  # of float64
NOTHING = Masks(None, 0, 0)


@pytest.mark.parametrize("width", [1, 4, 7, 8])
def test_a_copy_has_the_width_that_is_asked_for(width: int) -> None:
    source, target = np.arange(20.0), np.full(20, -1.0)
    plain("copies").copy(memory(source), 5, memory(target), 3, width)
    np.testing.assert_array_equal(target, [-1] * 3 + [*range(5, 5 + width)] + [-1] * (17 - width))


@pytest.mark.parametrize("number", [1, 4])
@pytest.mark.parametrize("last_row", [1, 9])
def test_rows_times_their_masks(number: int, last_row: int) -> None:
    """Three rows of a batch from row 1 on, or three timesteps of row 1."""
    rng = np.random.default_rng(number)
    x, masks, target = rng.standard_normal((5, 7)), rng.random((number, 6, 7)), np.zeros((3, number, 7))
    operand = plain("tile").Operand(memory(x), 2, 7, 0)  # not from the start of a row on
    arguments = operand, 3, Masks(memory(masks), number, 6), 1, last_row, 7, memory(target)
    found = plain("copies").operand(True, *arguments)
    rows = x.ravel()[2:23].reshape(3, 7)
    factors = masks[:, [1, 2, 3] if last_row == 9 else [1, 1, 1]].swapaxes(0, 1)
    np.testing.assert_array_equal(target, rows[:, np.newaxis] * factors)
    assert found[1:] == (0, number * 7, 7 if number == 4 else 0) and found.array.address == memory(target).address
    assert plain("copies").operand(None, *arguments) is operand
    assert plain("copies").operand(True, operand, 3, NOTHING, 1, 9, 7, memory(target)) is operand


@pytest.mark.parametrize("number", [0, 1, 4])
def test_rows_rounded_to_bf16(number: int) -> None:
    """With room for zeros behind each, which a word of two reads."""
    rng = np.random.default_rng(number)
    width, room, copies = 11, 24, max(number, 1)
    x, masks = rng.standard_normal((2, width)).astype("f4"), rng.random((copies, 2, width)).astype("f4")
    target = np.full((2, copies, room), 0x7FFF, np.uint16)
    operand = plain("tile").Operand(memory(x), 0, width, 0)
    held = Masks(memory(masks), number, 2)
    found = plain("copies").operand(None, operand, 2, held, 0, 1, width, memory(target))
    numbers = (target.astype(np.uint32) << 16).view(np.float32)
    truth = x[:, np.newaxis] * (masks.swapaxes(0, 1) if number else np.float32(1))
    np.testing.assert_array_equal(numbers[..., :width], to_bf16(truth))
    assert not target[..., width : width + 2].any()
    assert found[1:] == (0, copies * room // 2, room // 2 if number == 4 else 0)


def call_of(units: int, **parts: Any) -> Call:
    """A call of a cell with that many units, for what the functions here look at."""
    none = Window(None, 0, 0, 0)
    cell = Cell(None, None, memory(np.zeros(LANES)), 3, units, 8, 1, 2)
    scratch = Scratch(4, 0, None, None, None, None, None, None, parts.pop("skip", None))
    options = Options(True, True, False)
    made = Call(0, 4, 3, cell, none, none, none, NOTHING, NOTHING, None, none, options, scratch, NO_TEAM)  # type: ignore[arg-type]
    return made._replace(**parts)


def states(rng: np.random.Generator, rows: int, width: int) -> tuple[dict[str, Any], GroupState]:
    arrays = {name: rng.standard_normal((rows, width)) for name in GroupState._fields}
    return arrays, GroupState(*map(memory, arrays.values()))


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("order", [False, True])
def test_outputs_of_masked_rows(zeros: bool, order: bool) -> None:
    """A masked row keeps h, and repeats its last output or gives zeros; rows may have places of their own."""
    units, padded = 6, 8
    arrays, state = states(np.random.default_rng(1), 3, padded)
    before = {name: array.copy() for name, array in arrays.items()}
    skip, outputs = np.array([0, 1, 0], np.uint8), np.full((4, 2, units), 9.0)
    places = np.array([7, 2, 0, 3]) if order else np.arange(4)
    options = Options(True, True, zeros, places.ctypes.data if order else 0)
    window = Window(memory(outputs), 0, 2 * units, units)
    call = call_of(units, options=options, outputs=window, skip=memory(skip))
    plain("copies").finish_step(call, True, RowGroup(1, 3, 0, 2, 1), state)
    kept = np.where(skip[:, np.newaxis], before["h"], before["h_next"])
    shown = np.where(skip[:, np.newaxis], 0 if zeros else before["output"], before["h_next"])
    np.testing.assert_array_equal(arrays["h_next"], kept)
    np.testing.assert_array_equal(arrays["output"], shown)
    np.testing.assert_array_equal(outputs[places[1:], 1], shown[:, :units])
    untouched = np.ones((4, 2), bool)
    untouched[places[1:], 1] = False
    assert (outputs[untouched] == 9).all()


def test_rows_that_count() -> None:
    """Up to the last one that does; the others are marked."""
    mask, skip, h = np.array([[1, 1], [0, 0], [1, 1], [1, 0]], np.uint8), np.full(3, 7, np.uint8), np.zeros((3, 8))
    call = call_of(6, mask=Window(memory(mask), 0, 2, 1), skip=memory(skip))
    call = call._replace(recurrent_dropout=NOTHING, scratch=call.scratch._replace(h=memory(h)))
    active, operand = plain("copies").next_operand(call, True, RowGroup(1, 3, 0, 2, 1), memory(h))
    assert active == 2 and list(skip) == [1, 0, 1] and operand[1:] == (0, 8, 0)
    active, _ = plain("copies").next_operand(call, None, RowGroup(1, 3, 0, 2, 1), memory(h))
    assert active == 3


def test_the_blocks_of_a_helper_are_handed_over() -> None:
    rng = np.random.default_rng(4)
    arrays, state = states(rng, 2, 12)
    before = {name: array.copy() for name, array in arrays.items()}
    own_c, own_h, skip = rng.standard_normal((2, 12)), rng.standard_normal((2, 12)), np.array([0, 1], np.uint8)
    scratch = Scratch(4, 0, None, None, None, None, memory(own_h), memory(own_c), memory(skip))
    plain("copies").hand_over(call_of(10, scratch=scratch), RowGroup(0, 2, 1, 3, 0), state)
    for name, own in (("c", own_c), ("h_next", own_h)):
        np.testing.assert_array_equal(arrays[name][0], [*before[name][0, :LANES], *own[0, LANES:]])
        np.testing.assert_array_equal(arrays[name][1], before[name][1])
