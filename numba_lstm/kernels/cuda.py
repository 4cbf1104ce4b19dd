"""The CUDA kernels: ``step`` advances the rows of a block by a timestep, ``sequence`` runs them through all of theirs.

A block of threads has a few rows for the whole sequence, so it never waits for another block; each thread computes some
units, at equal distances, of all its rows. The sums, the equations and the activations are the CPU's, operation by
operation, and so are the bits: docs/reliability.md gives the order. Kernels check nothing: the driver has.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba.core import types

from numba_lstm.kernels import activations, equations
from numba_lstm.kernels.arguments import Window
from numba_lstm.kernels.codes import CODES, CUSTOM, SOFTMAX
from numba_lstm.kernels.cuda_arguments import CudaCall, is_skipped, with_memory
from numba_lstm.kernels.cuda_products import Rows, UnitWeights, multiply
from numba_lstm.kernels.cuda_target import cuda, cuda_kernel, uncontracted
from numba_lstm.kernels.jit import njit_helper, njit_inline
from numba_lstm.kernels.normalizations import normalize
from numba_lstm.kernels.ops import constant

BUILT_IN = {code: getattr(activations, name) for name, code in CODES.items() if code < SOFTMAX}


class Variant(NamedTuple):
    """The constants that a kernel is compiled for. The last three are True or None, for False.

    What None excludes is not compiled in functions that take the flag as a separate argument.
    """

    activation: Any  # a function of one number; ``identity`` for one that normalizes a row
    recurrent_activation: Any
    normalizes_row: Any  # whether an activation needs all units of a row at once
    has_mask: Any  # of timesteps
    has_dropout: Any


class Timestep(NamedTuple):
    """A timestep of the rows of a block of threads, [first_row, first_row + rows)."""

    t: int
    first_row: int
    rows: int
    h: Any  # of the whole batch; read
    h_next: Any  # written


class ThreadSums(NamedTuple):
    """The sums of one thread, [row][gate] each."""

    total: Any
    block: Any
    z: Any  # pre-activations


@njit_inline
def identity(x: Any) -> Any:
    """x, in place of an activation that `normalize_gates` has applied."""
    return x


@njit_inline
def all_skipped(has_mask: Any, mask: Window, now: Timestep) -> bool:
    """Whether the timestep counts in none of the rows."""
    if has_mask is None:
        return False
    counting = 0
    for row in range(now.first_row, now.first_row + now.rows):
        counting += 0 if is_skipped(has_mask, mask, row, now.t) else 1
    return counting == 0


@njit_inline
def store(has_mask: Any, skipped: bool, h_new: Any, call: CudaCall, now: Timestep, row: int, unit: int) -> None:
    """Store one number of the new h in the states and the outputs.

    A skipped step leaves h unchanged and repeats the last output, or gives zero.
    """
    at, last, to = row * call.cell.units + unit, call.state.output, call.outputs
    y_at = to.start + row * to.row_stride + now.t * to.time_stride + unit
    if has_mask is None:
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
def sum_gates(has_dropout: Any, call: CudaCall, now: Timestep, unit: int, sums: ThreadSums) -> None:
    """sums.z = (x @ kernel + bias) + h @ recurrent_kernel for one unit of all rows."""
    cell, x = call.cell, call.inputs
    units, stride, zero = cell.units, 4 * cell.units, constant(cell.bias[unit], 0.0)
    start = x.start + now.first_row * x.row_stride + now.t * x.time_stride
    rows = Rows(x.memory, start, x.row_stride, now.rows)
    weights = UnitWeights(cell.kernel, unit, stride, units, cell.input_dim, cell.block_length)
    multiply(sums.total, sums.block, zero, has_dropout, rows, call.dropout, now.first_row, weights)
    for n in range(len(sums.z)):
        sums.z[n] = cell.bias[n % 4 * units + unit] + sums.total[n]
    rows = Rows(now.h, now.first_row * units, units, now.rows)
    weights = UnitWeights(cell.recurrent_kernel, unit, stride, units, units, cell.block_length)
    multiply(sums.total, sums.block, zero, has_dropout, rows, call.recurrent_dropout, now.first_row, weights)
    for n in range(len(sums.z)):
        sums.z[n] = sums.z[n] + sums.total[n]


@njit_inline
def update_unit(
    normalizes_row: Any, call: CudaCall, now: Timestep, unit: int, variant: Variant, sums: ThreadSums
) -> None:
    """Update one unit of all rows; where an activation normalizes a row, only store sums.z for `update_rows`."""
    units, c = call.cell.units, call.state.c
    for n in range(len(sums.z) // 4):
        if n < now.rows:
            row = now.first_row + n
            z_i, z_f, z_c, z_o = sums.z[4 * n], sums.z[4 * n + 1], sums.z[4 * n + 2], sums.z[4 * n + 3]
            if normalizes_row is not None:
                to, z = row * 4 * units + unit, call.z
                z[to], z[to + units], z[to + 2 * units], z[to + 3 * units] = z_i, z_f, z_c, z_o
            else:
                at = row * units + unit
                skipped, h_new = is_skipped(variant.has_mask, call.mask, row, now.t), now.h[at]
                if not skipped:
                    c_new, h_new = equations.update(
                        z_i, z_f, z_c, z_o, c[at], variant.activation, variant.recurrent_activation
                    )
                    c[at] = c_new
                store(variant.has_mask, skipped, h_new, call, now, row, unit)


@njit_inline
def normalize_gates(call: CudaCall, now: Timestep, first_gate: int, last_gate: int) -> None:
    """Apply the activations that normalize a row to gates [first_gate, last_gate); a thread has one row and gate."""
    cell, gates = call.cell, last_gate - first_gate
    for job in range(cuda.threadIdx.x, now.rows * gates, cuda.blockDim.x):
        gate = first_gate + job % gates
        code = cell.activation if gate == 2 else cell.recurrent_activation
        if SOFTMAX <= code < CUSTOM:
            normalize(code, True, call.z, ((now.first_row + job // gates) * 4 + gate) * cell.units, 1, cell.units)


@njit_inline
def update_rows(normalizes_row: Any, call: CudaCall, now: Timestep, variant: Variant) -> None:
    """Update all units where an activation normalizes a row, from the pre-activations that `update_unit` stored."""
    if normalizes_row is None:
        return
    units, z, c = call.cell.units, call.z, call.state.c
    activation, recurrent_activation = variant.activation, variant.recurrent_activation
    cuda.syncthreads()
    normalize_gates(call, now, 0, 4)
    cuda.syncthreads()
    for unit in range(cuda.threadIdx.x, units, cuda.blockDim.x):
        for row in range(now.first_row, now.first_row + now.rows):
            at, gates = row * units + unit, row * 4 * units + unit
            if not is_skipped(variant.has_mask, call.mask, row, now.t):
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
            skipped = is_skipped(variant.has_mask, call.mask, row, now.t)
            store(variant.has_mask, skipped, equations.output(o, activated), call, now, row, unit)


@njit_inline
def step(call: CudaCall, now: Timestep, variant: Variant, sums: ThreadSums) -> None:
    """One timestep of a block's rows, by all of its threads; c and the last output are updated in place."""
    idle = all_skipped(variant.has_mask, call.mask, now)
    for unit in range(cuda.threadIdx.x, call.cell.units, cuda.blockDim.x):
        if not idle:
            sum_gates(variant.has_dropout, call, now, unit, sums)
        update_unit(variant.normalizes_row, call, now, unit, variant, sums)
    update_rows(variant.normalizes_row, call, now, variant)


