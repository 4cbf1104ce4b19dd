"""What surrounds a step: rows copied, plainly, times their dropout masks, or as a mask of timesteps demands."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types
from numba.extending import overload

from numba_lstm.kernels.arguments import Cell, Masks, Options, Scratch, Window
from numba_lstm.kernels.jit import inlined, inner, larger, smaller
from numba_lstm.kernels.ops import constant
from numba_lstm.kernels.simd import broadcast, lanes, load, memory_at, store, viewed
from numba_lstm.kernels.tile import Operand


@inlined
def copy(source: Any, at: int, target: Any, to: int, width: int) -> None:
    """target[to : to + width] = source[at : at + width]"""
    n = lanes(source)
    whole = width - width % n
    for i in range(0, whole, n):
        store(target, to + i, load(source, at + i))
    for i in range(whole, width):
        target[to + i] = source[at + i]


def themselves(
    extras: Any, x: Operand, rows: int, masks: Masks, first_row: int, last_row: int, width: int, target: Any
) -> Operand:
    """operand, where nothing is to be done."""
    return x


def masked_copies(
    extras: Any, x: Operand, rows: int, masks: Masks, first_row: int, last_row: int, width: int, target: Any
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
    extras: Any, x: Operand, rows: int, masks: Masks, first_row: int, last_row: int, width: int, target: Any
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
    extras: Any, x: Operand, rows: int, masks: Masks, first_row: int, last_row: int, width: int, target: Any
) -> Operand:
    """Rows of ``width`` numbers as the inner product takes them, times their dropout masks, if need be in target.

    extras: None if there are no masks for sure. The operand's rows are those of the batch from first_row to last_row,
    or timesteps of the last one. target: memory of x's dtype; or of bf16, if the weights are words of two.
    """
    if target.dtype == np.uint16:
        return rounded_copies(extras, x, rows, masks, first_row, last_row, width, target)
    if extras is None:
        return themselves(extras, x, rows, masks, first_row, last_row, width, target)
    return masked_copies(extras, x, rows, masks, first_row, last_row, width, target)


@overload(operand, jit_options={"error_model": "numpy"})
def _choose(
    extras: Any, x: Operand, rows: int, masks: Masks, first_row: int, last_row: int, width: int, target: Any
) -> Any:
    """The same choice, made when compiling: the operands that it returns differ in type."""
    if target.dtype == types.uint16:
        return rounded_copies
    return themselves if extras == types.none else masked_copies


@inner
def masked_outputs(
    rows: int, padded: int, begin: int, end: int, skip: Any, h: Any, h_next: Any, output: Any, options: Options
) -> None:
    """After a step with a mask: what a masked row keeps, and each row's output, of the units [begin, end).

    begin and end are multiples of a vector's lanes.
    """
    n = lanes(output)
    for row in range(rows):
        at = row * padded + begin
        if not skip[row]:
            copy(h_next, at, output, at, end - begin)
        else:
            copy(h, at, h_next, at, end - begin)
            if options.zero_output_for_mask:
                for i in range(at, at + end - begin, n):
                    store(output, i, constant(load(h, i), 0.0))


@inlined
def next_operand(
    cell: Cell,
    extras: Any,
    rows: int,
    first: int,
    t: int,
    h: Any,
    mask: Window,
    masked: bool,
    recurrent_dropout: Masks,
    scratch: Scratch,
) -> Any:
    """What a step needs of the state: how many rows up to the last one that counts, and h as it is multiplied.

    With the longest rows first, padding so costs next to nothing. scratch.skip is set.
    """
    n = lanes(cell.bias)
    padded = (cell.units + n - 1) // n * n
    active, last = rows, first + rows - 1
    if extras is not None and masked:
        active = 0
        for row in range(rows):
            at = mask.start + (first + row) * mask.row_stride + t * mask.time_stride
            scratch.skip[row] = mask.memory[at] == 0
            active = active if scratch.skip[row] else row + 1
    h_rows = Operand(h, 0, padded, 0)
    return active, operand(extras, h_rows, active, recurrent_dropout, first, last, cell.units, scratch.h)


@inlined
def finish_step(
    cell: Cell,
    extras: Any,
    begin: int,
    end: int,
    rows: int,
    first: int,
    t: int,
    skip: Any,
    h: Any,
    h_next: Any,
    output: Any,
    outputs: Window,
    options: Options,
) -> None:
    """What follows the equations in a timestep, for the blocks of units [begin, end): masked rows, and the outputs."""
    n = lanes(cell.bias)
    padded = (cell.units + n - 1) // n * n
    source = h_next
    if extras is not None and options.masked:
        masked_outputs(rows, padded, begin * n, end * n, skip, h, h_next, output, options)
        source = output
    if options.return_sequences:
        for row in range(rows):
            place = first + row
            if extras is not None and options.order != 0:
                place = memory_at(options.order, np.int64(0))[place]
            to = outputs.start + place * outputs.row_stride + t * outputs.time_stride + begin * n
            copy(source, row * padded + begin * n, outputs.memory, to, smaller(end * n, cell.units) - begin * n)


@inner
def blocks_at_once(dropout: Masks, recurrent_dropout: Masks) -> int:
    """See step."""
    return 4 if dropout.number == 4 or recurrent_dropout.number == 4 else 1


@inner
def hand_over(rows: int, padded: int, begin: int, scratch: Scratch, c: Any, h_next: Any) -> None:
    """The helper of a team: what it has computed of the units from ``begin`` on becomes both threads'."""
    for row in range(rows):
        if not scratch.skip[row]:
            at = row * padded + begin
            copy(scratch.c, at, c, at, padded - begin)
            copy(scratch.h_next, at, h_next, at, padded - begin)
