"""The equations applied to sums in memory: a block of units of one row or of several, or all units of a row."""

from __future__ import annotations

from typing import Any, NamedTuple

from numba_lstm.kernels import equations
from numba_lstm.kernels.activations import hard_sigmoid, sigmoid, tanh
from numba_lstm.kernels.apply import apply
from numba_lstm.kernels.arguments import Cell, GroupState
from numba_lstm.kernels.codes import CUSTOM, SIGMOID, SOFTMAX
from numba_lstm.kernels.jit import njit_helper, njit_inline
from numba_lstm.kernels.simd import lanes, load, store
from numba_lstm.kernels.tile import Sums, load4, store4, sum4


class Vectors(NamedTuple):
    """Vectors ``stride`` elements apart in flat memory, the first one at ``start``."""

    memory: Any
    start: int
    stride: int


class States(NamedTuple):
    """The same of c and of h, both of which have them at the same places."""

    c: Any
    h: Any
    start: int
    stride: int


@njit_helper
def spans_units(cell: Cell) -> bool:
    """True if an activation needs all units of a row at once."""
    return SOFTMAX <= cell.activation < CUSTOM or SOFTMAX <= cell.recurrent_activation < CUSTOM


@njit_inline
def carry_and_gate(gate: int, z: Any, c: Any) -> Any:
    """The new c and the output gate of one vector of units with tanh and (hard_)sigmoid, all in registers."""
    z_i, z_f, z_c, z_o = z
    if gate == SIGMOID:
        return equations.carry_and_gate(z_i, z_f, z_c, z_o, c, tanh, sigmoid)
    return equations.carry_and_gate(z_i, z_f, z_c, z_o, c, tanh, hard_sigmoid)


@njit_helper
def update_vectors(cell: Cell, functions: Any, units: int, z: Vectors, states: States, skip: Any) -> None:
    """The equations for ``units`` units, in vectors of one row's neighbouring blocks or of several rows' one block.

    functions: None if carry_and_gate has both, see cpu.sequence. z: pre-activations [gate][lane] from vector to vector;
    may be overwritten. c is updated, h written, but not of rows for which skip, from the first one on, is set.
    """
    n = lanes(z.memory)
    gate, vectors = cell.recurrent_activation, (units + n - 1) // n
    c, h, stride = states.c, states.h, states.stride
    # Vectors a whole row apart are of as many rows.
    skip_stride = 1 if stride == (cell.units + n - 1) // n * n else 0
    if functions is None:
        # In two passes: a CPU looks some 500 instructions ahead, and a row's chain of operations is half as long then.
        for vector in range(vectors):
            if not skip[vector * skip_stride]:
                unit = states.start + vector * stride
                new_c, o = carry_and_gate(gate, load4(z.memory, z.start + vector * z.stride, None), load(c, unit))
                store(c, unit, new_c)
                store(h, unit, o)
        for vector in range(vectors):
            if not skip[vector * skip_stride]:
                unit = states.start + vector * stride
                store(h, unit, equations.output(load(h, unit), tanh(load(c, unit))))
        return
    activation, recurrent_activation = functions
    i_at, f_at, c_at, o_at = z.start, z.start + n, z.start + 2 * n, z.start + 3 * n
    apply(gate, recurrent_activation, z.memory, i_at, z.stride, units)
    apply(gate, recurrent_activation, z.memory, f_at, z.stride, units)
    apply(cell.activation, activation, z.memory, c_at, z.stride, units)
    apply(gate, recurrent_activation, z.memory, o_at, z.stride, units)
    for vector in range(vectors):
        at, unit = vector * z.stride, states.start + vector * stride
        i, f, candidate = load(z.memory, i_at + at), load(z.memory, f_at + at), load(z.memory, c_at + at)
        new_c = equations.carry(i, f, candidate, load(c, unit))
        store(z.memory, c_at + at, new_c)
        if not skip[vector * skip_stride]:
            store(c, unit, new_c)
    apply(cell.activation, activation, z.memory, c_at, z.stride, units)
    for vector in range(vectors):
        if not skip[vector * skip_stride]:
            at = vector * z.stride
            new_h = equations.output(load(z.memory, o_at + at), load(z.memory, c_at + at))
            store(h, states.start + vector * stride, new_h)


@njit_inline
def finish_block(cell: Cell, functions: Any, block: int, sums: Any, z: Sums, state: GroupState) -> None:
    """One row's equations for one block of units, from its sums over h and those over x in z.

    If there are functions, only z is written; update_vectors makes h of it.
    """
    n = lanes(z.array)
    z_at, at = z.start + block * 4 * n, block * n
    sums = sum4(load4(z.array, z_at, None), sums)
    if functions is None:
        new_c, o = carry_and_gate(cell.recurrent_activation, sums, load(state.c, at))
        store(state.c, at, new_c)
        store(state.h_next, at, equations.output(o, tanh(new_c)))
    else:
        store4(z.array, z_at, sums, None)
