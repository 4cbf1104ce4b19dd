"""The CUDA kernels for small cells: as in cuda.py, ``step`` is a timestep and ``sequence`` all of them.

Weights stay in registers and shared memory for the whole sequence and c in registers. Shared memory holds h and x of
two timesteps, so that threads synchronize once per timestep: they read those of one timestep while they write those of
the next. The sums, the equations and the activations are those of cuda.py, and so are the bits.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba.core import types

from numba_lstm.kernels import equations
from numba_lstm.kernels.arguments import Masks
from numba_lstm.kernels.cuda_arguments import CudaCall, is_skipped, with_memory
from numba_lstm.kernels.cuda_layout import Layout, Offsets
from numba_lstm.kernels.cuda_resident_products import (
    UNROLL,
    Function,
    Product,
    RegisterSums,
    Weights,
    load,
    load_registers,
    multiply,
    multiply_registers,
    unrolled,
)
from numba_lstm.kernels.cuda_target import ALIGNMENT, SIMULATED, cuda, cuda_kernel, uncontracted, unsigned
from numba_lstm.kernels.jit import njit_inline
from numba_lstm.kernels.ops import constant


class ResidentVariant(NamedTuple):
    """The constants that a kernel is compiled for."""

    activation: Any  # functions of one number
    recurrent_activation: Any
    has_mask: Any  # None where there is no mask of timesteps, which is then not compiled in
    layout: Layout
    multiply_x: Function  # multiply_registers for every UNROLL k of x
    multiply_h: Function  # and of h
    update_rows: Function  # update for each row


class Thread(NamedTuple):
    """The unit and the rows of a thread."""

    unit: int
    row: int  # the first, by its number in the batch
    last_row: int  # of the batch; it is repeated where a thread has more rows than there are


class SharedRows(NamedTuple):
    """A block's shared memory, and the offsets of a group's rows of one timestep in it."""

    memory: Any
    x: Any
    h: Any


class Registers(NamedTuple):
    """A thread's registers."""

    x: Any  # of the next step, [row][input]: those that the thread copies to shared memory
    mask: Any  # [row], nonzero where the step counts
    mask_next: Any  # [row], of the next step
    bias: Any  # [gate]
    z: Any  # [row][gate]
    sums: RegisterSums
    h: Any  # [row]
    c: Any  # [row]
    output: Any  # [row]
    kernel: Weights
    recurrent_kernel: Weights


@njit_inline
def rows_at(shared: Any, offsets: Offsets, group: int, t: int) -> SharedRows:
    """The rows of a group at a timestep."""
    parity = unsigned(t % 2)
    x, h = unsigned(offsets.x + group * offsets.x_group), unsigned(offsets.h + group * offsets.h_group)
    return SharedRows(shared, x + parity * offsets.x_timestep, h + parity * offsets.h_timestep)


@njit_inline
def fetch(n_row: int, thread: Thread, call: CudaCall, variant: ResidentVariant, t: int, registers: Registers) -> None:
    """Read the inputs and the mask of a timestep, of row n_row of the thread."""
    layout, inputs = variant.layout, call.inputs
    row = min(thread.row + n_row, thread.last_row)
    start = inputs.start + row * inputs.row_stride + t * inputs.time_stride
    for n in range(layout.inputs):
        k = n * layout.units + thread.unit
        if k < layout.x.depth:
            registers.x[layout.inputs * n_row + n] = inputs.memory[start + k]
    if variant.has_mask is not None:
        registers.mask_next[n_row] = 0 if is_skipped(variant.has_mask, call.mask, row, t) else 1


@njit_inline
def dropout_factor(masks: Masks, gate: int, row: int, width: int, at: int) -> Any:
    """A number of a dropout mask."""
    return masks.memory[(gate * masks.batch + row) * width + at]


@njit_inline
def share(
    n_row: int, thread: Thread, call: CudaCall, variant: ResidentVariant, shared: SharedRows, registers: Registers
) -> None:
    """Write the fetched inputs and h of row n_row to shared memory, times the dropout masks."""
    layout = variant.layout
    row = min(thread.row + n_row, thread.last_row)
    for copy in range(layout.x.copies):
        for n in range(layout.inputs):
            k = n * layout.units + thread.unit
            if k < layout.x.depth:
                x = registers.x[layout.inputs * n_row + n]
                if layout.x.masks > 0:
                    x = x * dropout_factor(call.dropout, copy, row, layout.x.depth, k)
                shared.memory[shared.x + unsigned((copy * layout.rows + n_row) * layout.x.width + k)] = x
    for copy in range(layout.h.copies):
        h = registers.h[n_row]
        if layout.h.masks > 0:
            h = h * dropout_factor(call.recurrent_dropout, copy, row, layout.units, thread.unit)
        shared.memory[shared.h + unsigned((copy * layout.rows + n_row) * layout.h.width + thread.unit)] = h
    if variant.has_mask is not None:
        registers.mask[n_row] = registers.mask_next[n_row]


@njit_inline
def update(n_row: int, thread: Thread, call: CudaCall, variant: ResidentVariant, t: int, registers: Registers) -> None:
    """Update c, h and the output of row n_row from its z."""
    n, z = 4 * n_row, registers.z
    c, h = equations.update(
        z[n], z[n + 1], z[n + 2], z[n + 3], registers.c[n_row], variant.activation, variant.recurrent_activation
    )
    if variant.has_mask is None or registers.mask[n_row] != 0:
        registers.c[n_row], registers.h[n_row], registers.output[n_row] = c, h, h
    elif call.options.zero_output_for_mask:
        registers.output[n_row] = constant(h, 0.0)
    row, to = thread.row + n_row, call.outputs
    if call.options.return_sequences and row <= thread.last_row:
        to.memory[to.start + row * to.row_stride + t * to.time_stride + thread.unit] = registers.output[n_row]


