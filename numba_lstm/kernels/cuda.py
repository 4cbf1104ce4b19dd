"""The CUDA kernels: ``step`` advances the rows of a block by a timestep, ``sequence`` runs them through all of theirs.

A block of threads has a few rows for the whole sequence, so it never waits for another block; a thread has every so
many units of all of them. The sums, the equations and the activations are the CPU's, operation by operation, and so
are the bits: docs/reliability.md has the order. Kernels check nothing and raise nothing: the driver has.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba.core import types

from numba_lstm.kernels import activations, equations
from numba_lstm.kernels.apply import CODES, CUSTOM
from numba_lstm.kernels.arguments import Cell, Masks, Options, State, Window
from numba_lstm.kernels.cuda_sums import Rows, Weights, multiply
from numba_lstm.kernels.cuda_target import cuda, kernel, uncontracted
from numba_lstm.kernels.jit import inlined, inner
from numba_lstm.kernels.normalizations import SOFTMAX, normalize
from numba_lstm.kernels.ops import constant
from numba_lstm.kernels.simd import global_memory

BUILT_IN = {code: getattr(activations, name) for name, code in CODES.items() if code < SOFTMAX}


class Own(NamedTuple):
    """Sums of one thread, [row][gate] for the rows of its block each."""

    total: Any
    block: Any
    z: Any


@inlined
def skips(mask: Window, row: int, t: int) -> Any:
    """Whether the timestep of a row does not count."""
    return mask.memory[mask.start + row * mask.row_stride + t * mask.time_stride] == 0


@inlined
def all_skip(mask: Window, first_row: int, rows: int, t: int) -> bool:
    """Whether it counts in none of so many rows."""
    counting = 0
    for row in range(first_row, first_row + rows):
        counting += 0 if skips(mask, row, t) else 1
    return counting == 0


@inlined
def put(
    masked: Any,
    skipped: bool,
    h_new: Any,
    at: int,
    state: State,
    h_next: Any,
    outputs: Window,
    y_at: int,
    options: Options,
) -> None:
    """One number of the new h, at ``at`` of the states, and of the outputs, at ``y_at``, in their places.

    A skipped step leaves h as it is and repeats the output before it, or gives zero.
    """
    if masked is None:
        h_next[at] = h_new
        if options.return_sequences:
            outputs.memory[y_at] = h_new
        return
    if not skipped:
        state.output[at] = h_new
    elif options.zero_output_for_mask:
        state.output[at] = constant(h_new, 0.0)
    h_next[at] = state.h[at] if skipped else h_new
    if options.return_sequences:
        outputs.memory[y_at] = state.output[at]


@inlined
def gates_of_unit(
    cell: Cell, dropped: Any, unit: int, x: Rows, h: Rows, dropout: Masks, recurrent_dropout: Masks, row: int, own: Own
) -> None:
    """own.z = (x @ kernel + bias) + h @ recurrent_kernel for one unit; ``row`` is the batch's number of the first."""
    zero, stride = constant(cell.bias[unit], 0.0), 4 * cell.units
    weights = Weights(cell.kernel, unit, stride, cell.units, cell.input_dim, cell.block_length)
    multiply(own.total, own.block, zero, dropped, x, dropout, row, weights)
    for n in range(len(own.z)):
        own.z[n] = cell.bias[n % 4 * cell.units + unit] + own.total[n]
    weights = Weights(cell.recurrent_kernel, unit, stride, cell.units, cell.units, cell.block_length)
    multiply(own.total, own.block, zero, dropped, h, recurrent_dropout, row, weights)
    for n in range(len(own.z)):
        own.z[n] = own.z[n] + own.total[n]


