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
from numba_lstm.kernels.arguments import Masks
from numba_lstm.kernels.cuda_arguments import CudaCall, in_memory, skips
from numba_lstm.kernels.cuda_held import (
    PIECE,
    Held,
    Part,
    Product,
    RegisterSums,
    for_each,
    from_registers,
    load,
    load_piece,
    multiply,
)
from numba_lstm.kernels.cuda_layout import Layout, Offsets
from numba_lstm.kernels.cuda_target import ALIGNMENT, SIMULATED, cuda, cuda_kernel, uncontracted, unsigned
from numba_lstm.kernels.jit import njit_inline
from numba_lstm.kernels.ops import constant


class ResidentVariant(NamedTuple):
    """The constants that a kernel is compiled for."""

    activation: Any  # functions of one number
    recurrent_activation: Any
    masked: Any  # None where there is no mask of timesteps, and then it is not compiled in
    layout: Layout
    kernel_pieces: Part  # from_registers for each piece of x's weights
    recurrent_pieces: Part  # and of h's
    update_rows: Part  # update for each row


class Place(NamedTuple):
    """Who a thread is."""

    unit: int
    row: int  # of the batch, its first
    last_row: int  # of the batch; it stands in for those that are missing


class Shared(NamedTuple):
    """A block's shared memory, and where in it the rows of a thread's group are for one timestep."""

    memory: Any
    x: Any
    h: Any


class Registers(NamedTuple):
    """A thread's registers."""

    x: Any  # of the next step, [row][which]: the inputs that it brings to its group
    counts: Any  # [row], nonzero where the step counts
    counts_next: Any  # [row], of the next step
    bias: Any  # [gate]
    z: Any  # [row][gate]
    sums: RegisterSums
    h: Any  # [row]
    c: Any  # [row]
    output: Any  # [row]
    kernel: Held
    recurrent_kernel: Held


@njit_inline
def rows_at(shared: Any, offsets: Offsets, group: int, t: int) -> Shared:
    """Where a group's x and h of a timestep are."""
    turn = unsigned(t % 2)
    x, h = unsigned(offsets.x + group * offsets.x_group), unsigned(offsets.h + group * offsets.h_group)
    return Shared(shared, x + turn * offsets.x_turn, h + turn * offsets.h_turn)


@njit_inline
def fetch(number: int, place: Place, call: CudaCall, variant: ResidentVariant, t: int, own: Registers) -> None:
    """Read a timestep's inputs, and whether it counts, of a thread's row with this number."""
    layout, inputs = variant.layout, call.inputs
    row = min(place.row + number, place.last_row)
    start = inputs.start + row * inputs.row_stride + t * inputs.time_stride
    for n in range(layout.inputs):
        k = n * layout.units + place.unit
        if k < layout.x.depth:
            own.x[layout.inputs * number + n] = inputs.memory[start + k]
    if variant.masked is not None:
        own.counts_next[number] = 0 if skips(variant.masked, call.mask, row, t) else 1


@njit_inline
def factor(masks: Masks, gate: int, row: int, width: int, at: int) -> Any:
    """A number of a dropout mask."""
    return masks.memory[(gate * masks.batch + row) * width + at]


@njit_inline
def put(number: int, place: Place, call: CudaCall, variant: ResidentVariant, shared: Shared, own: Registers) -> None:
    """The inputs that were read and the row's h go where all threads of the group see them, under dropout's masks."""
    layout = variant.layout
    row = min(place.row + number, place.last_row)
    for copy in range(layout.x.copies):
        for n in range(layout.inputs):
            k = n * layout.units + place.unit
            if k < layout.x.depth:
                x = own.x[layout.inputs * number + n]
                if layout.x.masks > 0:
                    x = x * factor(call.dropout, copy, row, layout.x.depth, k)
                shared.memory[shared.x + unsigned((copy * layout.rows + number) * layout.x.width + k)] = x
    for copy in range(layout.h.copies):
        h = own.h[number]
        if layout.h.masks > 0:
            h = h * factor(call.recurrent_dropout, copy, row, layout.units, place.unit)
        shared.memory[shared.h + unsigned((copy * layout.rows + number) * layout.h.width + place.unit)] = h
    if variant.masked is not None:
        own.counts[number] = own.counts_next[number]


@njit_inline
def update(number: int, place: Place, call: CudaCall, variant: ResidentVariant, t: int, own: Registers) -> None:
    """A row's c, h and output of a timestep from its z."""
    n = 4 * number
    c, h = equations.update(
        own.z[n],
        own.z[n + 1],
        own.z[n + 2],
        own.z[n + 3],
        own.c[number],
        variant.activation,
        variant.recurrent_activation,
    )
    if variant.masked is None or own.counts[number] != 0:
        own.c[number], own.h[number], own.output[number] = c, h, h
    elif call.options.zero_output_for_mask:
        own.output[number] = constant(h, 0.0)
    row, to = place.row + number, call.outputs
    if call.options.return_sequences and row <= place.last_row:
        to.memory[to.start + row * to.row_stride + t * to.time_stride + place.unit] = own.output[number]


@njit_inline
def any_counts(masked: Any, counts: Any, rows: int) -> bool:
    """Whether the step counts in one of the rows."""
    if masked is None:
        return True
    counting = 0
    for n in range(rows):
        counting += counts[n]
    return counting != 0


