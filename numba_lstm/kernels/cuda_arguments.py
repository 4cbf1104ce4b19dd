"""The arguments of the CUDA kernels: one tuple, with addresses at the entry point and memory inside the kernel."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from numba_lstm.kernels.arguments import Cell, Masks, Options, State, Window
from numba_lstm.kernels.jit import njit_inline
from numba_lstm.kernels.simd import global_memory

BYTE = np.uint8(0)


class CudaCall(NamedTuple):
    """A call of a kernel ``sequence``: rows [first_row, last_row) through all timesteps. All memory is the GPU's."""

    first_row: int
    last_row: int
    timesteps: int
    cell: Cell  # weights in Keras's own layout
    inputs: Window  # (row, timestep) -> input_dim numbers; read only
    mask: Window  # (row, timestep) -> a byte, nonzero where the step counts; read only
    dropout: Masks
    recurrent_dropout: Masks
    state: State  # of the whole batch, (batch, units) each; updated
    h_next: Any  # scratch (batch, units); of the general kernels only
    z: Any  # scratch (batch, 4, units) where an activation normalizes a row
    # (row, timestep) -> units numbers, written at every step with return_sequences; otherwise not touched (the last
    # output is in state.output with a mask, in state.h without).
    outputs: Window
    options: Options


@njit_inline
def _window(window: Window, zero: Any) -> Window:
    return Window(global_memory(window.memory, zero), window.start, window.row_stride, window.time_stride)


@njit_inline
def _masks(masks: Masks, zero: Any) -> Masks:
    return Masks(global_memory(masks.memory, zero), masks.number, masks.batch)


@njit_inline
def _cell(cell: Cell, zero: Any) -> Cell:
    return Cell(
        global_memory(cell.kernel, zero),
        global_memory(cell.recurrent_kernel, zero),
        global_memory(cell.bias, zero),
        cell.input_dim,
        cell.units,
        cell.block_length,
        cell.activation,
        cell.recurrent_activation,
    )


@njit_inline
def with_memory(call: CudaCall, zero: Any) -> CudaCall:
    """The call with memory in place of each address: numbers of the type of ``zero``, and bytes for the mask."""
    state = call.state
    return CudaCall(
        call.first_row,
        call.last_row,
        call.timesteps,
        _cell(call.cell, zero),
        _window(call.inputs, zero),
        _window(call.mask, BYTE),
        _masks(call.dropout, zero),
        _masks(call.recurrent_dropout, zero),
        State(global_memory(state.h, zero), global_memory(state.c, zero), global_memory(state.output, zero)),
        global_memory(call.h_next, zero),
        global_memory(call.z, zero),
        _window(call.outputs, zero),
        call.options,
    )


@njit_inline
def is_skipped(has_mask: Any, mask: Window, row: int, t: int) -> Any:
    """Whether the mask skips the timestep of a row; has_mask: None where there is no mask."""
    if has_mask is None:
        return False
    return mask.memory[mask.start + row * mask.row_stride + t * mask.time_stride] == 0