@njit_inline
def any_counts(has_mask: Any, mask: Any, rows: int) -> bool:
    """Whether the step counts in one of the rows."""
    if has_mask is None:
        return True
    counting = 0
    for n in range(rows):
        counting += mask[n]
    return counting != 0


@njit_inline
def step(
    thread: Thread, call: CudaCall, variant: ResidentVariant, t: int, shared: SharedRows, registers: Registers
) -> None:
    """One timestep of a thread's unit and rows: z, sums, h, c and output of its registers, and call.outputs."""
    layout, z = variant.layout, registers.z
    if any_counts(variant.has_mask, registers.mask, layout.rows):
        zero, sums = constant(registers.bias[0], 0.0), registers.sums
        product = Product(sums, zero, shared.x, registers.kernel, layout, layout.x, thread.unit)
        multiply(variant.multiply_x, product)
        for n in range(4 * layout.rows):
            z[n] = registers.bias[n % 4] + sums.total[n]
        product = Product(sums, zero, shared.h, registers.recurrent_kernel, layout, layout.h, thread.unit)
        multiply(variant.multiply_h, product)
        for n in range(4 * layout.rows):
            z[n] = z[n] + sums.total[n]
    variant.update_rows(0, thread, call, variant, t, registers)


@njit_inline
def load_state(has_mask: Any, thread: Thread, call: CudaCall, layout: Layout, registers: Registers) -> None:
    """Load the bias and the states of a thread's unit and rows."""
    for gate in range(4):
        registers.bias[gate] = call.cell.bias[gate * layout.units + thread.unit]
    for n in range(layout.rows):
        at = min(thread.row + n, thread.last_row) * layout.units + thread.unit
        registers.h[n], registers.c[n] = call.state.h[at], call.state.c[at]
        if has_mask is not None:
            registers.output[n] = call.state.output[at]


@njit_inline
def store_state(has_mask: Any, thread: Thread, call: CudaCall, layout: Layout, registers: Registers) -> None:
    """Store the states in global memory."""
    for n in range(layout.rows):
        if thread.row + n <= thread.last_row:
            at = (thread.row + n) * layout.units + thread.unit
            call.state.h[at], call.state.c[at] = registers.h[n], registers.c[n]
            if has_mask is not None:
                call.state.output[at] = registers.output[n]


@cache
def sequence_kernel(dtype: str, activation: Any, recurrent_activation: Any, with_mask: bool, layout: Layout) -> Any:
    """The kernel ``sequence`` for a cell with these activations, see cuda.activation_function; neither is None."""
    number, byte, zero = getattr(types, dtype), types.uint8, np.dtype(dtype).type(0)
    has_mask = True if with_mask else None
    units, rows, x, h, offsets = layout.units, layout.rows, layout.x, layout.h, Offsets.of(layout)
    gates, inputs, shared_numbers = 4 * rows, rows * layout.inputs, layout.shared
    x_registers, h_registers = max(1, 4 * x.in_registers), max(1, 4 * h.in_registers)
    load_x, load_h = (unrolled(load_registers, each.in_registers // UNROLL, UNROLL) for each in (x, h))
    multiply_x, multiply_h = (unrolled(multiply_registers, each.in_registers // UNROLL, UNROLL) for each in (x, h))
    fetch_rows, share_rows, update_rows = (unrolled(function, rows) for function in (fetch, share, update))

    @cuda_kernel
    def sequence(addresses: CudaCall) -> None:
        """Run rows through all timesteps, in whole groups of threads per block; h_next and z are not used."""
        uncontracted()
        call = with_memory(addresses, zero)
        if SIMULATED:
            shared = cuda.shared.array(shared_numbers, number)
        else:
            shared = cuda.shared.array(shared_numbers, number, alignment=ALIGNMENT)
        variant = ResidentVariant(
            activation, recurrent_activation, has_mask, layout, multiply_x, multiply_h, update_rows
        )
        registers = Registers(
            cuda.local.array(inputs, number),
            cuda.local.array(rows, byte),
            cuda.local.array(rows, byte),
            cuda.local.array(4, number),
            cuda.local.array(gates, number),
            RegisterSums(cuda.local.array(gates, number), cuda.local.array(gates, number)),
            cuda.local.array(rows, number),
            cuda.local.array(rows, number),
            cuda.local.array(rows, number),
            Weights(cuda.local.array(x_registers, number), shared, offsets.x_weights, call.cell.kernel),
            Weights(cuda.local.array(h_registers, number), shared, offsets.h_weights, call.cell.recurrent_kernel),
        )
        thread_number, threads = cuda.threadIdx.x, cuda.blockDim.x
        group = thread_number // units
        first = call.first_row + (cuda.blockIdx.x * (threads // units) + group) * rows
        thread = Thread(thread_number % units, first, call.last_row - 1)
        load(load_x, registers.kernel, x, units, thread_number, threads)
        load(load_h, registers.recurrent_kernel, h, units, thread_number, threads)
        load_state(has_mask, thread, call, layout, registers)
        if call.timesteps > 0:
            fetch_rows(0, thread, call, variant, 0, registers)
        share_rows(0, thread, call, variant, rows_at(shared, offsets, group, 0), registers)
        cuda.syncthreads()
        for t in range(call.timesteps):
            if t + 1 < call.timesteps:
                fetch_rows(0, thread, call, variant, t + 1, registers)
            step(thread, call, variant, t, rows_at(shared, offsets, group, t), registers)
            share_rows(0, thread, call, variant, rows_at(shared, offsets, group, t + 1), registers)
            # All threads have read this step's x and h and written the next one's.
            cuda.syncthreads()
        store_state(has_mask, thread, call, layout, registers)

    return sequence
