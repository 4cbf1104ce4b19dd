"""Calls of the CPU kernels: a cell over a batch of sequences, one step of it, and the layers without a state.

Everything here trusts its arguments (cells and layers have validated them) and works on C-contiguous copies or
aliases that the kernels can take.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from numba_lstm.backends.cpu import policy, ragged, threads, windows
from numba_lstm.backends.cpu.operands import (
    NO_MASK,
    SequenceOperands,
    masks_of,
    places_in,
    room_of_copies,
    state_of,
    window_of,
)
from numba_lstm.backends.cpu.packing import (
    BLOCK_LENGTH,
    Activation,
    PackedCell,
    PackedDense,
    activation_code,
    spans_units,
)
from numba_lstm.backends.cpu.policy import GROUP
from numba_lstm.backends.cpu.streaming import Stepper
from numba_lstm.kernels.arguments import (
    ABSENT,
    HELPER,
    ActivationCall,
    DenseCall,
    Options,
    Scratch,
    StandardizeCall,
    SumsCall,
    Team,
    record_of,
)
from numba_lstm.kernels.codes import CUSTOM, LINEAR, SOFTMAX
from numba_lstm.kernels.compile import entry
from numba_lstm.kernels.pack import Array, address, aligned_zeros, padded
from numba_lstm.semantics.dialects import Dialect


def _ranges(rows: int, work: int, shares: Array | None = None, **slowness: int) -> list[tuple[int, int]]:
    """`policy.row_ranges` for the threads that this one may use."""
    number = threads.usable() if policy.is_for_several(work) else 1
    return policy.row_ranges(rows, work, number, shares, **slowness)


def shares_units(cell: PackedCell, batch: int, work: int) -> bool:
    """Whether two threads take half of the units each."""
    return policy.may_share_units(cell.cell.units, batch, work, spans_units(cell)) and threads.usable() > 1


def _sums_of_windows(cell: PackedCell, inputs: Array) -> Array | None:
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
    kernel = entry("sums.input_sums_of_all", cell.likes, ())

    def part(first: int, last: int) -> None:
        scratch = aligned_zeros(GROUP * 4 * padded(1, dtype), dtype)
        taken = aligned_zeros(GROUP * room_of_copies(cell, 0, shape.input_dim), dtype)
        call = SumsCall(first, last, GROUP, address(scratch), address(taken), shape, x[0], y[0])
        numbers = record_of(call, 5)
        kernel(numbers.buffer_info()[0])

    threads.run(part, _ranges(steps, 4 * shape.units * shape.input_dim * steps, written=sums.size))
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
            ranges = _ranges(batch, policy.work_of_step(cell.cell) * int(steps.sum()), steps)
        return ragged.in_order(
            sorted_rows, ranges, part, x, h, c, mask, (dropout_mask, recurrent_dropout_mask), **options
        )
    given = None if dropout_mask is not None else _sums_of_windows(cell, forwards)
    if given is not None and go_backwards:
        given = given[:, ::-1]
    outputs, order = into or (np.empty((batch, timesteps if return_sequences else 1, units), dtype), None)
    state = state_of(h, c, dtype)
    if batch:
        window, kept = window_of(inputs, dtype)
        sums, kept_sums = (None, None) if given is None else window_of(given, dtype)
        marks, kept_mask = NO_MASK if mask is None else window_of(mask, np.dtype(np.uint8))
        dropout, kept_dropout = masks_of(dropout_mask, batch, dtype)
        recurrent_dropout, kept_recurrent = masks_of(recurrent_dropout_mask, batch, dtype)
        operands = SequenceOperands(
            window,
            sums,
            marks,
            dropout,
            recurrent_dropout,
            places_in(address(state), state[0].nbytes),
            window_of(outputs, dtype)[0],
            Options(return_sequences, mask is not None, zero_output_for_mask, 0 if order is None else address(order)),
            (kept, kept_sums, kept_mask, kept_dropout, kept_recurrent, state, outputs, order),
        )
        shares = None if mask is None else np.count_nonzero(kept_mask, axis=1)
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
            record = record_of(operands.call(cell, (first, last), start, steps, scratch))
            kernel(record.buffer_info()[0])

    work = batch * row_work * timesteps
    if operands.sums is None and shares_units(cell, batch, work):
        own, helpers = operands.scratch(cell, batch), operands.scratch(cell, batch, helps=True)
        for start, steps in stretches(batch):
            _run_by_two(cell, operands, batch, (start, steps), own, helpers)
        return
    threads.run(by_one, _ranges(batch, work, shares, slowness=-(-slow_work // row_work), group=GROUP))


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
        record = record_of(operands.call(cell, (0, batch), *stretch, scratch[0], team))
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
    if len(inputs) == 1 and dropout_mask is None and recurrent_dropout_mask is None:
        return _step_of_one_row(cell, inputs, h, c)
    _, h, c = sequence(
        cell, inputs[:, np.newaxis], h, c, dropout_mask=dropout_mask, recurrent_dropout_mask=recurrent_dropout_mask
    )
    return h, c


def _step_of_one_row(cell: PackedCell, inputs: Array, h: Array, c: Array) -> tuple[Array, Array]:
    """The same for one row: what a call needs was laid out by an earlier one. Threads never share it at one time."""
    try:
        stepper = cell.steppers.pop()
    except IndexError:
        stepper = Stepper([cell], np.empty_like(inputs, cell.dtype, order="C"), np.empty(h.shape, cell.dtype), 1)
    h_now, c_now = stepper.states()
    stepper.inputs[...], h_now[...], c_now[...] = inputs, h, c
    stepper.run()
    results = stepper.outputs.copy(), c_now.copy()
    cell.steppers.append(stepper)
    return results


def dense(layer: PackedDense, inputs: Array) -> Array:
    """inputs (rows, input_dim) -> activation(inputs @ kernel + bias), (rows, units)."""
    rows, units, dtype = inputs.shape[0], layer.units, layer.dtype
    outputs = aligned_zeros(padded(rows * units, dtype), dtype)
    if rows:
        x = np.ascontiguousarray(inputs, dtype)
        kernel = _entry("dense.dense", dtype)
        lanes = padded(1, dtype)

        def part(first: int, last: int) -> None:
            group = min(GROUP, last - first)
            scratch = aligned_zeros(group * (4 * lanes + layer.bias.size), dtype)
            partial = address(scratch)
            z = partial + group * 4 * lanes * dtype.itemsize
            shape = group, layer.input_dim, units, BLOCK_LENGTH
            weights = address(layer.kernel), address(layer.bias)
            _call(kernel, DenseCall(first, last, *shape, *weights, address(x), partial, z, address(outputs)))

        threads.run(part, _ranges(rows, rows * layer.input_dim * units, written=outputs.size))
        code, function = activation_code(layer.activation, layer.dialect)
        if code != LINEAR:
            _activate(code, function, outputs, outputs, rows * units, units)
    return outputs[: rows * units].reshape(rows, units)


def activate(activation: Activation, dialect: Dialect, inputs: Array) -> Array:
    """activation(inputs), an array of the same shape and dtype; softmax and its like work over the last axis."""
    code, function = activation_code(activation, dialect)
    if not inputs.size or code == LINEAR:
        return inputs.copy()
    x = np.ascontiguousarray(inputs)
    outputs = aligned_zeros(padded(x.size, x.dtype), x.dtype)
    _activate(code, function, x, outputs, x.size, inputs.shape[-1] if inputs.ndim else 1)
    return outputs[: x.size].reshape(inputs.shape)


def _call(kernel: Callable[[int], None], call: tuple[int, ...]) -> None:
    """Call it with the record of nothing but numbers."""
    record = array("q", call)
    kernel(record.buffer_info()[0])


def _entry(kernel: str, dtype: np.dtype[Any], *variant: Any) -> Callable[[int], None]:
    """A kernel of layers without a state."""
    return entry(kernel, (dtype.type(0),) * 3, variant)


def _activate(code: int, function: Any, inputs: Array, outputs: Array, size: int, units: int) -> None:
    """outputs = activation(inputs) for ``size`` numbers, which may be the same memory; whole vectors are written.

    units: of a row, for softmax and its like.
    """
    dtype, work = inputs.dtype, size * policy.ACTIVATION_WORK
    if SOFTMAX <= code < CUSTOM:
        kernel = _entry("dense.normalize_rows", dtype, None if code == SOFTMAX else True)

        def part(first: int, last: int) -> None:
            z = aligned_zeros(padded(units, dtype), dtype)
            _call(kernel, ActivationCall(code, first, last, units, address(z), address(inputs), address(outputs)))

        ranges = _ranges(size // units, work, written=size)
    else:
        lanes = padded(1, dtype)
        kernel = _entry("dense.activate", dtype, function)

        def part(first: int, last: int) -> None:
            begin, end = first * lanes, min(last * lanes, size)
            _call(kernel, ActivationCall(code, begin, end, 0, 0, address(inputs), address(outputs)))

        slowness = policy.CUSTOM_WORK // policy.ACTIVATION_WORK if code == CUSTOM else 1
        ranges = _ranges(-(-size // lanes), work, slowness=slowness, written=size)
    threads.run(part, ranges)


def normalize_rows(inputs: Array, gamma: Array | None, beta: Array | None, epsilon: float) -> Array:
    """Each row of inputs (rows, units) with its mean and variance taken out; gamma, beta: float64 (units,) or None."""
    rows, units = inputs.shape
    x = np.ascontiguousarray(inputs)
    outputs = np.empty_like(x)
    scales = np.ones(units) if gamma is None else gamma
    shifts, exact = np.zeros(units) if beta is None else beta, np.array([epsilon], np.float64)
    kernel = _entry("dense.standardize_rows", x.dtype)

    def part(first: int, last: int) -> None:
        _call(kernel, StandardizeCall(first, last, units, *map(address, (exact, scales, shifts, x, outputs))))

    threads.run(part, _ranges(rows, 4 * x.size, slowness=policy.NORMALIZATION_SLOWNESS, written=x.size))
    return outputs
