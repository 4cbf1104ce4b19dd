"""The CUDA kernels: ``step`` advances the rows of a block by a timestep, ``sequence`` runs them through all of theirs.

A block of threads has a few rows for the whole sequence, so it never waits for another block; a thread has units of all
of them, at equal distances. The sums, the equations and the activations are the CPU's, operation by operation, and so
are the bits: docs/reliability.md has the order. Kernels check nothing and raise nothing: the driver has.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba.core import types

from numba_lstm.kernels import activations, equations
from numba_lstm.kernels.arguments import Window
from numba_lstm.kernels.codes import CODES, CUSTOM, SOFTMAX
from numba_lstm.kernels.cuda_arguments import CudaCall, in_memory, skips
from numba_lstm.kernels.cuda_sums import Rows, UnitWeights, multiply
from numba_lstm.kernels.cuda_target import cuda, cuda_kernel, uncontracted
from numba_lstm.kernels.jit import njit_helper, njit_inline
from numba_lstm.kernels.normalizations import normalize
from numba_lstm.kernels.ops import constant

BUILT_IN = {code: getattr(activations, name) for name, code in CODES.items() if code < SOFTMAX}


class Variant(NamedTuple):
    """The constants that a kernel is compiled for. The last three are None if there is no such thing, otherwise True.

    Functions that take one of those by itself do not even compile what it excludes.
    """

    activation: Any  # a function of one number; ``unchanged`` for one that needs all units of a row at once
    recurrent_activation: Any
    spanning: Any  # an activation that needs all units
    masked: Any  # a mask of timesteps
    dropped: Any  # dropout masks


class Timestep(NamedTuple):
    """A timestep of the rows [first_row, first_row + rows), which are those of one block of threads."""

    t: int
    first_row: int
    rows: int
    h: Any  # of the whole batch; read
    h_next: Any  # written


class ThreadSums(NamedTuple):
    """Sums of one thread, [row][gate] for the rows of its block each."""

    total: Any
    block: Any
    z: Any


@njit_inline
def unchanged(x: Any) -> Any:
    """x: the part of an activation over all units that is left for each of them."""
    return x


@njit_inline
def all_skip(masked: Any, mask: Window, now: Timestep) -> bool:
    """Whether the timestep counts in none of the rows."""
    if masked is None:
        return False
    counting = 0
    for row in range(now.first_row, now.first_row + now.rows):
        counting += 0 if skips(masked, mask, row, now.t) else 1
    return counting == 0


@njit_inline
def put(masked: Any, skipped: bool, h_new: Any, call: CudaCall, now: Timestep, row: int, unit: int) -> None:
    """One number of the new h in its places among the states and the outputs.

    A skipped step leaves h as it is and repeats the output before it, or gives zero.
    """
    at, last, to = row * call.cell.units + unit, call.state.output, call.outputs
    y_at = to.start + row * to.row_stride + now.t * to.time_stride + unit
    if masked is None:
        now.h_next[at] = h_new
        if call.options.return_sequences:
            to.memory[y_at] = h_new
        return
    if not skipped:
        last[at] = h_new
    elif call.options.zero_output_for_mask:
        last[at] = constant(h_new, 0.0)
    now.h_next[at] = now.h[at] if skipped else h_new
    if call.options.return_sequences:
        to.memory[y_at] = last[at]


@njit_inline
def sum_gates(dropped: Any, call: CudaCall, now: Timestep, unit: int, own: ThreadSums) -> None:
    """own.z = (x @ kernel + bias) + h @ recurrent_kernel for one unit of all rows."""
    cell, x = call.cell, call.inputs
    units, stride, zero = cell.units, 4 * cell.units, constant(cell.bias[unit], 0.0)
    start = x.start + now.first_row * x.row_stride + now.t * x.time_stride
    rows = Rows(x.memory, start, x.row_stride, now.rows)
    weights = UnitWeights(cell.kernel, unit, stride, units, cell.input_dim, cell.block_length)
    multiply(own.total, own.block, zero, dropped, rows, call.dropout, now.first_row, weights)
    for n in range(len(own.z)):
        own.z[n] = cell.bias[n % 4 * units + unit] + own.total[n]
    rows = Rows(now.h, now.first_row * units, units, now.rows)
    weights = UnitWeights(cell.recurrent_kernel, unit, stride, units, units, cell.block_length)
    multiply(own.total, own.block, zero, dropped, rows, call.recurrent_dropout, now.first_row, weights)
    for n in range(len(own.z)):
        own.z[n] = own.z[n] + own.total[n]


@njit_inline
def update_unit(spanning: Any, call: CudaCall, now: Timestep, unit: int, variant: Variant, own: ThreadSums) -> None:
    """The equations for one unit of all rows; where an activation needs all units, own.z is only kept for them."""
    units, c = call.cell.units, call.state.c
    for n in range(len(own.z) // 4):
        if n < now.rows:
            row = now.first_row + n
            z_i, z_f, z_c, z_o = own.z[4 * n], own.z[4 * n + 1], own.z[4 * n + 2], own.z[4 * n + 3]
            if spanning is not None:
                to, z = row * 4 * units + unit, call.z
                z[to], z[to + units], z[to + 2 * units], z[to + 3 * units] = z_i, z_f, z_c, z_o
            else:
                at = row * units + unit
                skipped, h_new = skips(variant.masked, call.mask, row, now.t), now.h[at]
                if not skipped:
                    c_new, h_new = equations.update(
                        z_i, z_f, z_c, z_o, c[at], variant.activation, variant.recurrent_activation
                    )
                    c[at] = c_new
                put(variant.masked, skipped, h_new, call, now, row, unit)


@njit_inline
def normalize_gates(call: CudaCall, now: Timestep, first_gate: int, last_gate: int) -> None:
    """The normalizations over all units of gates [first_gate, last_gate): a row and gate a thread."""
    cell, gates = call.cell, last_gate - first_gate
    for job in range(cuda.threadIdx.x, now.rows * gates, cuda.blockDim.x):
        gate = first_gate + job % gates
        code = cell.activation if gate == 2 else cell.recurrent_activation
        if SOFTMAX <= code < CUSTOM:
            normalize(code, True, call.z, ((now.first_row + job // gates) * 4 + gate) * cell.units, 1, cell.units)


@njit_inline
def update_over_units(spanning: Any, call: CudaCall, now: Timestep, variant: Variant) -> None:
    """The equations where an activation needs all units of a row, from the pre-activations that update_unit kept."""
    if spanning is None:
        return
    units, z, c = call.cell.units, call.z, call.state.c
    activation, recurrent_activation = variant.activation, variant.recurrent_activation
    cuda.syncthreads()
    normalize_gates(call, now, 0, 4)
    cuda.syncthreads()
    for unit in range(cuda.threadIdx.x, units, cuda.blockDim.x):
        for row in range(now.first_row, now.first_row + now.rows):
            at, gates = row * units + unit, row * 4 * units + unit
            if not skips(variant.masked, call.mask, row, now.t):
                i, f = recurrent_activation(z[gates]), recurrent_activation(z[gates + units])
                c_new = equations.carry(i, f, activation(z[gates + 2 * units]), c[at])
                c[at] = c_new
                z[gates + 2 * units] = c_new
    cuda.syncthreads()
    normalize_gates(call, now, 2, 3)
    cuda.syncthreads()
    for unit in range(cuda.threadIdx.x, units, cuda.blockDim.x):
        for row in range(now.first_row, now.first_row + now.rows):
            gates = row * 4 * units + unit
            o, activated = recurrent_activation(z[gates + 3 * units]), activation(z[gates + 2 * units])
            skipped = skips(variant.masked, call.mask, row, now.t)
            put(variant.masked, skipped, equations.output(o, activated), call, now, row, unit)


@njit_inline
def step(call: CudaCall, now: Timestep, variant: Variant, own: ThreadSums) -> None:
    """One timestep of a block's rows, by all of its threads together; c and the last output are updated in place."""
    idle = all_skip(variant.masked, call.mask, now)
    for unit in range(cuda.threadIdx.x, call.cell.units, cuda.blockDim.x):
        if not idle:
            sum_gates(variant.dropped, call, now, unit, own)
        update_unit(variant.spanning, call, now, unit, variant, own)
    update_over_units(variant.spanning, call, now, variant)


