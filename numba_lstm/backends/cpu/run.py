"""Calls of the CPU kernels for a cell: over a batch of sequences, and one step of it.

Everything here trusts its arguments (cells and layers have validated them) and works on C-contiguous copies or
aliases that the kernels can take.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from numba_lstm.backends.cpu import policy, ragged, threads, windows
from numba_lstm.backends.cpu.call_plan import small_steps
from numba_lstm.backends.cpu.operands import SequenceOperands, places_in, room_of_copies, state_of, window_of
from numba_lstm.backends.cpu.packing import PackedCell
from numba_lstm.backends.cpu.policy import GROUP
from numba_lstm.backends.cpu.sharing import row_ranges, shares_units
from numba_lstm.kernels.arguments import ABSENT, HELPER, Options, Scratch, SumsCall, Team, pack_record
from numba_lstm.kernels.compile import entry
from numba_lstm.kernels.pack import Array, address, aligned_zeros, padded


def _precomputed_xw(cell: PackedCell, inputs: Array) -> Array | None:
    """The sums over x, (batch, timesteps, whole vectors), of windows that overlap, each timestep's made once.

    inputs: (batch, timesteps, input_dim). None if they do not overlap enough, or the sums would take too much memory.
    """
    shape, dtype = cell.cell, cell.dtype
    width = 4 * padded(shape.units, dtype)
    found = windows.record_of(inputs)
    if found is None or len(found[0]) * width * dtype.itemsize > policy.BYTES_OF_SUMS:
        return None
    record, stride = found
    steps = len(record)
    sums = aligned_zeros(steps * width, dtype).reshape(1, steps, width)
    x, y = window_of(record[np.newaxis], dtype), window_of(sums, dtype)
    kernel = entry("sums.input_sums_of_all", cell.dtypes)

    def part(first: int, last: int) -> None:
        scratch = aligned_zeros(GROUP * 4 * padded(1, dtype), dtype)
        rounded = aligned_zeros(GROUP * room_of_copies(cell, 0, shape.input_dim), dtype)
        call = SumsCall(first, last, GROUP, address(scratch), address(rounded), shape, x[0], y[0])
        numbers = pack_record(call, 5)
        kernel(numbers.buffer_info()[0])

    threads.run(part, row_ranges(steps, 4 * shape.units * shape.input_dim * steps, written=sums.size))
    return windows.windows_of(sums[0], inputs.shape[0], inputs.shape[1], stride)


def sequence(
    cell: PackedCell,
    inputs: Array,
    h: Array,
    c: Array,
    *,
    mask: Array | None = None,
    dropout_mask: Array | None = None,
    recurrent_dropout_mask: Array | None = None,
    go_backwards: bool = False,
    return_sequences: bool = False,
    zero_output_for_mask: bool = False,
    into: tuple[Array, Array] | None = None,
) -> tuple[Array, Array, Array]:
    """Run a batch through all its timesteps.

    inputs: (batch, timesteps, input_dim), any strides in the first two axes. h, c: (batch, units). mask: (batch,
    timesteps), true where a step counts. dropout_mask: (1 or 4, batch, input_dim), recurrent_dropout_mask:
    (1 or 4, batch, units), already scaled; one for all gates or one a gate. into: an array for sequences of outputs,
    instead of a new one, and which row of it each row's go to, (batch,) int64; with a mask. Returns the outputs,
    (batch, timesteps, units) in the order of processing or the last one (batch, units), and the final h and c, all
    arrays of their own.
    """
    units, dtype = cell.cell.units, cell.dtype
    batch, timesteps = inputs.shape[:2]
    forwards = inputs
    if go_backwards:
        inputs = inputs[:, ::-1]
        mask = None if mask is None else mask[:, ::-1]
    sorted_rows = None if mask is None or into is not None else ragged.longest_first(mask)
    if mask is not None and sorted_rows is not None:
        options: dict[str, Any] = {"return_sequences": return_sequences, "zero_output_for_mask": zero_output_for_mask}
        part = partial(sequence, cell, **options)
        x = np.asarray(inputs, dtype)
        steps = np.count_nonzero(mask[sorted_rows], axis=1)
        # Few rows are left together: threads share the units then.
        ranges = [(0, batch)]
        if batch > policy.MOST_ROWS_OF_TWO:
            ranges = row_ranges(batch, policy.work_of_step(cell.cell) * int(steps.sum()), steps)
        return ragged.in_order(
            sorted_rows, ranges, part, x, h, c, mask, (dropout_mask, recurrent_dropout_mask), **options
        )
    xw = None if dropout_mask is not None else _precomputed_xw(cell, forwards)
    if xw is not None and go_backwards:
        xw = xw[:, ::-1]
    outputs, order = into or (np.empty((batch, timesteps if return_sequences else 1, units), dtype), None)
    state = state_of(h, c, dtype)
    if batch:
        operands = SequenceOperands.of(
            cell,
            inputs,
            places_in(address(state), state[0].nbytes),
            outputs,
            Options(return_sequences, mask is not None, zero_output_for_mask, 0 if order is None else address(order)),
            precomputed_xw=xw,
            mask=mask,
            dropout_mask=dropout_mask,
            recurrent_dropout_mask=recurrent_dropout_mask,
            keep=(state, order),
        )
        shares = None if mask is None else np.count_nonzero(mask, axis=1)
        _run(cell, operands, batch, timesteps, shares)
    state = state[:, :, :units]
    if not return_sequences:
        outputs = state[0 if mask is None else 2].copy()
    return outputs, state[0].copy(), state[1].copy()


def _run(cell: PackedCell, operands: SequenceOperands, batch: int, timesteps: int, shares: Array | None) -> None:
    """Kernel calls for ranges of rows, or for some of the units, on threads, one stretch of time after another.

    What a thread runs refers to the operands, and so to the arrays behind the addresses. shares: of each row in the
    work.
    """
    row_work = policy.work_of_step(cell.cell)
    slow_work = policy.slow_work_of_step(cell.cell, callable(cell.activation) or callable(cell.recurrent_activation))

    def stretches(rows: int) -> Iterator[tuple[int, int]]:
        for stretch in policy.stretches(rows, timesteps, slow_work):
            threads.check()
            yield stretch

    def by_one(first: int, last: int) -> None:
        scratch, _memory = operands.scratch(cell, last - first)
        kernel = operands.kernel(cell, scratch)
        for start, steps in stretches(last - first):
            record = pack_record(operands.call(cell, (first, last), start, steps, scratch))
            kernel(record.buffer_info()[0])

    work = batch * row_work * timesteps
    if operands.precomputed_xw is None and shares_units(cell, batch, work):
        own, helpers = operands.scratch(cell, batch), operands.scratch(cell, batch, helps=True)
        for start, steps in stretches(batch):
            _run_by_two(cell, operands, batch, (start, steps), own, helpers)
        return
    threads.run(by_one, row_ranges(batch, work, shares, slowness=-(-slow_work // row_work), group=GROUP))


def _run_by_two(
    cell: PackedCell,
    operands: SequenceOperands,
    batch: int,
    stretch: tuple[int, int],
    own: tuple[Scratch, Array],
    helpers: tuple[Scratch, Array],
) -> None:
    """All rows by this thread and, as soon as there is one, a helper, each with scratch memory of its own.

    stretch: the first timestep and how many. The helper may outlast the call by a moment: what it runs refers to all
    that it could touch.
    """
    units, dtype = cell.cell.units, cell.dtype
    width, middle = padded(units, dtype), policy.middle_of(units, batch, dtype)
    patience = policy.patience_of(cell.cell, batch)
    progress, h_next = np.full(2 * HELPER, ABSENT, np.int64), aligned_zeros(batch * width, dtype)
    progress[0] = 0
    kernel = operands.kernel(cell, own[0], shared=True)

    def take_part(leads: bool, scratch: tuple[Scratch, Array]) -> None:
        team = Team(address(progress), leads, patience, middle, address(h_next))
        record = pack_record(operands.call(cell, (0, batch), *stretch, scratch[0], team))
        kernel(record.buffer_info()[0])

    threads.with_help(partial(take_part, True, own), partial(take_part, False, helpers), 1)


def step(
    cell: PackedCell,
    inputs: Array,
    h: Array,
    c: Array,
    dropout_mask: Array | None = None,
    recurrent_dropout_mask: Array | None = None,
) -> tuple[Array, Array]:
    """One timestep: inputs (batch, input_dim), h and c (batch, units) -> the new h and c. A sequence of length one."""
    if dropout_mask is None and recurrent_dropout_mask is None:
        steps = small_steps(cell, len(inputs))
        if steps is not None:
            return steps(cell, inputs, h, c)
    _, h, c = sequence(
        cell, inputs[:, np.newaxis], h, c, dropout_mask=dropout_mask, recurrent_dropout_mask=recurrent_dropout_mask
    )
    return h, c
