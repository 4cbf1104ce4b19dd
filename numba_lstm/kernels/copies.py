"""The work around a step: rows copied, plainly, times their dropout masks, or as a mask of timesteps demands."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types
from numba.extending import overload

from numba_lstm.kernels.arguments import Call, Cell, GroupState, Masks, RowGroup
from numba_lstm.kernels.jit import NJIT_OPTIONS, larger, njit_helper, njit_inline, smaller
from numba_lstm.kernels.ops import constant
from numba_lstm.kernels.simd import broadcast, lanes, load, memory_at, store, viewed
from numba_lstm.kernels.tile import Operand


@njit_inline
def blocks_of(cell: Cell) -> int:
    """Blocks of units: whole vectors, the last one filled up."""
    n = lanes(cell.bias)
    return (cell.units + n - 1) // n  # type: ignore[no-any-return]


@njit_inline
def padded_units(cell: Cell) -> int:
    """Units in whole vectors."""
    return blocks_of(cell) * lanes(cell.bias)  # type: ignore[no-any-return]


@njit_inline
def copy(source: Any, at: int, target: Any, to: int, width: int) -> None:
    """target[to : to + width] = source[at : at + width]"""
    n = lanes(source)
    whole = width - width % n
    for i in range(0, whole, n):
        store(target, to + i, load(source, at + i))
    for i in range(whole, width):
        target[to + i] = source[at + i]


def themselves(
    has_masks: Any, x: Operand, rows: int, masks: Masks, first_row: int, last_row: int, width: int, target: Any
) -> Operand:
    """operand, where nothing is to be done."""
    return x


def masked_copies(
    has_masks: Any, x: Operand, rows: int, masks: Masks, first_row: int, last_row: int, width: int, target: Any
) -> Operand:
    """operand, times the masks if there are any."""
    if masks.number == 0:
        return x
    n = lanes(target)
    whole = width - width % n
    for row in range(rows):
        at = x.start + row * x.row
        for mask in range(masks.number):
            factors = (mask * masks.batch + smaller(first_row + row, last_row)) * width
            to = (row * masks.number + mask) * width
            for i in range(0, whole, n):
                store(target, to + i, load(x.array, at + i) * load(masks.memory, factors + i))
            for i in range(whole, width):
                target[to + i] = x.array[at + i] * masks.memory[factors + i]
    return Operand(target, 0, masks.number * width, masks.number // 4 * width)


def rounded_copies(
    has_masks: Any, x: Operand, rows: int, masks: Masks, first_row: int, last_row: int, width: int, target: Any
) -> Operand:
    """operand, times the masks if there are any, rounded to bf16; after each row there is room for zeros."""
    n = lanes(target)
    whole, room, copies = width - width % n, (width + 2 * n - 1) // n * n, larger(masks.number, 1)
    for row in range(rows):
        at = x.start + row * x.row
        for mask in range(copies):
            factors = (mask * masks.batch + smaller(first_row + row, last_row)) * width
            to = (row * copies + mask) * room
            for i in range(0, whole, n):
                numbers = load(x.array, at + i)
                store(target, to + i, numbers if masks.number == 0 else numbers * load(masks.memory, factors + i))
            # One number after the other: each vector leaves its first lane, the rest is overwritten by the next one.
            for i in range(whole, width):
                number = broadcast(x.array, at + i)
                store(target, to + i, number if masks.number == 0 else number * broadcast(masks.memory, factors + i))
            store(target, to + width, constant(load(target, to), 0.0))
    return Operand(viewed(target, np.uint32(0)), 0, copies * room // 2, copies // 4 * room // 2)


def operand(
    has_masks: Any, x: Operand, rows: int, masks: Masks, first_row: int, last_row: int, width: int, target: Any
) -> Operand:
    """Rows of ``width`` numbers as the inner product takes them, times their dropout masks, if need be in target.

    has_masks: None if there are no masks for sure. The operand's rows are those of the batch from first_row to
    last_row, or timesteps of the last one. target: memory of x's dtype; or of bf16, if the weights are words of two.
    """
    if target.dtype == np.uint16:
        return rounded_copies(has_masks, x, rows, masks, first_row, last_row, width, target)
    if has_masks is None:
        return themselves(has_masks, x, rows, masks, first_row, last_row, width, target)
    return masked_copies(has_masks, x, rows, masks, first_row, last_row, width, target)


@overload(operand, jit_options=NJIT_OPTIONS)
def _choose(
    has_masks: Any, x: Operand, rows: int, masks: Masks, first_row: int, last_row: int, width: int, target: Any
) -> Any:
    """The same choice, made when compiling: the operands that it returns differ in type."""
    if target.dtype == types.uint16:
        return rounded_copies
    return themselves if has_masks == types.none else masked_copies


@njit_helper
def masked_outputs(call: Call, group: RowGroup, state: GroupState) -> None:
    """After a step with a mask: what a masked row keeps, and each row's output, of the group's blocks."""
    n = lanes(state.output)
    padded, width = padded_units(call.cell), (group.end - group.begin) * n
    for row in range(group.rows):
        at = row * padded + group.begin * n
        if not call.scratch.skip[row]:
            copy(state.h_next, at, state.output, at, width)
        else:
            copy(state.h, at, state.h_next, at, width)
            if call.options.zero_output_for_mask:
                for i in range(at, at + width, n):
                    store(state.output, i, constant(load(state.h, i), 0.0))


@njit_inline
def next_operand(call: Call, has_masks: Any, group: RowGroup, h: Any) -> Any:
    """The state as a step needs it: how many rows up to the last one that counts, and h as it is multiplied.

    With the longest rows first, padding so costs next to nothing. scratch.skip is set.
    """
    mask, scratch = call.mask, call.scratch
    active, last = group.rows, group.first + group.rows - 1
    if has_masks is not None and call.options.masked:
        active = 0
        for row in range(group.rows):
            at = mask.start + (group.first + row) * mask.row_stride + group.t * mask.time_stride
            scratch.skip[row] = mask.memory[at] == 0
            active = active if scratch.skip[row] else row + 1
    rows = Operand(h, 0, padded_units(call.cell), 0)
    masks = call.recurrent_dropout
    return active, operand(has_masks, rows, active, masks, group.first, last, call.cell.units, scratch.h)


@njit_inline
def input_operand(call: Call, has_masks: Any, group: RowGroup, rows: int) -> Operand:
    """The first ``rows`` rows of a timestep's inputs, as they are multiplied."""
    inputs = call.inputs
    start = inputs.start + group.first * inputs.row_stride + group.t * inputs.time_stride
    x, last = Operand(inputs.memory, start, inputs.row_stride, 0), group.first + group.rows - 1
    return operand(has_masks, x, rows, call.dropout, group.first, last, call.cell.input_dim, call.scratch.x)