@inlined
def normalize_gates(cell: Cell, z: Any, first_row: int, rows: int, first_gate: int, last_gate: int) -> None:
    """The normalizations over all units of gates [first_gate, last_gate): a row and gate a thread."""
    gates = last_gate - first_gate
    for job in range(cuda.threadIdx.x, rows * gates, cuda.blockDim.x):
        gate = first_gate + job % gates
        code = cell.activation if gate == 2 else cell.recurrent_activation
        if SOFTMAX <= code < CUSTOM:
            normalize(code, True, z, ((first_row + job // gates) * 4 + gate) * cell.units, 1, cell.units)


@inlined
def update_over_units(
    cell: Cell,
    activation: Any,
    recurrent_activation: Any,
    masked: Any,
    first_row: int,
    rows: int,
    t: int,
    mask: Window,
    state: State,
    h_next: Any,
    z: Any,
    outputs: Window,
    options: Options,
) -> None:
    """The equations where an activation needs all units of a row; z: (batch, 4, units), overwritten."""
    units = cell.units
    cuda.syncthreads()
    normalize_gates(cell, z, first_row, rows, 0, 4)
    cuda.syncthreads()
    for unit in range(cuda.threadIdx.x, units, cuda.blockDim.x):
        for row in range(first_row, first_row + rows):
            at, gates = row * units + unit, row * 4 * units + unit
            if masked is None or not skips(mask, row, t):
                i, f = z[gates], z[gates + units]
                if recurrent_activation is not None:
                    i, f = recurrent_activation(i), recurrent_activation(f)
                candidate = z[gates + 2 * units]
                if activation is not None:
                    candidate = activation(candidate)
                carry = equations.carry(i, f, candidate, state.c[at])
                state.c[at] = carry
                z[gates + 2 * units] = carry
    cuda.syncthreads()
    normalize_gates(cell, z, first_row, rows, 2, 3)
    cuda.syncthreads()
    for unit in range(cuda.threadIdx.x, units, cuda.blockDim.x):
        for row in range(first_row, first_row + rows):
            gates = row * 4 * units + unit
            o, activated = z[gates + 3 * units], z[gates + 2 * units]
            if recurrent_activation is not None:
                o = recurrent_activation(o)
            if activation is not None:
                activated = activation(activated)
            skipped = False
            if masked is not None:
                skipped = skips(mask, row, t)
            to = outputs.start + row * outputs.row_stride + t * outputs.time_stride + unit
            put(
                masked,
                skipped,
                equations.output(o, activated),
                row * units + unit,
                state,
                h_next,
                outputs,
                to,
                options,
            )


@inlined
def step(
    cell: Cell,
    activation: Any,
    recurrent_activation: Any,
    spanning: Any,
    masked: Any,
    dropped: Any,
    first_row: int,
    rows: int,
    t: int,
    inputs: Window,
    mask: Window,
    dropout: Masks,
    recurrent_dropout: Masks,
    state: State,
    h_next: Any,
    z: Any,
    outputs: Window,
    options: Options,
    own: Own,
) -> None:
    """One timestep of the rows [first_row, first_row + rows), by all threads of a block together.

    activation, recurrent_activation: functions of one number, or None for one that needs all units of a row at once;
    spanning: None if there is none of those. masked, dropped: None where there are no masks of that kind. (What is None
    here is not compiled in.) state: h is read, c and output are updated; h_next is written. z: scratch, see
    update_over_units.
    """
    units = cell.units
    x = Rows(
        inputs.memory, inputs.start + first_row * inputs.row_stride + t * inputs.time_stride, inputs.row_stride, rows
    )
    h = Rows(state.h, first_row * units, units, rows)
    idle = False
    if masked is not None:
        idle = all_skip(mask, first_row, rows, t)
    for unit in range(cuda.threadIdx.x, units, cuda.blockDim.x):
        if not idle:
            gates_of_unit(cell, dropped, unit, x, h, dropout, recurrent_dropout, first_row, own)
        for n in range(len(own.z) // 4):
            if n < rows:
                row = first_row + n
                i, f, candidate, o = own.z[4 * n], own.z[4 * n + 1], own.z[4 * n + 2], own.z[4 * n + 3]
                if spanning is not None:
                    to = row * 4 * units + unit
                    z[to], z[to + units], z[to + 2 * units], z[to + 3 * units] = i, f, candidate, o
                else:
                    at = row * units + unit
                    skipped, h_new = False, state.h[at]
                    if masked is not None:
                        skipped = skips(mask, row, t)
                    if not skipped:
                        i, f, o = recurrent_activation(i), recurrent_activation(f), recurrent_activation(o)
                        carry = equations.carry(i, f, activation(candidate), state.c[at])
                        state.c[at] = carry
                        h_new = equations.output(o, activation(carry))
                    to = outputs.start + row * outputs.row_stride + t * outputs.time_stride + unit
                    put(masked, skipped, h_new, at, state, h_next, outputs, to, options)
    if spanning is not None:
        update_over_units(
            cell,
            activation,
            recurrent_activation,
            masked,
            first_row,
            rows,
            t,
            mask,
            state,
            h_next,
            z,
            outputs,
            options,
        )


def function_of(code: int, function: Any) -> Any:
    """The function of one number for a number of apply.CODES or CUSTOM; None for one over all units of a row."""
    if code != CUSTOM:
        return BUILT_IN.get(code)

    @inner
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
    byte = np.uint8(0)
    sums = 4 * rows_of_block
    spanning = True if activation is None or recurrent_activation is None else None
    masked, dropped = True if with_mask else None, True if with_dropout else None

    @kernel
    def sequence(
        cell: Cell,
        first_row: int,
        last_row: int,
        timesteps: int,
        inputs: Window,
        mask: Window,
        dropout: Masks,
        recurrent_dropout: Masks,
        state: State,
        h_next: int,
        z: int,
        outputs: Window,
        options: Options,
    ) -> None:
        """Rows [first_row, last_row) through all timesteps, so many of them in each block.

        Memory is given by address, and is the GPU's. inputs: (row, timestep) -> input_dim numbers; read only. mask:
        (row, timestep) -> a byte, nonzero where the step counts; read only. state: of the whole batch, updated. h_next:
        (batch, units), z: (batch, 4, units) where an activation needs all units; scratch. outputs: (row, timestep) ->
        units numbers, written at every step with return_sequences; otherwise not touched (the last output is in
        state.output with a mask, in state.h without).
        """
        uncontracted()
        weights = Cell(
            global_memory(cell.kernel, like),
            global_memory(cell.recurrent_kernel, like),
            global_memory(cell.bias, like),
            cell.input_dim,
            cell.units,
            cell.block_length,
            cell.activation,
            cell.recurrent_activation,
        )
        x = Window(global_memory(inputs.memory, like), inputs.start, inputs.row_stride, inputs.time_stride)
        marks = Window(global_memory(mask.memory, byte), mask.start, mask.row_stride, mask.time_stride)
        y = Window(global_memory(outputs.memory, like), outputs.start, outputs.row_stride, outputs.time_stride)
        drop = Masks(global_memory(dropout.memory, like), dropout.number, dropout.batch)
        recurrent_drop = Masks(
            global_memory(recurrent_dropout.memory, like), recurrent_dropout.number, recurrent_dropout.batch
        )
        own = Own(cuda.local.array(sums, number), cuda.local.array(sums, number), cuda.local.array(sums, number))
        h, h_other = global_memory(state.h, like), global_memory(h_next, like)
        c, output = global_memory(state.c, like), global_memory(state.output, like)
        scratch = global_memory(z, like)
        first = first_row + cuda.blockIdx.x * rows_of_block
        rows = min(rows_of_block, last_row - first)
        for t in range(timesteps):
            step(
                weights,
                activation,
                recurrent_activation,
                spanning,
                masked,
                dropped,
                first,
                rows,
                t,
                x,
                marks,
                drop,
                recurrent_drop,
                State(h, c, output),
                h_other,
                scratch,
                y,
                options,
                own,
            )
            # Everybody has read h and written the next one; they change places.
            cuda.syncthreads()
            h, h_other = h_other, h
        if timesteps % 2 == 1:
            for at in range(first * cell.units + cuda.threadIdx.x, (first + rows) * cell.units, cuda.blockDim.x):
                h_other[at] = h[at]

    return sequence
