"""Rows copied, plainly, times their dropout masks, or as a mask of timesteps demands."""

from __future__ import annotations

from typing import Any

from numba_lstm.kernels.arguments import Masks, Options
from numba_lstm.kernels.jit import inlined, inner
from numba_lstm.kernels.ops import constant
from numba_lstm.kernels.simd import lanes, load, store
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


@inner
def masked_copies(
    x: Operand, rows: int, masks: Masks, first_row: int, last_row: int, width: int, target: Any
) -> Operand:
    """The operand times its rows' dropout masks, written to target; the operand itself where there are none.

    The operand's rows are those of the batch from first_row to last_row, or timesteps of the last one.
    """
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
