"""The inner product of a CUDA thread: a few rows times the four columns of weights of a unit.

Every sum runs over k as on the CPU (tile.py): in blocks of ``block_length`` neighbouring k, ascending and started from
zero within a block, the blocks added in order. Sums are arrays [row][gate] of the thread; their loops have fixed
lengths, so that the compiler keeps them in registers, which the tests check.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba_lstm.kernels.arguments import Masks
from numba_lstm.kernels.jit import njit_inline
from numba_lstm.kernels.ops import fma


class Rows(NamedTuple):
    """Rows of numbers to be multiplied with weights; read only."""

    array: Any
    start: int  # row r starts at start + r * stride
    stride: int
    number: int  # at least 1; the last row is repeated where a thread has more rows than there are


class UnitWeights(NamedTuple):
    """The four columns of a unit, in Keras's own layout: row k at start + k * stride, its gates ``units`` apart."""

    array: Any
    start: int
    stride: int
    units: int
    depth: int
    block_length: int


@njit_inline
def add_products(sums: Any, x: Rows, weights: UnitWeights, first: int, last: int) -> None:
    """sums[row, gate] += x[row, k] * weights[k, gate] for k in [first, last)."""
    for k in range(first, last):
        at = weights.start + k * weights.stride
        i, f = weights.array[at], weights.array[at + weights.units]
        c, o = weights.array[at + 2 * weights.units], weights.array[at + 3 * weights.units]
        for row in range(len(sums) // 4):
            x_k = x.array[x.start + min(row, x.number - 1) * x.stride + k]
            sums[4 * row] = fma(x_k, i, sums[4 * row])
            sums[4 * row + 1] = fma(x_k, f, sums[4 * row + 1])
            sums[4 * row + 2] = fma(x_k, c, sums[4 * row + 2])
            sums[4 * row + 3] = fma(x_k, o, sums[4 * row + 3])


@njit_inline
def add_dropped_products(
    sums: Any, x: Rows, masks: Masks, first_row: int, weights: UnitWeights, first: int, last: int
) -> None:
    """The same for x times its dropout masks; first_row: the number in the batch of the first of the rows.

    As on the CPU, x times the mask is rounded before it enters the sum.
    """
    width, gate_stride = weights.depth, masks.batch * weights.depth
    for k in range(first, last):
        for row in range(len(sums) // 4):
            existing = min(row, x.number - 1)
            x_k = x.array[x.start + existing * x.stride + k]
            for gate in range(4):
                factor = masks.memory[gate * (masks.number // 4) * gate_stride + (first_row + existing) * width + k]
                weight = weights.array[weights.start + k * weights.stride + gate * weights.units]
                sums[4 * row + gate] = fma(x_k * factor, weight, sums[4 * row + gate])


@njit_inline
def multiply(
    total: Any, block: Any, zero: Any, has_dropout: Any, x: Rows, masks: Masks, first_row: int, weights: UnitWeights
) -> None:
    """total[row, gate] = sum over k of x[row, k] * weights[k, gate]; block: scratch of the same size.

    has_dropout: None if there are no dropout masks of either kind; then they are not compiled in.
    """
    for first in range(0, weights.depth, weights.block_length):
        last = min(first + weights.block_length, weights.depth)
        for n in range(len(total)):
            block[n] = zero
        if has_dropout is None or masks.number == 0:
            add_products(block, x, weights, first, last)
        else:
            add_dropped_products(block, x, masks, first_row, weights, first, last)
        for n in range(len(total)):
            total[n] = block[n] if first == 0 else total[n] + block[n]
