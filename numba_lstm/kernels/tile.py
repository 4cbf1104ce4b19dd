"""The inner product of a few rows with four neighbouring vectors of packed weights: where the time goes.

Every sum runs over k in one order that depends on the cell's shape alone: blocks of ``block_length`` neighbouring k,
ascending and started from zero within a block, the blocks added in order. So a row's bits do not depend on which
tile it was in, and the rounding error grows with the block's length instead of the row's.

A tile keeps its sums in registers: 6 or 4 rows x 4 vectors of the 32 that AVX-512 has, 3 x 4 of 16 elsewhere. One row
takes 4 vectors of two blocks at once, because a CPU overlaps eight sums or so.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.core import types
from numba.extending import overload

from numba_lstm.kernels.jit import NJIT_OPTIONS, njit_helper, njit_inline, smaller
from numba_lstm.kernels.ops import constant, fma
from numba_lstm.kernels.simd import broadcast, lanes, load, prefetch, store, viewed
from numba_lstm.kernels.target import VECTOR_BITS

# 1 or 0: rows are counted with it, so that numba sees one type of integer throughout.
SIX_ROWS_FIT = 1 if VECTOR_BITS == 512 else 0


class Operand(NamedTuple):
    """Rows of numbers to be multiplied with weights, in a flat array; read only."""

    array: Any
    start: int  # row r starts at start + r * row
    row: int
    gate: int  # distance between the copies of a row that the four gates multiply; 0 where they share one


class Panel(NamedTuple):
    """Packed weights of four vectors, [k < depth][4][lane] from ``start``; read only."""

    array: Any
    start: int
    depth: int
    block_length: int
    gate_stride: Any  # as of Sums


class Sums(NamedTuple):
    """Where sums go: row r's four vectors at start + r * row of a flat array."""

    array: Any
    start: int
    row: int
    gate_stride: Any  # from one vector to the next; None where they are neighbours


class Destination(NamedTuple):
    """Where the sums of a few rows go: z = base + sums."""

    partial: Sums  # scratch for the sums between blocks of k
    base: Sums  # read only
    z: Sums  # overwritten; may be base, must not overlap what is multiplied or partial


@njit_inline
def apart(array: Any, gate_stride: Any) -> int:
    """From one vector to the next."""
    if gate_stride is None:
        return lanes(array)  # type: ignore[no-any-return]
    else:
        return gate_stride  # type: ignore[no-any-return]


@njit_helper
def load4(array: Any, offset: int, gate_stride: Any) -> Any:
    """Four vectors, so far apart; None: neighbours."""
    n = apart(array, gate_stride)
    return load(array, offset), load(array, offset + n), load(array, offset + 2 * n), load(array, offset + 3 * n)


@njit_helper
def store4(array: Any, offset: int, four: Any, gate_stride: Any) -> None:
    """Four vectors back."""
    n = apart(array, gate_stride)
    store(array, offset, four[0])
    store(array, offset + n, four[1])
    store(array, offset + 2 * n, four[2])
    store(array, offset + 3 * n, four[3])


def _of_numbers(weights: Any, width: int) -> tuple[Any, int]:
    return weights, width


def _of_words(weights: Any, width: int) -> tuple[Any, int]:
    return viewed(weights, np.float32(0)), (width + 1) // 2


def _sums_and_depth(weights: Any, width: int) -> tuple[Any, int]:
    """Memory of the dtype that sums over these weights have, and how many k there are for rows of this width.

    A k is a number, or a word of two.
    """
    return _of_words(weights, width) if weights.dtype == np.uint32 else _of_numbers(weights, width)


@overload(_sums_and_depth, jit_options=NJIT_OPTIONS)
def _choose(weights: Any, width: int) -> Any:
    return _of_words if weights.dtype == types.uint32 else _of_numbers


@njit_helper
def depth_of(weights: Any, width: int) -> int:
    """How many k a panel of these weights has for rows of this width."""
    depth: int = _sums_and_depth(weights, width)[1]
    return depth


@njit_helper
def zero4(weights: Any) -> Any:
    """Four vectors of zeros, for sums of products with these weights."""
    zero = constant(load(_sums_and_depth(weights, 0)[0], 0), 0.0)
    return zero, zero, zero, zero


@njit_helper
def sum4(a: Any, b: Any) -> Any:
    """a + b, vector by vector."""
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]


