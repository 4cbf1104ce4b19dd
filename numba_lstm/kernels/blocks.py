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
def carry_and_gate(gate: int, z: Any, c: Any) -> Any:
    """The new c and the output gate of one vector of units with tanh and (hard_)sigmoid, all in registers."""
    z_i, z_f, z_c, z_o = z
    if gate == SIGMOID:
        return equations.carry_and_gate(z_i, z_f, z_c, z_o, c, tanh, sigmoid)
    return equations.carry_and_gate(z_i, z_f, z_c, z_o, c, tanh, hard_sigmoid)


@inlined
def in_registers(gate: int, z: Any, c: Any) -> Any:
    """The new c and h of one vector of units with tanh and (hard_)sigmoid."""
    z_i, z_f, z_c, z_o = z
    if gate == SIGMOID:
        return equations.update(z_i, z_f, z_c, z_o, c, tanh, sigmoid)
    return equations.update(z_i, z_f, z_c, z_o, c, tanh, hard_sigmoid)


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

    activation: None if in_registers has both, see cpu.sequence. z: pre-activations [gate][lane] from z_at on, z_stride
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
                new_c, o = carry_and_gate(gate, load4(z, z_at + vector * z_stride, None), load(c, unit))
                store(c, unit, new_c)
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
        new_c, new_h = in_registers(cell.recurrent_activation, sums, load(c, block * n))
        store(c, block * n, new_c)
        store(h, block * n, new_h)
    else:
        store4(z, z_at, sums, None)
