"""The inner product of a few rows with four neighbouring vectors of packed weights: where the time goes.

Every sum runs over k in one order that depends on the cell's shape alone: blocks of ``block_length`` neighbouring k,
ascending and started from zero within a block, the blocks added in order. So a row's bits do not depend on which
tile it was in, and the rounding error grows with the block's length instead of the row's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba_lstm.kernels.jit import inner
from numba_lstm.kernels.ops import constant, fma
from numba_lstm.kernels.simd import broadcast, lanes, load, store


class Operand(NamedTuple):
    """Rows of numbers to be multiplied with weights, in a flat array; read only."""

    array: Any
    start: int  # row r starts at start + r * row
    row: int
    gate: int  # distance between the copies of a row that the four gates multiply; 0 where they share one


@inner
def load4(array: Any, offset: int) -> Any:
    """Four neighbouring vectors."""
    n = lanes(array)
    return load(array, offset), load(array, offset + n), load(array, offset + 2 * n), load(array, offset + 3 * n)


@inner
def store4(array: Any, offset: int, four: Any) -> None:
    """Four neighbouring vectors back."""
    n = lanes(array)
    store(array, offset, four[0])
    store(array, offset + n, four[1])
    store(array, offset + 2 * n, four[2])
    store(array, offset + 3 * n, four[3])


@inner
def zero4(array: Any, offset: int) -> Any:
    """Four vectors of zeros of the array's dtype."""
    zero = constant(load(array, offset), 0.0)
    return zero, zero, zero, zero


@inner
def add4(sums: Any, x: Any, weights: Any) -> Any:
    """sums + x * weights, for four vectors of weights and one x that they share."""
    i, f, c, o = weights
    return fma(x, i, sums[0]), fma(x, f, sums[1]), fma(x, c, sums[2]), fma(x, o, sums[3])


@inner
def accumulate(z: Any, offset: int, sums: Any, first: int) -> None:
    """z = sums for the first block of k, z += sums for the others."""
    if first > 0:
        z0, z1, z2, z3 = load4(z, offset)
        sums = z0 + sums[0], z1 + sums[1], z2 + sums[2], z3 + sums[3]
    store4(z, offset, sums)


@inner
def rows1(x: Operand, row: int, panel: Any, start: int, first: int, last: int) -> Any:
    """One row over k in [first, last)."""
    n, x0 = lanes(panel), x.start + row * x.row
    sums = zero4(panel, start)
    for k in range(first, last):
        sums = add4(sums, broadcast(x.array, x0 + k), load4(panel, start + k * 4 * n))
    return sums


@inner
def rows3(x: Operand, row: int, panel: Any, start: int, first: int, last: int) -> Any:
    """Three neighbouring rows over k in [first, last); the weights are read once for the three."""
    n, x0 = lanes(panel), x.start + row * x.row
    a = b = c = zero4(panel, start)
    for k in range(first, last):
        weights = load4(panel, start + k * 4 * n)
        a = add4(a, broadcast(x.array, x0 + k), weights)
        b = add4(b, broadcast(x.array, x0 + x.row + k), weights)
        c = add4(c, broadcast(x.array, x0 + 2 * x.row + k), weights)
    return a, b, c


@inner
def gates1(x: Operand, row: int, panel: Any, start: int, first: int, last: int) -> Any:
    """One row over k in [first, last), each gate with its own copy of the row."""
    n, x0 = lanes(panel), x.start + row * x.row
    sums = zero4(panel, start)
    for k in range(first, last):
        i, f, c, o = load4(panel, start + k * 4 * n)
        sums = (
            fma(broadcast(x.array, x0 + k), i, sums[0]),
            fma(broadcast(x.array, x0 + x.gate + k), f, sums[1]),
            fma(broadcast(x.array, x0 + 2 * x.gate + k), c, sums[2]),
            fma(broadcast(x.array, x0 + 3 * x.gate + k), o, sums[3]),
        )
    return sums


@inner
def project(
    x: Operand, rows: int, panel: Any, start: int, depth: int, block_length: int, z: Any, z_start: int, z_row: int
) -> None:
    """z[row] = sum over k < depth of x[row, k] * panel[k], four vectors a row.

    panel: packed weights, these four vectors' from ``start``; read only. z: flat, row r's sums at
    z_start + r * z_row; overwritten; must not overlap x.
    """
    for first in range(0, depth, block_length):
        last = min(first + block_length, depth)
        row = 0
        if x.gate == 0:
            while row + 3 <= rows:
                a, b, c = rows3(x, row, panel, start, first, last)
                accumulate(z, z_start + row * z_row, a, first)
                accumulate(z, z_start + (row + 1) * z_row, b, first)
                accumulate(z, z_start + (row + 2) * z_row, c, first)
                row += 3
            while row < rows:
                accumulate(z, z_start + row * z_row, rows1(x, row, panel, start, first, last), first)
                row += 1
        else:
            for row in range(rows):
                accumulate(z, z_start + row * z_row, gates1(x, row, panel, start, first, last), first)