@njit_helper
def add4(sums: Any, x: Any, weights: Any) -> Any:
    """sums + x * weights, for four vectors of weights and one x that they share."""
    i, f, c, o = weights
    return fma(x, i, sums[0]), fma(x, f, sums[1]), fma(x, c, sums[2]), fma(x, o, sums[3])


@njit_helper
def add3(sums: Any, x: Any, weights: Any) -> Any:
    """sums + x * weights, for one vector of weights that three x share."""
    a, b, c = x
    return fma(a, weights, sums[0]), fma(b, weights, sums[1]), fma(c, weights, sums[2])


@njit_inline
def rows1(x: Operand, x0: int, panel: Panel, first: int, last: int) -> Any:
    """One row, which starts at x0, over k in [first, last)."""
    n = lanes(panel.array)
    a = zero4(panel.array)
    for k in range(first, last):
        a = add4(a, broadcast(x.array, x0 + k), load4(panel.array, panel.start + k * 4 * n, panel.gate_stride))
    return a


@njit_inline
def rows2(x: Operand, row: int, panel: Panel, first: int, last: int) -> Any:
    """Two neighbouring rows; the weights are read once for both."""
    n, x0 = lanes(panel.array), x.start + row * x.row
    a = b = zero4(panel.array)
    for k in range(first, last):
        weights = load4(panel.array, panel.start + k * 4 * n, panel.gate_stride)
        a = add4(a, broadcast(x.array, x0 + k), weights)
        b = add4(b, broadcast(x.array, x0 + x.row + k), weights)
    return a, b


@njit_inline
def rows3(x: Operand, row: int, panel: Panel, first: int, last: int) -> Any:
    """Three neighbouring rows, gate by gate: twelve sums, three x and one vector of weights fill 16 registers."""
    n, x0 = lanes(panel.array), x.start + row * x.row
    gate_stride = apart(panel.array, panel.gate_stride)
    i = f = c = o = zero4(panel.array)[:3]
    for k in range(first, last):
        at = panel.start + k * 4 * n
        x_k = broadcast(x.array, x0 + k), broadcast(x.array, x0 + x.row + k), broadcast(x.array, x0 + 2 * x.row + k)
        i = add3(i, x_k, load(panel.array, at))
        f = add3(f, x_k, load(panel.array, at + gate_stride))
        c = add3(c, x_k, load(panel.array, at + 2 * gate_stride))
        o = add3(o, x_k, load(panel.array, at + 3 * gate_stride))
    return (i[0], f[0], c[0], o[0]), (i[1], f[1], c[1], o[1]), (i[2], f[2], c[2], o[2])


@njit_inline
def rows4(x: Operand, row: int, panel: Panel, first: int, last: int) -> Any:
    """Four neighbouring rows."""
    n, x0 = lanes(panel.array), x.start + row * x.row
    x1, x2, x3 = x0 + x.row, x0 + 2 * x.row, x0 + 3 * x.row
    a = b = c = d = zero4(panel.array)
    for k in range(first, last):
        weights = load4(panel.array, panel.start + k * 4 * n, panel.gate_stride)
        a = add4(a, broadcast(x.array, x0 + k), weights)
        b = add4(b, broadcast(x.array, x1 + k), weights)
        c = add4(c, broadcast(x.array, x2 + k), weights)
        d = add4(d, broadcast(x.array, x3 + k), weights)
    return a, b, c, d


@njit_inline
def rows6(x: Operand, row: int, panel: Panel, first: int, last: int, soon: int) -> Any:
    """Six neighbouring rows. soon: from the weights of a k to a vector of those that are read next, see project."""
    n, x0 = lanes(panel.array), x.start + row * x.row
    x1, x2, x3, x4, x5 = x0 + x.row, x0 + 2 * x.row, x0 + 3 * x.row, x0 + 4 * x.row, x0 + 5 * x.row
    a = b = c = d = e = f = zero4(panel.array)
    for k in range(first, last):
        weights = load4(panel.array, panel.start + k * 4 * n, panel.gate_stride)
        prefetch(panel.array, panel.start + k * 4 * n + soon)
        a = add4(a, broadcast(x.array, x0 + k), weights)
        b = add4(b, broadcast(x.array, x1 + k), weights)
        c = add4(c, broadcast(x.array, x2 + k), weights)
        d = add4(d, broadcast(x.array, x3 + k), weights)
        e = add4(e, broadcast(x.array, x4 + k), weights)
        f = add4(f, broadcast(x.array, x5 + k), weights)
    return a, b, c, d, e, f


