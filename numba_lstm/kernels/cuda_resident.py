"""The CUDA kernels for small cells: as in cuda.py, ``step`` is a timestep and ``sequence`` all of them.

Weights stay in registers and shared memory for the whole sequence, c in registers, and h in shared memory, twice, so
that threads meet once a timestep: they read the one of the step before while they write the next, and the inputs of the
next step beside it. The sums, the equations and the activations are those of cuda.py, and so are the bits.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba.core import types

from numba_lstm.kernels import equations
from numba_lstm.kernels.arguments import Cell, Masks, Options, State, Window
from numba_lstm.kernels.cuda import skips
from numba_lstm.kernels.cuda_held import (
    PIECE,
    Held,
    Part,
    Sums,
    for_each,
    from_registers,
    load_piece,
    load_shared,
    multiply,
)
from numba_lstm.kernels.cuda_target import ALIGNMENT, SIMULATED, cuda, kernel, uncontracted, unsigned
from numba_lstm.kernels.jit import inlined
from numba_lstm.kernels.layout import Layout
from numba_lstm.kernels.ops import constant
from numba_lstm.kernels.simd import global_memory


class Place(NamedTuple):
    """Who a thread is."""

    unit: int
    row: int  # of the batch, its first
    last_row: int  # of the batch; it stands in for those that are missing


class Batch(NamedTuple):
    """What all threads read and write in the GPU's main memory."""

    inputs: Window
    mask: Window
    dropout: Masks
    recurrent_dropout: Masks
    outputs: Window
    options: Options


class Own(NamedTuple):
    """A thread's registers."""

    x: Any  # of the next step, [row][which]: the inputs that it brings to its group
    counts: Any  # [row], nonzero where the step counts
    counts_next: Any  # [row], of the next step
    bias: Any  # [gate]
    z: Any  # [row][gate]
    sums: Sums
    h: Any  # [row]
    c: Any  # [row]
    output: Any  # [row]


@inlined
def fetch(number: int, place: Place, batch: Batch, masked: Any, t: int, own: Own, layout: Layout) -> None:
    """Read a timestep's inputs, and whether it counts, of a thread's row with this number."""
    row = min(place.row + number, place.last_row)
    start = batch.inputs.start + row * batch.inputs.row_stride + t * batch.inputs.time_stride
    for n in range(layout.inputs):
        k = n * layout.units + place.unit
        if k < layout.x.depth:
            own.x[layout.inputs * number + n] = batch.inputs.memory[start + k]
    if masked is not None:
        own.counts_next[number] = 0 if skips(batch.mask, row, t) else 1


@inlined
def factor(masks: Masks, gate: int, row: int, width: int, at: int) -> Any:
    """Of a dropout mask."""
    return masks.memory[(gate * masks.batch + row) * width + at]


@inlined
def put(
    number: int, place: Place, batch: Batch, masked: Any, x_at: int, h_at: int, shared: Any, own: Own, layout: Layout
) -> None:
    """The inputs that were read and the row's h go where all threads of the group see them, under dropout's masks."""
    row = min(place.row + number, place.last_row)
    for copy in range(layout.x.copies):
        for n in range(layout.inputs):
            k = n * layout.units + place.unit
            if k < layout.x.depth:
                x = own.x[layout.inputs * number + n]
                if layout.x.masks > 0:
                    x = x * factor(batch.dropout, copy, row, layout.x.depth, k)
                shared[x_at + unsigned((copy * layout.rows + number) * layout.x.width + k)] = x
    for copy in range(layout.h.copies):
        h = own.h[number]
        if layout.h.masks > 0:
            h = h * factor(batch.recurrent_dropout, copy, row, layout.units, place.unit)
        shared[h_at + unsigned((copy * layout.rows + number) * layout.h.width + place.unit)] = h
    if masked is not None:
        own.counts[number] = own.counts_next[number]


