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
    c: Any,
    h: Any,
    at: int,
) -> None:
    """The equations for ``units`` units of one row, in neighbouring blocks.

    z: pre-activations [block][gate][lane] from z_at, overwritten. c, h: from ``at``; c is updated, h written.
    """
    n = lanes(z)
    wide = 4 * n
    gate, blocks = cell.recurrent_activation, (units + n - 1) // n
    apply(gate, recurrent_activation, z, z_at, wide, units)
    apply(gate, recurrent_activation, z, z_at + n, wide, units)
    apply(cell.activation, activation, z, z_at + 2 * n, wide, units)
    apply(gate, recurrent_activation, z, z_at + 3 * n, wide, units)
    for block in range(blocks):
        gates, unit = z_at + block * wide, at + block * n
        i, f, candidate = load(z, gates), load(z, gates + n), load(z, gates + 2 * n)
        carry = equations.carry(i, f, candidate, load(c, unit))
        store(c, unit, carry)
        store(z, gates + 2 * n, carry)
    apply(cell.activation, activation, z, z_at + 2 * n, wide, units)
    for block in range(blocks):
        gates = z_at + block * wide
        store(h, at + block * n, equations.output(load(z, gates + 3 * n), load(z, gates + 2 * n)))


@inner
def update_rows(
    cell: Cell, activation: Any, recurrent_activation: Any, block: int, rows: int, z: Sums, skip: Any, c: Any, h: Any
) -> None:
    """The equations of one block of units for all rows that are not skipped."""
    n = lanes(c)
    padded = (cell.units + n - 1) // n * n
    gate = cell.recurrent_activation
    if cell.activation == TANH and gate in (SIGMOID, HARD_SIGMOID):
        # In two passes: a CPU looks some 500 instructions ahead, and a row's chain of operations is half as long then.
        for row in range(rows):
            if not skip[row]:
                at, here = row * padded + block * n, z.start + row * z.row
                carry, o = carry_fused(gate, load4(z.array, here), load(c, at))
                store(c, at, carry)
                store(h, at, o)
        for row in range(rows):
            if not skip[row]:
                at = row * padded + block * n
                store(h, at, equations.output(load(h, at), tanh(load(c, at))))
    else:
        units = min(n, cell.units - block * n)
        for row in range(rows):
            if not skip[row]:
                at, here = row * padded + block * n, z.start + row * z.row
                update(cell, activation, recurrent_activation, units, z.array, here, c, h, at)


@inlined
def finish_block(
    cell: Cell, activation: Any, recurrent_activation: Any, block: int, sums: Any, z: Any, z_at: int, c: Any, h: Any
) -> None:
    """One row's equations for one block of units, from its sums over h and those over x at z_at."""
    n = lanes(z)
    sums = sum4(load4(z, z_at), sums)
    gate = cell.recurrent_activation
    if cell.activation == TANH and gate in (SIGMOID, HARD_SIGMOID):
        carry, o = carry_fused(gate, sums, load(c, block * n))
        store(c, block * n, carry)
        store(h, block * n, equations.output(o, tanh(carry)))
    else:
        store4(z, z_at, sums)
        units = min(n, cell.units - block * n)
        update(cell, activation, recurrent_activation, units, z, z_at, c, h, block * n)