def activation_function(code: int, function: Any) -> Any:
    """The function of one number for a number of apply.CODES or CUSTOM; None for one that normalizes a row."""
    if code != CUSTOM:
        return BUILT_IN.get(code)

    @njit_helper
    def user_function(x: Any) -> Any:
        return constant(x, function(x))  # the user's function may return a number of another type

    return user_function


@cache
def sequence_kernel(
    dtype: str, activation: Any, recurrent_activation: Any, with_mask: bool, with_dropout: bool, rows_of_block: int
) -> Any:
    """The kernel ``sequence`` for a cell with these activations, see `activation_function`.

    CUDA takes no functions as arguments, so each pair of activations has a separate kernel, compiled at its first
    launch.
    """
    number = getattr(types, dtype)
    zero = np.dtype(dtype).type(0)
    gates = 4 * rows_of_block
    normalizes_row = True if activation is None or recurrent_activation is None else None
    activation = identity if activation is None else activation
    recurrent_activation = identity if recurrent_activation is None else recurrent_activation
    has_mask, has_dropout = True if with_mask else None, True if with_dropout else None

    @cuda_kernel
    def sequence(addresses: CudaCall) -> None:
        """Run rows through all timesteps, ``rows_of_block`` of them in each block of threads."""
        uncontracted()
        call = with_memory(addresses, zero)
        variant = Variant(activation, recurrent_activation, normalizes_row, has_mask, has_dropout)
        sums = ThreadSums(
            cuda.local.array(gates, number), cuda.local.array(gates, number), cuda.local.array(gates, number)
        )
        first = call.first_row + cuda.blockIdx.x * rows_of_block
        rows = min(rows_of_block, call.last_row - first)
        h, h_next = call.state.h, call.h_next
        for t in range(call.timesteps):
            step(call, Timestep(t, first, rows, h, h_next), variant, sums)
            # All threads have read h and written the next one.
            cuda.syncthreads()
            h, h_next = h_next, h
        if call.timesteps % 2 == 1:
            units = call.cell.units
            for at in range(first * units + cuda.threadIdx.x, (first + rows) * units, cuda.blockDim.x):
                h_next[at] = h[at]

    return sequence