@njit_helper
def add4_gates(sums: Any, x: Operand, at: int, weights: Any) -> Any:
    """sums + x * weights, each gate with its own copy of x."""
    f, c = broadcast(x.array, at + x.gate), broadcast(x.array, at + 2 * x.gate)
    return (
        fma(broadcast(x.array, at), weights[0], sums[0]),
        fma(f, weights[1], sums[1]),
        fma(c, weights[2], sums[2]),
        fma(broadcast(x.array, at + 3 * x.gate), weights[3], sums[3]),
    )


@njit_helper
def gates1(x: Operand, row: int, panel: Panel, first: int, last: int) -> Any:
    """One row, each gate with its own copy of it."""
    n, x0 = lanes(panel.array), x.start + row * x.row
    a = zero4(panel.array)
    for k in range(first, last):
        a = add4_gates(a, x, x0 + k, load4(panel.array, panel.start + k * 4 * n, None))
    return a


@njit_inline
def add_rows(sums: Any, x: Operand, at: int, weights: Any) -> Any:
    """sums + x * weights, for one vector of weights and three neighbouring rows."""
    b, c = broadcast(x.array, at + x.row), broadcast(x.array, at + 2 * x.row)
    return fma(broadcast(x.array, at), weights, sums[0]), fma(b, weights, sums[1]), fma(c, weights, sums[2])


@njit_inline
def gates3(x: Operand, row: int, panel: Panel, first: int, last: int) -> Any:
    """Three neighbouring rows, each gate with its own copies of them."""
    n, x0 = lanes(panel.array), x.start + row * x.row
    x1, x2, x3 = x0 + x.gate, x0 + 2 * x.gate, x0 + 3 * x.gate
    i = f = c = o = zero4(panel.array)[:3]
    for k in range(first, last):
        at = panel.start + k * 4 * n
        i = add_rows(i, x, x0 + k, load(panel.array, at))
        f = add_rows(f, x, x1 + k, load(panel.array, at + n))
        c = add_rows(c, x, x2 + k, load(panel.array, at + 2 * n))
        o = add_rows(o, x, x3 + k, load(panel.array, at + 3 * n))
    return (i[0], f[0], c[0], o[0]), (i[1], f[1], c[1], o[1]), (i[2], f[2], c[2], o[2])


@njit_inline
def gates6(x: Operand, row: int, panel: Panel, first: int, last: int) -> Any:
    """Six neighbouring rows, each gate with its own copies of them."""
    n, x0 = lanes(panel.array), x.start + row * x.row
    x1, x2, x3, next_three = x0 + x.gate, x0 + 2 * x.gate, x0 + 3 * x.gate, 3 * x.row
    i = f = c = o = zero4(panel.array)[:3]
    i2 = f2 = c2 = o2 = zero4(panel.array)[:3]
    for k in range(first, last):
        at = panel.start + k * 4 * n
        weights = load(panel.array, at)
        i, i2 = add_rows(i, x, x0 + k, weights), add_rows(i2, x, x0 + next_three + k, weights)
        weights = load(panel.array, at + n)
        f, f2 = add_rows(f, x, x1 + k, weights), add_rows(f2, x, x1 + next_three + k, weights)
        weights = load(panel.array, at + 2 * n)
        c, c2 = add_rows(c, x, x2 + k, weights), add_rows(c2, x, x2 + next_three + k, weights)
        weights = load(panel.array, at + 3 * n)
        o, o2 = add_rows(o, x, x3 + k, weights), add_rows(o2, x, x3 + next_three + k, weights)
    return (
        (i[0], f[0], c[0], o[0]),
        (i[1], f[1], c[1], o[1]),
        (i[2], f[2], c[2], o[2]),
        (i2[0], f2[0], c2[0], o2[0]),
        (i2[1], f2[1], c2[1], o2[1]),
        (i2[2], f2[2], c2[2], o2[2]),
    )


@njit_inline
def put(sums: Any, row: int, first: int, final: bool, to: Destination) -> None:
    """A block's sums of one row: added to those of the blocks before, and with the last one z = base + all."""
    partial, base, z = to
    if first > 0:
        sums = sum4(load4(partial.array, partial.start + row * partial.row, None), sums)
    if final:
        sums = sum4(load4(base.array, base.start + row * base.row, base.gate_stride), sums)
        store4(z.array, z.start + row * z.row, sums, z.gate_stride)
    else:
        store4(partial.array, partial.start + row * partial.row, sums, None)