@njit_inline
def finish_step(call: Call, has_masks: Any, group: RowGroup, state: GroupState) -> None:
    """The end of a timestep after the equations, for the group's blocks of units: masked rows, and the outputs."""
    n = lanes(call.cell.bias)
    options, outputs, padded = call.options, call.outputs, padded_units(call.cell)
    begin = group.begin * n
    source = state.h_next
    if has_masks is not None and options.masked:
        masked_outputs(call, group, state)
        source = state.output
    if options.return_sequences:
        for row in range(group.rows):
            place = group.first + row
            if has_masks is not None and options.order != 0:
                place = memory_at(options.order, np.int64(0))[place]
            to = outputs.start + place * outputs.row_stride + group.t * outputs.time_stride + begin
            copy(source, row * padded + begin, outputs.memory, to, smaller(group.end * n, call.cell.units) - begin)


@njit_helper
def hand_over(call: Call, group: RowGroup, state: GroupState) -> None:
    """The helper of a pair: what it has computed in its scratch memory becomes both threads'."""
    scratch, padded = call.scratch, padded_units(call.cell)
    begin = group.begin * lanes(scratch.c)
    for row in range(group.rows):
        if not scratch.skip[row]:
            at = row * padded + begin
            copy(scratch.c, at, state.c, at, padded - begin)
            copy(scratch.h_next, at, state.h_next, at, padded - begin)
