"""The equations applied to sums in memory: one block of units, or all units, of one row."""

from __future__ import annotations

from typing import Any

from numba_lstm.kernels import equations
from numba_lstm.kernels.activations import hard_sigmoid, sigmoid, tanh
from numba_lstm.kernels.apply import CUSTOM, HARD_SIGMOID, SIGMOID, TANH, apply
from numba_lstm.kernels.arguments import Cell
from numba_lstm.kernels.jit import inlined, inner
from numba_lstm.kernels.normalizations import SOFTMAX
from numba_lstm.kernels.simd import lanes, load, store
from numba_lstm.kernels.tile import Sums, load4, store4, sum4


@inner
def spans_units(cell: Cell) -> bool:
    """True if an activation needs all units of a row at once."""
    return SOFTMAX <= cell.activation < CUSTOM or SOFTMAX <= cell.recurrent_activation < CUSTOM


@inlined
def carry_fused(recurrent_activation: int, z: Any, c: Any) -> Any:
    """The new c and the output gate of one vector of units with tanh and (hard_)sigmoid, all in registers."""
    z_i, z_f, z_c, z_o = z
    if recurrent_activation == SIGMOID:
        i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o)
    else:
        i, f, o = hard_sigmoid(z_i), hard_sigmoid(z_f), hard_sigmoid(z_o)
    return equations.carry(i, f, tanh(z_c), c), o


@inner
def update(
    cell: Cell,
    activation: Any,
    recurrent_activation: Any,
    units: int,
    z: Any,
    z_at: int,
    z_stride: int,
    c: Any,
    h: Any,
    at: int,
    stride: int,
    skip: Any,
) -> None:
    """The equations for ``units`` units, in vectors of one row's neighbouring blocks or of several rows' one block.

    z: pre-activations [gate][lane] from z_at on, z_stride from vector to vector; overwritten. c, h: from ``at`` on,
    ``stride`` from vector to vector; c is updated, h written, but not of rows for which skip, from the first one on, is
    set.
    """
    n = lanes(z)
    gate, vectors = cell.recurrent_activation, (units + n - 1) // n
    # Vectors a whole row apart are of as many rows.
    skip_stride = 1 if stride == (cell.units + n - 1) // n * n else 0
    apply(gate, recurrent_activation, z, z_at, z_stride, units)
    apply(gate, recurrent_activation, z, z_at + n, z_stride, units)
    apply(cell.activation, activation, z, z_at + 2 * n, z_stride, units)
    apply(gate, recurrent_activation, z, z_at + 3 * n, z_stride, units)
    for vector in range(vectors):
        gates, unit = z_at + vector * z_stride, at + vector * stride
        i, f, candidate = load(z, gates), load(z, gates + n), load(z, gates + 2 * n)
        carry = equations.carry(i, f, candidate, load(c, unit))
        store(z, gates + 2 * n, carry)
        if not skip[vector * skip_stride]:
            store(c, unit, carry)
    apply(cell.activation, activation, z, z_at + 2 * n, z_stride, units)
    for vector in range(vectors):
        if not skip[vector * skip_stride]:
            gates = z_at + vector * z_stride
            store(h, at + vector * stride, equations.output(load(z, gates + 3 * n), load(z, gates + 2 * n)))


@inner
def fuses(cell: Cell) -> bool:
    """True if the activations are those that carry_fused has."""
    return cell.activation == TANH and cell.recurrent_activation in (SIGMOID, HARD_SIGMOID)


@inner
def update_rows(
    cell: Cell, activation: Any, recurrent_activation: Any, block: int, rows: int, z: Sums, skip: Any, c: Any, h: Any
) -> None:
    """The equations of one block of units for all rows that are not skipped."""
    n = lanes(c)
    padded = (cell.units + n - 1) // n * n
    gate = cell.recurrent_activation
    if fuses(cell):
        # In two passes: a CPU looks some 500 instructions ahead, and a row's chain of operations is half as long then.
        for row in range(rows):
            if not skip[row]:
                at, here = row * padded + block * n, z.start + row * z.row
                carry, o = carry_fused(gate, load4(z.array, here, None), load(c, at))
                store(c, at, carry)
                store(h, at, o)
        for row in range(rows):
            if not skip[row]:
                at = row * padded + block * n
                store(h, at, equations.output(load(h, at), tanh(load(c, at))))
    else:
        at = block * n
        update(cell, activation, recurrent_activation, rows * n, z.array, z.start, z.row, c, h, at, padded, skip)


@inlined
def finish_block(cell: Cell, block: int, sums: Any, z: Any, z_at: int, c: Any, h: Any) -> None:
    """One row's equations for one block of units, from its sums over h and those over x at z_at.

    If the activations are not fused, only z is written; update makes h of it.
    """
    n = lanes(z)
    sums = sum4(load4(z, z_at, None), sums)
    if fuses(cell):
        carry, o = carry_fused(cell.recurrent_activation, sums, load(c, block * n))
        store(c, block * n, carry)
        store(h, block * n, equations.output(o, tanh(carry)))
    else:
        store4(z, z_at, sums, None)