@njit_helper
def project(mask_per_gate: Any, x: Operand, rows: int, panel: Panel, to: Destination) -> None:
    """to.z[row] = to.base[row] + sum over k of x[row, k] * panel[k].

    mask_per_gate: None if x.gate is 0, and then the other case is not compiled in.
    """
    for first in range(0, panel.depth, panel.block_length):
        last = smaller(first + panel.block_length, panel.depth)
        final = last == panel.depth
        if mask_per_gate is not None and x.gate != 0:
            sixes = rows // 6 * SIX_ROWS_FIT
            for turn in range(sixes):
                row = 6 * turn
                a, b, c, d, e, f = gates6(x, row, panel, first, last)
                put(a, row, first, final, to)
                put(b, row + 1, first, final, to)
                put(c, row + 2, first, final, to)
                put(d, row + 3, first, final, to)
                put(e, row + 4, first, final, to)
                put(f, row + 5, first, final, to)
            for turn in range(2 * sixes, rows // 3):
                row = 3 * turn
                a, b, c = gates3(x, row, panel, first, last)
                put(a, row, first, final, to)
                put(b, row + 1, first, final, to)
                put(c, row + 2, first, final, to)
            for row in range(rows // 3 * 3, rows):
                put(gates1(x, row, panel, first, last), row, first, final, to)
            continue
        sixes = rows // 6 * SIX_ROWS_FIT
        # Twice four rather than six and two: the eight sums of two rows wait for each other.
        sixes -= 1 if sixes > 0 and rows % 6 in (1, 2, 5) else 0
        for turn in range(sixes):
            row = 6 * turn
            # A vector of each k of the next block of k with each tile: memory has time until then.
            soon = ((last - first) * 4 + turn % 4) * lanes(panel.array)
            a, b, c, d, e, f = rows6(x, row, panel, first, last, soon)
            put(a, row, first, final, to)
            put(b, row + 1, first, final, to)
            put(c, row + 2, first, final, to)
            put(d, row + 3, first, final, to)
            put(e, row + 4, first, final, to)
            put(f, row + 5, first, final, to)
        row = 6 * sixes
        while SIX_ROWS_FIT == 1 and rows - row in (4, 7, 8, 11):
            a, b, c, d = rows4(x, row, panel, first, last)
            put(a, row, first, final, to)
            put(b, row + 1, first, final, to)
            put(c, row + 2, first, final, to)
            put(d, row + 3, first, final, to)
            row += 4
        while row + 3 <= rows and row + 4 != rows:
            a, b, c = rows3(x, row, panel, first, last)
            put(a, row, first, final, to)
            put(b, row + 1, first, final, to)
            put(c, row + 2, first, final, to)
            row += 3
        while row + 2 <= rows:
            a, b = rows2(x, row, panel, first, last)
            put(a, row, first, final, to)
            put(b, row + 1, first, final, to)
            row += 2
        if row < rows:
            put(rows1(x, x.start + row * x.row, panel, first, last), row, first, final, to)


@njit_inline
def row_sums(mask_per_gate: Any, x: Operand, panel: Panel) -> Any:
    """One row's sums over all k, in registers throughout. mask_per_gate: None if x.gate is 0."""
    total = zero4(panel.array)
    for first in range(0, panel.depth, panel.block_length):
        last = smaller(first + panel.block_length, panel.depth)
        a = rows1(x, x.start, panel, first, last) if mask_per_gate is None else gates1(x, 0, panel, first, last)
        total = sum4(total, a) if first > 0 else a
    return total


@njit_inline
def row_sums_of_two(mask_per_gate: Any, x: Operand, panel: Panel, second: int) -> Any:
    """The same for the panel and the one that starts at ``second``."""
    n = lanes(panel.array)
    total_a = total_b = zero4(panel.array)
    for first in range(0, panel.depth, panel.block_length):
        a = b = zero4(panel.array)
        for k in range(first, smaller(first + panel.block_length, panel.depth)):
            weights_a, weights_b = (
                load4(panel.array, panel.start + k * 4 * n, None),
                load4(panel.array, second + k * 4 * n, None),
            )
            if mask_per_gate is None:
                x_k = broadcast(x.array, x.start + k)
                a, b = add4(a, x_k, weights_a), add4(b, x_k, weights_b)
            else:
                a, b = add4_gates(a, x, x.start + k, weights_a), add4_gates(b, x, x.start + k, weights_b)
        total_a = sum4(total_a, a) if first > 0 else a
        total_b = sum4(total_b, b) if first > 0 else b
    return total_a, total_b
