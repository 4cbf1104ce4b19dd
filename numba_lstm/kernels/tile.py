"""The inner product of a few rows with four neighbouring vectors of packed weights: where the time goes.

Every sum runs over k in one order that depends on the cell's shape alone: blocks of ``block_length`` neighbouring k,
ascending and started from zero within a block, the blocks added in order. So a row's bits do not depend on which
tile it was in, and the rounding error grows with the block's length instead of the row's.
"""

from __future__ import annotations

from typing import Any

from numba_lstm.kernels.jit import inner
from numba_lstm.kernels.ops import constant, fma
from numba_lstm.kernels.simd import broadcast, lanes, load, store


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
    return fma(x, weights[0], sums[0]), fma(x, weights[1], sums[1]), fma(x, weights[2], sums[2]), fma(x, weights[3], sums[3])


@inner
def accumulate(z: Any, offset: int, sums: Any, first: int) -> None:
    """z = sums for the first block of k, z += sums for the others."""
    if first > 0:
        z0, z1, z2, z3 = load4(z, offset)
        sums = z0 + sums[0], z1 + sums[1], z2 + sums[2], z3 + sums[3]
    store4(z, offset, sums)


@inner
def rows1(x: Any, x0: int, gate: int, panel: Any, start: int, first: int, last: int) -> Any:
    """One row over k in [first, last): x[x0 + k + g * gate] * panel[k][g] for the gates g."""
    n = lanes(panel)
    sums = zero4(panel, start)
    if gate == 0:
        for k in range(first, last):
            sums = add4(sums, broadcast(x, x0 + k), load4(panel, start + k * 4 * n))
    else:
        for k in range(first, last):
            i, f, c, o = load4(panel, start + k * 4 * n)
            sums = (
                fma(broadcast(x, x0 + k), i, sums[0]),
                fma(broadcast(x, x0 + k + gate), f, sums[1]),
                fma(broadcast(x, x0 + k + 2 * gate), c, sums[2]),
                fma(broadcast(x, x0 + k + 3 * gate), o, sums[3]),
            )
    return sums


@inner
def rows3(x: Any, x0: int, row: int, panel: Any, start: int, first: int, last: int) -> Any:
    """Three rows, ``row`` elements apart, over k in [first, last); the weights are read once for the three."""
    n = lanes(panel)
    a = b = c = zero4(panel, start)
    for k in range(first, last):
        weights = load4(panel, start + k * 4 * n)
        a = add4(a, broadcast(x, x0 + k), weights)
        b = add4(b, broadcast(x, x0 + k + row), weights)
        c = add4(c, broadcast(x, x0 + k + 2 * row), weights)
    return a, b, c


@inner
def project(
    x: Any, x_start: int, x_row: int, gate: int, rows: int, panel: Any, start: int, depth: int, block_length: int, z: Any, z_start: int, z_row: int
) -> None:
    """z[row] = sum over k < depth of x[row, k] * panel[k], four vectors a row.

    x: flat, row r at x_start + r * x_row; ``gate`` is the distance between the copies of a row that the four gates
    multiply (under dropout with implementation 1), 0 where they share one. panel: packed weights, this block's from
    ``start``. z: flat, row r's four vectors at z_start + r * z_row; overwritten; must not overlap x.
    """
    for first in range(0, depth, block_length):
        last = min(first + block_length, depth)
        row = 0
        if gate == 0:
            while row + 3 <= rows:
                a, b, c = rows3(x, x_start + row * x_row, x_row, panel, start, first, last)
                accumulate(z, z_start + row * z_row, a, first)
                accumulate(z, z_start + (row + 1) * z_row, b, first)
                accumulate(z, z_start + (row + 2) * z_row, c, first)
                row += 3
        while row < rows:
            sums = rows1(x, x_start + row * x_row, gate, panel, start, first, last)
            accumulate(z, z_start + row * z_row, sums, first)
            row += 1
