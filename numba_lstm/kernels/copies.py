"""Rows copied, plainly, times their dropout masks, or as a mask of timesteps demands."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types
from numba.extending import overload

from numba_lstm.kernels.arguments import Masks, Options
from numba_lstm.kernels.jit import inlined, inner
from numba_lstm.kernels.ops import constant
from numba_lstm.kernels.simd import broadcast, lanes, load, store, viewed
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
            factors = (mask * masks.batch + min(first_row + row, last_row)) * width
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
    whole, room, copies = width - width % n, (width + 2 * n - 1) // n * n, max(masks.number, 1)
    for row in range(rows):
        at = x.start + row * x.row
        for mask in range(copies):
            factors = (mask * masks.batch + min(first_row + row, last_row)) * width
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