def function_of(code: int, function: Any) -> Any:
    """The function of one number for a number of apply.CODES or CUSTOM; None for one over all units of a row."""
    if code != CUSTOM:
        return BUILT_IN.get(code)

    @njit_helper
    def of_the_user(x: Any) -> Any:
        return constant(x, function(x))  # which may return another kind of number

    return of_the_user


@cache
def sequence_for(
    dtype: str, activation: Any, recurrent_activation: Any, with_mask: bool, with_dropout: bool, rows_of_block: int
) -> Any:
    """The kernel ``sequence`` for a cell with these activations, as function_of gives them.

    CUDA takes no functions as arguments, so each pair of activations is a kernel of its own, compiled when it is first
    launched.
    """
    number = getattr(types, dtype)
    like = np.dtype(dtype).type(0)
    sums = 4 * rows_of_block
    spanning = True if activation is None or recurrent_activation is None else None
    activation = unchanged if activation is None else activation
    recurrent_activation = unchanged if recurrent_activation is None else recurrent_activation
    masked, dropped = True if with_mask else None, True if with_dropout else None

    @cuda_kernel
    def sequence(addresses: CudaCall) -> None:
        """The rows through all timesteps, ``rows_of_block`` of them in each block of threads."""
        uncontracted()
        call = in_memory(addresses, like)
        variant = Variant(activation, recurrent_activation, spanning, masked, dropped)
        own = ThreadSums(cuda.local.array(sums, number), cuda.local.array(sums, number), cuda.local.array(sums, number))
        first = call.first_row + cuda.blockIdx.x * rows_of_block
        rows = min(rows_of_block, call.last_row - first)
        h, h_next = call.state.h, call.h_next
        for t in range(call.timesteps):
            step(call, Timestep(t, first, rows, h, h_next), variant, own)
            # Everybody has read h and written the next one; they change places.
            cuda.syncthreads()
            h, h_next = h_next, h
        if call.timesteps % 2 == 1:
            units = call.cell.units
            for at in range(first * units + cuda.threadIdx.x, (first + rows) * units, cuda.blockDim.x):
                h_next[at] = h[at]

    return sequence