@inlined
def update(
    number: int,
    place: Place,
    batch: Batch,
    activation: Any,
    recurrent_activation: Any,
    masked: Any,
    t: int,
    own: Own,
) -> None:
    """A row's c, h and output of a timestep from its z."""
    i, f = recurrent_activation(own.z[4 * number]), recurrent_activation(own.z[4 * number + 1])
    candidate, o = activation(own.z[4 * number + 2]), recurrent_activation(own.z[4 * number + 3])
    carry = equations.carry(i, f, candidate, own.c[number])
    y = equations.output(o, activation(carry))
    if masked is None or own.counts[number] != 0:
        own.c[number], own.h[number], own.output[number] = carry, y, y
    elif batch.options.zero_output_for_mask:
        own.output[number] = constant(y, 0.0)
    row, to = place.row + number, batch.outputs
    if batch.options.return_sequences and row <= place.last_row:
        to.memory[to.start + row * to.row_stride + t * to.time_stride + place.unit] = own.output[number]


@inlined
def step(
    kernel: Held,
    recurrent_kernel: Held,
    activation: Any,
    recurrent_activation: Any,
    masked: Any,
    place: Place,
    t: int,
    batch: Batch,
    x_at: int,
    h_at: int,
    own: Own,
    layout: Layout,
    kernel_pieces: Part,
    recurrent_pieces: Part,
    update_rows: Part,
) -> None:
    """One timestep of a thread's unit and rows, from the inputs at x_at and the h at h_at of shared memory.

    masked: None where there is no mask of timesteps, and then it is not compiled in. own: z, sums, h, c and output are
    written. The last three are from_registers for each piece of x's and of h's weights, and update for each row.
    """
    counting = 1
    if masked is not None:
        counting = 0
        for n in range(layout.rows):
            counting += own.counts[n]
    if counting != 0:
        zero = constant(own.bias[0], 0.0)
        multiply(kernel_pieces, own.sums, zero, x_at, kernel, layout, layout.x, place.unit)
        for n in range(4 * layout.rows):
            own.z[n] = own.bias[n % 4] + own.sums.total[n]
        multiply(recurrent_pieces, own.sums, zero, h_at, recurrent_kernel, layout, layout.h, place.unit)
        for n in range(4 * layout.rows):
            own.z[n] = own.z[n] + own.sums.total[n]
    update_rows(0, place, batch, activation, recurrent_activation, masked, t, own)