@njit_inline
def step(place: Place, call: CudaCall, variant: ResidentVariant, t: int, shared: Shared, own: Registers) -> None:
    """One timestep of a thread's unit and rows: own.z, sums, h, c and output are written, and call.outputs."""
    layout = variant.layout
    if any_counts(variant.masked, own.counts, layout.rows):
        zero, sums = constant(own.bias[0], 0.0), own.sums
        product = Product(sums, zero, shared.x, own.kernel, layout, layout.x, place.unit)
        multiply(variant.kernel_pieces, product)
        for n in range(4 * layout.rows):
            own.z[n] = own.bias[n % 4] + sums.total[n]
        product = Product(sums, zero, shared.h, own.recurrent_kernel, layout, layout.h, place.unit)
        multiply(variant.recurrent_pieces, product)
        for n in range(4 * layout.rows):
            own.z[n] = own.z[n] + sums.total[n]
    variant.update_rows(0, place, call, variant, t, own)


@njit_inline
def begin(masked: Any, place: Place, call: CudaCall, layout: Layout, own: Registers) -> None:
    """The bias and the states of a thread's unit and rows into registers."""
    for gate in range(4):
        own.bias[gate] = call.cell.bias[gate * layout.units + place.unit]
    for n in range(layout.rows):
        at = min(place.row + n, place.last_row) * layout.units + place.unit
        own.h[n], own.c[n] = call.state.h[at], call.state.c[at]
        if masked is not None:
            own.output[n] = call.state.output[at]


@njit_inline
def end(masked: Any, place: Place, call: CudaCall, layout: Layout, own: Registers) -> None:
    """The states back to the GPU's main memory."""
    for n in range(layout.rows):
        if place.row + n <= place.last_row:
            at = (place.row + n) * layout.units + place.unit
            call.state.h[at], call.state.c[at] = own.h[n], own.c[n]
            if masked is not None:
                call.state.output[at] = own.output[n]


@cache
def sequence_for(dtype: str, activation: Any, recurrent_activation: Any, with_mask: bool, layout: Layout) -> Any:
    """The kernel ``sequence`` for a cell with these activations, as cuda.function_of gives them; neither is None."""
    number, byte, like = getattr(types, dtype), types.uint8, np.dtype(dtype).type(0)
    masked = True if with_mask else None
    units, rows, x, h, offsets = layout.units, layout.rows, layout.x, layout.h, Offsets.of(layout)
    gates, inputs, shared_numbers = 4 * rows, rows * layout.inputs, layout.shared
    x_registers, h_registers = max(1, 4 * x.in_registers), max(1, 4 * h.in_registers)
    x_pieces, h_pieces = x.in_registers // PIECE, h.in_registers // PIECE
    load_x, load_h = for_each(load_piece, x_pieces, PIECE), for_each(load_piece, h_pieces, PIECE)
    multiply_x, multiply_h = for_each(from_registers, x_pieces, PIECE), for_each(from_registers, h_pieces, PIECE)
    fetch_rows, put_rows, update_rows = (for_each(part, rows) for part in (fetch, put, update))

    @cuda_kernel
    def sequence(addresses: CudaCall) -> None:
        """The rows through all timesteps, in whole groups of threads a block; h_next and z are not used."""
        uncontracted()
        call = in_memory(addresses, like)
        if SIMULATED:
            shared = cuda.shared.array(shared_numbers, number)
        else:
            shared = cuda.shared.array(shared_numbers, number, alignment=ALIGNMENT)
        variant = ResidentVariant(activation, recurrent_activation, masked, layout, multiply_x, multiply_h, update_rows)
        own = Registers(
            cuda.local.array(inputs, number),
            cuda.local.array(rows, byte),
            cuda.local.array(rows, byte),
            cuda.local.array(4, number),
            cuda.local.array(gates, number),
            RegisterSums(cuda.local.array(gates, number), cuda.local.array(gates, number)),
            cuda.local.array(rows, number),
            cuda.local.array(rows, number),
            cuda.local.array(rows, number),
            Held(cuda.local.array(x_registers, number), shared, offsets.x_weights, call.cell.kernel),
            Held(cuda.local.array(h_registers, number), shared, offsets.h_weights, call.cell.recurrent_kernel),
        )
        thread, threads = cuda.threadIdx.x, cuda.blockDim.x
        group = thread // units
        first = call.first_row + (cuda.blockIdx.x * (threads // units) + group) * rows
        place = Place(thread % units, first, call.last_row - 1)
        load(load_x, own.kernel, x, units, thread, threads)
        load(load_h, own.recurrent_kernel, h, units, thread, threads)
        begin(masked, place, call, layout, own)
        if call.timesteps > 0:
            fetch_rows(0, place, call, variant, 0, own)
        put_rows(0, place, call, variant, rows_at(shared, offsets, group, 0), own)
        cuda.syncthreads()
        for t in range(call.timesteps):
            if t + 1 < call.timesteps:
                fetch_rows(0, place, call, variant, t + 1, own)
            step(place, call, variant, t, rows_at(shared, offsets, group, t), own)
            put_rows(0, place, call, variant, rows_at(shared, offsets, group, t + 1), own)
            # Everybody has read this step's x and h and written the next one's.
            cuda.syncthreads()
        end(masked, place, call, layout, own)

    return sequence
