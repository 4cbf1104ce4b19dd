"""Arrays as kernels take them: strides in numbers, whole vectors, and no copy where none is needed."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from numba_lstm.backends.cpu import operands
from numba_lstm.backends.cpu.operands import SequenceOperands
from numba_lstm.backends.cpu.packing import pack_cell
from numba_lstm.kernels.pack import lanes_of, padded

F4 = np.dtype("f4")
RECORD = np.arange(60, dtype="f4").reshape(5, 4, 3)


@pytest.mark.parametrize(
    ("array", "copied"),
    [
        (RECORD, False),
        (RECORD.swapaxes(0, 1), False),
        (RECORD[::-1, ::2], False),
        (RECORD[:, ::-1, :2], False),
        (RECORD[..., ::2], True),
        (np.asfortranarray(RECORD), True),
        (RECORD[..., 1], False),  # a mask has no third axis
        (RECORD[..., 1:2], False),
        (np.lib.stride_tricks.sliding_window_view(RECORD[0], 2, axis=0).swapaxes(1, 2), False),
        (np.zeros((5, 4), [("a", "u1"), ("b", "f4")])["b"], True),  # no whole number of numbers apart
        (RECORD.astype("f8"), True),
    ],
)
def test_where_a_row_and_a_timestep_lie(array: Any, copied: bool) -> None:
    window, kept = operands.window_of(array, F4)
    assert (not np.shares_memory(kept, array)) == copied
    start = kept.__array_interface__["data"][0]
    assert window.memory == start and window.start == 0
    whole = array if array.ndim == 3 else array[..., np.newaxis]
    for row, step in np.ndindex(*array.shape[:2]):
        at = window.memory + 4 * (row * window.row_stride + step * window.time_stride)
        found = np.frombuffer(memoryview((ctypes.c_float * whole.shape[2]).from_address(at)), "f4")
        np.testing.assert_array_equal(found, whole[row, step])


def test_masks() -> None:
    none, _ = operands.masks_of(None, 7, F4)
    assert none.number == 0
    made, kept = operands.masks_of(np.asfortranarray(np.arange(24.0).reshape(4, 2, 3)), 2, F4)
    assert (made.number, made.batch, made.memory) == (4, 2, kept.ctypes.data)
    assert kept.flags.c_contiguous and kept.dtype == F4 and kept[3, 1, 2] == 23


def test_states_in_whole_vectors() -> None:
    h, c = np.arange(6.0).reshape(2, 3), -np.arange(6.0).reshape(2, 3)
    state = operands.state_of(h, c, F4)
    assert state.shape == (3, 2, lanes_of(F4)) and state.dtype == F4 and state.ctypes.data % 64 == 0
    np.testing.assert_array_equal(state[0, :, :3], h)
    np.testing.assert_array_equal(state[1, :, :3], c)
    assert not state[:2, :, 3:].any() and not state[2].any()
    assert operands.places_in(1000, 64) == (1000, 1064, 1128)


def cell_of(units: int, input_dim: int, activation: str = "tanh", dtype: str = "float32") -> Any:
    shapes = (input_dim, 4 * units), (units, 4 * units), (4 * units,)
    weights = [np.zeros(shape, "f4") for shape in shapes]
    return pack_cell(*weights, activation=activation, recurrent_activation="sigmoid", dialect="keras3", dtype=dtype)


@pytest.mark.parametrize("activation", ["tanh", "softmax"])
@pytest.mark.parametrize(
    ("rows", "dropout", "recurrent", "given", "helps", "steps"),
    [
        (1, 0, 0, False, False, 48),
        (1, 4, 1, False, False, 3),
        (5, 1, 0, False, True, 48),
        (5, 0, 4, True, False, 48),
        (6, 4, 4, False, False, 48),
        (100, 1, 1, False, True, 48),
    ],
)
def test_scratch_memory_has_room_for_all_of_it(
    rows: int, dropout: int, recurrent: int, given: bool, helps: bool, steps: int, activation: str
) -> None:
    """The least that each part needs by its description in arguments.Scratch, one after the other, from vectors on."""
    units, input_dim = 37, 5
    cell, lanes = cell_of(units, input_dim, activation), lanes_of(F4)
    scratch, array = operands.scratch_of(cell, rows, dropout, recurrent, given, helps, steps)
    group, hoisted_steps, width = min(rows, 48), scratch.hoisted_steps, padded(units, F4)
    assert scratch.group == group
    assert hoisted_steps == (0 if given or rows > 5 else min(48 // rows, steps))
    row_of_z = 4 * width * max(hoisted_steps, 1)
    if hoisted_steps == 0 and activation == "tanh":
        row_of_z = 4 * lanes * (4 if 4 in (dropout, recurrent) else 1)
    needed = {
        "z": group * row_of_z,
        "partial": max(group, hoisted_steps) * 4 * lanes,
        "x": max(group, hoisted_steps) * dropout * input_dim,
        "h": group * recurrent * units,
        "h_next": group * width,
        "c": group * width if helps else 0,
        "skip": group // 4,
    }
    places = [*scratch[2:], array.ctypes.data + array.nbytes]
    for (name, numbers), start, end in zip(needed.items(), places, places[1:], strict=False):
        assert start % 64 % (4 * lanes) == 0 and end - start >= 4 * numbers, name
    assert places[0] == array.ctypes.data and not array.any()
    assert array.nbytes < 1.5 * 4 * sum(needed.values()) + 4096


def test_calls_begin_at_a_timestep() -> None:
    cell = cell_of(4, 3)
    x, y = np.zeros((2, 9, 3), "f4"), np.zeros((2, 9, 4), "f4")
    nothing, _ = operands.masks_of(None, 2, F4)
    windows = [operands.window_of(array, F4)[0] for array in (x, y)]
    mask, _ = operands.NO_MASK
    options = operands.Options(True, False, False)
    made = SequenceOperands(windows[0], None, mask, nothing, nothing, operands.State(1, 2, 3), windows[1], options, ())
    scratch, _ = made.scratch(cell, 2)
    call = made.call(cell, (1, 2), 5, 4, scratch)
    assert (call.first_row, call.last_row, call.timesteps) == (1, 2, 4)
    assert (call.inputs.start, call.outputs.start, call.mask.start) == (5 * 3, 5 * 4, 5 * mask.time_stride)
    assert call.sums.memory == 0 and call.state == (1, 2, 3)
    assert made.call(cell, (0, 2), 0, 9, scratch).inputs == windows[0]