@cache
def sequence_for(dtype: str, activation: Any, recurrent_activation: Any, with_mask: bool, layout: Layout) -> Any:
    """The kernel ``sequence`` for a cell with these activations, as cuda.function_of gives them; neither is None."""
    number = getattr(types, dtype)
    like = np.dtype(dtype).type(0)
    byte = np.uint8(0)
    masked = True if with_mask else None
    units, rows, x, h = layout.units, layout.rows, layout.x, layout.h
    gates, x_of_thread = 4 * rows, rows * layout.inputs
    x_registers, h_registers = max(1, 4 * x.in_registers), max(1, 4 * h.in_registers)
    # Of shared memory, in this order: weights of h, of x, and two timesteps of each.
    shared_numbers, x_weights = layout.shared, 4 * units * h.in_shared
    x_group, h_group = layout.of_group(x), layout.of_group(h)
    x_other, h_other = layout.groups * x_group, layout.groups * h_group
    h_rows = x_weights + 4 * units * x.in_shared
    x_rows = h_rows + 2 * h_other
    x_pieces, h_pieces = x.in_registers // PIECE, h.in_registers // PIECE
    x_rest, h_rest = x.in_registers % PIECE, h.in_registers % PIECE
    load_x, load_h = for_each(load_piece, x_pieces, PIECE), for_each(load_piece, h_pieces, PIECE)
    multiply_x, multiply_h = for_each(from_registers, x_pieces, PIECE), for_each(from_registers, h_pieces, PIECE)
    fetch_rows, put_rows, update_rows = (for_each(part, rows) for part in (fetch, put, update))

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
        """cuda.py's, with the same arguments; h_next and z are not used. A block has a whole number of groups."""
        uncontracted()
        if SIMULATED:
            shared = cuda.shared.array(shared_numbers, number)
        else:
            shared = cuda.shared.array(shared_numbers, number, alignment=ALIGNMENT)
        thread, threads = cuda.threadIdx.x, cuda.blockDim.x
        unit, group = thread % units, thread // units
        row = first_row + (cuda.blockIdx.x * (threads // units) + group) * rows
        place = Place(unit, row, last_row - 1)
        batch = Batch(
            Window(global_memory(inputs.memory, like), inputs.start, inputs.row_stride, inputs.time_stride),
            Window(global_memory(mask.memory, byte), mask.start, mask.row_stride, mask.time_stride),
            Masks(global_memory(dropout.memory, like), dropout.number, dropout.batch),
            Masks(global_memory(recurrent_dropout.memory, like), recurrent_dropout.number, recurrent_dropout.batch),
            Window(global_memory(outputs.memory, like), outputs.start, outputs.row_stride, outputs.time_stride),
            options,
        )
        own = Own(
            cuda.local.array(x_of_thread, number),
            cuda.local.array(rows, types.uint8),
            cuda.local.array(rows, types.uint8),
            cuda.local.array(4, number),
            cuda.local.array(gates, number),
            Sums(cuda.local.array(gates, number), cuda.local.array(gates, number)),
            cuda.local.array(rows, number),
            cuda.local.array(rows, number),
            cuda.local.array(rows, number),
        )
        x_kept, h_kept = cuda.local.array(x_registers, number), cuda.local.array(h_registers, number)
        kernel = Held(x_kept, shared, x_weights, global_memory(cell.kernel, like))
        recurrent_kernel = Held(h_kept, shared, 0, global_memory(cell.recurrent_kernel, like))
        load_x(0, PIECE, kernel, units, unit)
        load_piece(x_pieces * PIECE, x_rest, kernel, units, unit)
        load_shared(kernel, x, units, thread, threads)
        load_h(0, PIECE, recurrent_kernel, units, unit)
        load_piece(h_pieces * PIECE, h_rest, recurrent_kernel, units, unit)
        load_shared(recurrent_kernel, h, units, thread, threads)
        bias = global_memory(cell.bias, like)
        for gate in range(4):
            own.bias[gate] = bias[gate * units + unit]
        kept = State(global_memory(state.h, like), global_memory(state.c, like), global_memory(state.output, like))
        for n in range(rows):
            at = min(row + n, last_row - 1) * units + unit
            own.h[n], own.c[n] = kept.h[at], kept.c[at]
            if masked is not None:
                own.output[n] = kept.output[at]
        if timesteps > 0:
            fetch_rows(0, place, batch, masked, 0, own, layout)
        x_at, h_at = unsigned(x_rows + group * x_group), unsigned(h_rows + group * h_group)
        put_rows(0, place, batch, masked, x_at, h_at, shared, own, layout)
        cuda.syncthreads()
        for t in range(timesteps):
            if t + 1 < timesteps:
                fetch_rows(0, place, batch, masked, t + 1, own, layout)
            now, then = unsigned(t % 2), unsigned((t + 1) % 2)
            step(
                kernel,
                recurrent_kernel,
                activation,
                recurrent_activation,
                masked,
                place,
                t,
                batch,
                x_at + now * x_other,
                h_at + now * h_other,
                own,
                layout,
                multiply_x,
                multiply_h,
                update_rows,
            )
            put_rows(0, place, batch, masked, x_at + then * x_other, h_at + then * h_other, shared, own, layout)
            # Everybody has read this step's x and h and written the next one's.
            cuda.syncthreads()
        for n in range(rows):
            if row + n < last_row:
                at = (row + n) * units + unit
                kept.h[at], kept.c[at] = own.h[n], own.c[n]
                if masked is not None:
                    kept.output[at] = own.output[n]

    return sequence
