"""Arrays in the form in which kernels take them: addresses and strides, rows of whole vectors, memory to work in."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from numba_lstm.backends.cpu.packing import PackedCell, spans_units
from numba_lstm.backends.cpu.policy import GROUP, ROWS_OF_A_TILE
from numba_lstm.kernels.arguments import (
    NO_TEAM,
    NO_WINDOW,
    Call,
    Masks,
    Options,
    Scratch,
    State,
    Team,
    Window,
)
from numba_lstm.kernels.compile import bound, entry
from numba_lstm.kernels.pack import Array, address, aligned_zeros, padded


def window_of(array: Array, dtype: np.dtype[Any]) -> tuple[Window, Array]:
    """A (rows, timesteps, width) or (rows, timesteps) array as kernels take it, and the array to keep alive meanwhile.

    No copy is made if the numbers of a timestep are neighbours.
    """
    array = np.asarray(array, dtype)
    size = dtype.itemsize
    if not array.flags.c_contiguous and (
        any(stride % size for stride in array.strides)
        or (array.ndim == 3 and array.shape[2] > 1 and array.strides[2] != size)
    ):
        array = np.ascontiguousarray(array)
    return Window(address(array), 0, array.strides[0] // size, array.strides[1] // size), array


_NOTHING = np.zeros(1)
NO_MASK = window_of(np.zeros((1, 1), np.uint8), np.dtype(np.uint8))
_NO_MASKS = Masks(address(_NOTHING), 0, 0)


def masks_of(masks: Array | None, batch: int, dtype: np.dtype[Any]) -> tuple[Masks, Array]:
    """Dropout masks (number, batch, width) as kernels take them, and the array to keep alive meanwhile."""
    if masks is None:
        return _NO_MASKS, _NOTHING
    array = np.ascontiguousarray(masks, dtype)
    return Masks(address(array), array.shape[0], batch), array


def state_of(h: Array, c: Array, dtype: np.dtype[Any]) -> Array:
    """h, c and room for the last output in rows of whole vectors, (3, batch, padded units); h, c: (batch, units)."""
    batch, units = h.shape
    width = padded(units, dtype)
    state = aligned_zeros(3 * batch * width, dtype).reshape(3, batch, width)
    state[0, :, :units], state[1, :, :units] = h, c
    return state


def places_in(first: int, size: int) -> State:
    """A state as kernels take it: the address where it begins, and the bytes of each of its three parts."""
    return State(first, first + size, first + 2 * size)


def room_of_copies(cell: PackedCell, masks: int, width: int) -> int:
    """The size of the copies of a row that the inner product reads instead, in numbers of cell.dtype; see copies.py."""
    if cell.operand_dtype == cell.dtype:
        return masks * width
    # bf16, half as wide, and a vector more.
    return max(masks, 1) * padded(width + padded(1, cell.dtype), cell.dtype) // 2


def scratch_of(
    cell: PackedCell,
    rows: int,
    dropout: int,
    recurrent_dropout: int,
    precomputed_xw: bool,
    helps: bool = False,
    steps: int = GROUP,
) -> tuple[Scratch, Array]:
    """Memory for one thread with this number of rows and masks, and the array to keep alive meanwhile.

    precomputed_xw: whether x @ kernel + bias is there already. helps: whether the thread is the helper of another one.
    steps: timesteps of a call, at most.
    """
    shape, dtype = cell.cell, cell.dtype
    group, lanes, width = min(GROUP, rows), padded(1, dtype), padded(shape.units, dtype)
    # Few rows fill a tile with timesteps instead.
    hoisted_steps = min(GROUP // rows, steps) if rows < ROWS_OF_A_TILE and not precomputed_xw else 0
    at_once = 4 if 4 in (dropout, recurrent_dropout) else 1
    sizes = (
        group * 4 * (max(hoisted_steps, 1) * width if hoisted_steps or spans_units(cell) else lanes * at_once),
        max(group, hoisted_steps) * 4 * lanes,
        max(group, hoisted_steps) * room_of_copies(cell, dropout, shape.input_dim),
        group * room_of_copies(cell, recurrent_dropout, shape.units),
        group * width,
        group * width if helps else 0,
        group,
    )
    # One after the other in one array, each from a whole vector on: allocations are what a short call waits for.
    lengths = [-(-size // lanes) * lanes * dtype.itemsize for size in sizes]
    array = aligned_zeros(sum(lengths) // dtype.itemsize, dtype)
    starts = itertools.accumulate(lengths[:-1], initial=address(array))
    return Scratch(group, hoisted_steps, *starts), array


class SequenceOperands(NamedTuple):
    """All that a cell computes with, of a whole batch, as kernels take it, and the arrays to keep alive meanwhile."""

    inputs: Window
    precomputed_xw: Window | None  # x @ kernel + bias, where it is there already
    mask: Window
    dropout: Masks
    recurrent_dropout: Masks
    state: State
    outputs: Window
    options: Options
    arrays: tuple[Any, ...]  # what the addresses point to

    @classmethod
    def of(
        cls,
        cell: PackedCell,
        inputs: Array,
        state: State,
        outputs: Array,
        options: Options,
        *,
        precomputed_xw: Array | None = None,
        mask: Array | None = None,
        dropout_mask: Array | None = None,
        recurrent_dropout_mask: Array | None = None,
        keep: tuple[Any, ...] = (),
    ) -> SequenceOperands:
        """The arrays of `run.sequence` in the order of processing; keep: what `state` and `options` point to."""
        dtype, batch = cell.dtype, inputs.shape[0]
        x, kept = window_of(inputs, dtype)
        xw, kept_xw = (None, None) if precomputed_xw is None else window_of(precomputed_xw, dtype)
        marks, kept_mask = NO_MASK if mask is None else window_of(mask, np.dtype(np.uint8))
        dropout, kept_dropout = masks_of(dropout_mask, batch, dtype)
        recurrent_dropout, kept_recurrent = masks_of(recurrent_dropout_mask, batch, dtype)
        arrays = kept, kept_xw, kept_mask, kept_dropout, kept_recurrent, outputs, *keep
        to = window_of(outputs, dtype)[0]
        return cls(x, xw, marks, dropout, recurrent_dropout, state, to, options, arrays)

    def scratch(self, cell: PackedCell, rows: int, helps: bool = False, steps: int = GROUP) -> tuple[Scratch, Array]:
        """See `scratch_of`."""
        masks = self.dropout.number, self.recurrent_dropout.number
        return scratch_of(cell, rows, *masks, self.precomputed_xw is not None, helps, steps)

    def call(
        self, cell: PackedCell, rows: tuple[int, int], start: int, steps: int, scratch: Scratch, team: Team = NO_TEAM
    ) -> Call:
        """The call for a range of rows and the timesteps from ``start`` on."""
        return Call(
            *rows,
            steps,
            cell.cell,
            _from(start, self.inputs),
            NO_WINDOW if self.precomputed_xw is None else _from(start, self.precomputed_xw),
            _from(start, self.mask),
            self.dropout,
            self.recurrent_dropout,
            self.state,
            _from(start, self.outputs),
            self.options,
            scratch,
            team,
        )

    def kernel(self, cell: PackedCell, scratch: Scratch, shared: bool = False) -> Callable[[int], Any]:
        """cpu.sequence for such calls: compiled, or found among what is, and called with a record's address.

        shared: for two threads that share the units, cpu_pair.sequence_of_pair.
        """
        has_masks = self.options.masked or self.dropout.number > 0 or self.recurrent_dropout.number > 0
        key = bool(scratch.hoisted_steps), has_masks, self.precomputed_xw is not None, shared
        found = cell.compiled.get(key)
        if found is None:
            small_batch, masks, precomputed, _ = (flag or None for flag in key)
            if shared:
                found = entry("cpu_pair.sequence_of_pair", cell.dtypes, (cell.functions, small_batch, masks))
            else:
                found = entry("cpu.sequence", cell.dtypes, (cell.functions, small_batch, masks, precomputed))
            cell.compiled[key] = found
        return found


class KernelCall(NamedTuple):
    """A compiled kernel, the record that it reads, and the arrays that the addresses in it point to."""

    kernel: Callable[[int], Any]
    record: array[int]
    arrays: tuple[Any, ...]

    def run(self) -> None:
        """Call it once."""
        self.kernel(self.record.buffer_info()[0])

    def with_address(self) -> Callable[[], Any]:
        """A function that calls it; the caller keeps this object as long."""
        return bound(self.kernel, self.record.buffer_info()[0])


def _from(start: int, window: Window) -> Window:
    return window._replace(start=start * window.time_stride) if start else window
