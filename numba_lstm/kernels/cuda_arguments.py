"""The arguments of the CUDA kernels: one tuple, of addresses at the entry and of memory within."""

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
    z: Any  # scratch (batch, 4, units) where an activation needs all units of a row
    # (row, timestep) -> units numbers, written at every step with return_sequences; otherwise not touched (the last
    # output is in state.output with a mask, in state.h without).
    outputs: Window
    options: Options


@njit_inline
def _window(window: Window, like: Any) -> Window:
    return Window(global_memory(window.memory, like), window.start, window.row_stride, window.time_stride)


@njit_inline
def _masks(masks: Masks, like: Any) -> Masks:
    return Masks(global_memory(masks.memory, like), masks.number, masks.batch)


@njit_inline
def _cell(cell: Cell, like: Any) -> Cell:
    return Cell(
        global_memory(cell.kernel, like),
        global_memory(cell.recurrent_kernel, like),
        global_memory(cell.bias, like),
        cell.input_dim,
        cell.units,
        cell.block_length,
        cell.activation,
        cell.recurrent_activation,
    )


@njit_inline
def in_memory(call: CudaCall, like: Any) -> CudaCall:
    """The call with the memory at each address: of numbers like ``like``, and of bytes."""
    state = call.state
    return CudaCall(
        call.first_row,
        call.last_row,
        call.timesteps,
        _cell(call.cell, like),
        _window(call.inputs, like),
        _window(call.mask, BYTE),
        _masks(call.dropout, like),
        _masks(call.recurrent_dropout, like),
        State(global_memory(state.h, like), global_memory(state.c, like), global_memory(state.output, like)),
        global_memory(call.h_next, like),
        global_memory(call.z, like),
        _window(call.outputs, like),
        call.options,
    )


@njit_inline
def skips(masked: Any, mask: Window, row: int, t: int) -> Any:
    """Whether the timestep of a row does not count; masked: None where there is no mask."""
    if masked is None:
        return False
    return mask.memory[mask.start + row * mask.row_stride + t * mask.time_stride] == 0
