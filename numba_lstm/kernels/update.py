"""The equations applied to sums in memory: a block of units of one row or of several, or all units of a row."""

from __future__ import annotations

from typing import Any

from numba_lstm.kernels import equations
from numba_lstm.kernels.activations import hard_sigmoid, sigmoid, tanh
from numba_lstm.kernels.apply import CUSTOM, SIGMOID, apply
from numba_lstm.kernels.arguments import Cell
from numba_lstm.kernels.jit import inlined, inner
from numba_lstm.kernels.normalizations import SOFTMAX
from numba_lstm.kernels.simd import lanes, load, store
from numba_lstm.kernels.tile import load4, store4, sum4


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

    activation: None if carry_fused has both, see cpu.sequence. z: pre-activations [gate][lane] from z_at on, z_stride
    from vector to vector; may be overwritten. c, h: from ``at`` on, ``stride`` from vector to vector; c is updated, h
    written, but not of rows for which skip, from the first one on, is set.
    """
    n = lanes(z)
    gate, vectors = cell.recurrent_activation, (units + n - 1) // n
    # Vectors a whole row apart are of as many rows.
    skip_stride = 1 if stride == (cell.units + n - 1) // n * n else 0
    if activation is None:
        # In two passes: a CPU looks some 500 instructions ahead, and a row's chain of operations is half as long then.
        for vector in range(vectors):
            if not skip[vector * skip_stride]:
                unit = at + vector * stride
                carry, o = carry_fused(gate, load4(z, z_at + vector * z_stride, None), load(c, unit))
                store(c, unit, carry)
                store(h, unit, o)
        for vector in range(vectors):
            if not skip[vector * skip_stride]:
                unit = at + vector * stride
                store(h, unit, equations.output(load(h, unit), tanh(load(c, unit))))
        return
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


@inlined
def finish_block(cell: Cell, activation: Any, block: int, sums: Any, z: Any, z_at: int, c: Any, h: Any) -> None:
    """One row's equations for one block of units, from its sums over h and those over x at z_at.

    If there is an activation, only z is written; update makes h of it.
    """
    n = lanes(z)
    sums = sum4(load4(z, z_at, None), sums)
    if activation is None:
        carry, o = carry_fused(cell.recurrent_activation, sums, load(c, block * n))
        store(c, block * n, carry)
        store(h, block * n, equations.output(o, tanh(carry)))
    else:
        store4(z, z_at, sums, None)
