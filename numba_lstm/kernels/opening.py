"""The record of a call read into the tuples of arguments.py, and the addresses in them made into memory.

``likes`` are numbers that tell what memory holds: one of the cell's dtype; one of what the weights are kept as: the
same, or uint16 for bf16, or uint32 for words of two bf16; and uint16 with such words, because inputs and h are rounded
too, otherwise as the first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_lstm.kernels.arguments import (
    ActivationCall,
    Call,
    Cell,
    DenseCall,
    Masks,
    Options,
    Scratch,
    StandardizeCall,
    State,
    SumsCall,
    Team,
    Window,
)
from numba_lstm.kernels.jit import njit_merged
from numba_lstm.kernels.simd import memory_at


@njit_merged
def open_cell(cell: Any, like: Any, kept: Any) -> Cell:
    """A cell's kernels are of kept's dtype, its bias of like's; ``cell`` has the fields of a Cell, and maybe others."""
    return Cell(
        memory_at(cell.kernel, kept),
        memory_at(cell.recurrent_kernel, kept),
        memory_at(cell.bias, like),
        cell.input_dim,
        cell.units,
        cell.block_length,
        cell.activation,
        cell.recurrent_activation,
    )


@njit_merged
def open_window(window: Window, like: Any) -> Window:
    """Numbers of like's dtype by row and timestep."""
    return Window(memory_at(window.memory, like), window.start, window.row_stride, window.time_stride)


@njit_merged
def open_masks(masks: Masks, like: Any) -> Masks:
    """Dropout masks of like's dtype."""
    return Masks(memory_at(masks.memory, like), masks.number, masks.batch)


@njit_merged
def open_scratch(scratch: Scratch, like: Any, taken: Any) -> Scratch:
    """Scratch memory of like's dtype, but for operands, of taken's, and the bytes of skip."""
    return Scratch(
        scratch.group,
        scratch.ahead,
        memory_at(scratch.z, like),
        memory_at(scratch.partial, like),
        memory_at(scratch.x, taken),
        memory_at(scratch.h, taken),
        memory_at(scratch.h_next, like),
        memory_at(scratch.c, like),
        memory_at(scratch.skip, np.uint8(0)),
    )


@njit_merged
def read_cell(record: Any, at: int) -> Cell:
    """The Cell whose numbers begin at ``at``."""
    return Cell(
        int(record[at]),
        int(record[at + 1]),
        int(record[at + 2]),
        int(record[at + 3]),
        int(record[at + 4]),
        int(record[at + 5]),
        int(record[at + 6]),
        int(record[at + 7]),
    )


@njit_merged
def read_window(record: Any, at: int) -> Window:
    """The Window whose numbers begin at ``at``."""
    return Window(int(record[at]), int(record[at + 1]), int(record[at + 2]), int(record[at + 3]))


@njit_merged
def read_masks(record: Any, at: int) -> Masks:
    """The Masks whose numbers begin at ``at``."""
    return Masks(int(record[at]), int(record[at + 1]), int(record[at + 2]))


@njit_merged
def read_state(record: Any, at: int) -> State:
    """The State whose numbers begin at ``at``."""
    return State(int(record[at]), int(record[at + 1]), int(record[at + 2]))


@njit_merged
def read_options(record: Any, at: int) -> Options:
    """The Options whose numbers begin at ``at``."""
    return Options(bool(record[at]), bool(record[at + 1]), bool(record[at + 2]), int(record[at + 3]))


@njit_merged
def read_scratch(record: Any, at: int) -> Scratch:
    """The Scratch whose numbers begin at ``at``."""
    return Scratch(
        int(record[at]),
        int(record[at + 1]),
        int(record[at + 2]),
        int(record[at + 3]),
        int(record[at + 4]),
        int(record[at + 5]),
        int(record[at + 6]),
        int(record[at + 7]),
        int(record[at + 8]),
    )


@njit_merged
def read_team(record: Any, at: int) -> Team:
    """The Team whose numbers begin at ``at``."""
    return Team(int(record[at]), bool(record[at + 1]), int(record[at + 2]), int(record[at + 3]), int(record[at + 4]))


@njit_merged
def read_call(record: Any) -> Call:
    """The whole of it, with addresses."""
    return Call(
        int(record[0]),
        int(record[1]),
        int(record[2]),
        read_cell(record, 3),
        read_window(record, 11),
        read_window(record, 15),
        read_window(record, 19),
        read_masks(record, 23),
        read_masks(record, 26),
        read_state(record, 29),
        read_window(record, 32),
        read_options(record, 36),
        read_scratch(record, 40),
        read_team(record, 49),
    )


@njit_merged
def open_call(address: int, likes: Any) -> Call:
    """The call whose record is at ``address``, with memory in place of addresses but for the team's and the order's."""
    like, kept, taken = likes
    call = read_call(memory_at(address, np.int64(0)))
    state = call.state
    return Call(
        call.first_row,
        call.last_row,
        call.timesteps,
        open_cell(call.cell, like, kept),
        open_window(call.inputs, like),
        open_window(call.sums, like),
        open_window(call.mask, np.uint8(0)),
        open_masks(call.dropout, like),
        open_masks(call.recurrent_dropout, like),
        State(memory_at(state.h, like), memory_at(state.c, like), memory_at(state.output, like)),
        open_window(call.outputs, like),
        call.options,
        open_scratch(call.scratch, like, taken),
        call.team,
    )


@njit_merged
def open_sums_call(address: int, likes: Any) -> SumsCall:
    """The same for a call of sums.input_sums_of_all."""
    like, kept, taken = likes
    record = memory_at(address, np.int64(0))
    return SumsCall(
        int(record[0]),
        int(record[1]),
        int(record[2]),
        memory_at(int(record[3]), like),
        memory_at(int(record[4]), taken),
        open_cell(read_cell(record, 5), like, kept),
        open_window(read_window(record, 13), like),
        open_window(read_window(record, 17), like),
    )


@njit_merged
def open_dense_call(address: int, like: Any) -> DenseCall:
    """The same for a call of dense.dense."""
    record = memory_at(address, np.int64(0))
    return DenseCall(
        int(record[0]),
        int(record[1]),
        int(record[2]),
        int(record[3]),
        int(record[4]),
        int(record[5]),
        memory_at(int(record[6]), like),
        memory_at(int(record[7]), like),
        memory_at(int(record[8]), like),
        memory_at(int(record[9]), like),
        memory_at(int(record[10]), like),
        memory_at(int(record[11]), like),
    )


@njit_merged
def open_activation_call(address: int, like: Any) -> ActivationCall:
    """The same for a call of dense.activate or dense.normalize_rows."""
    record = memory_at(address, np.int64(0))
    return ActivationCall(
        int(record[0]),
        int(record[1]),
        int(record[2]),
        int(record[3]),
        memory_at(int(record[4]), like),
        memory_at(int(record[5]), like),
        memory_at(int(record[6]), like),
    )


@njit_merged
def open_standardize_call(address: int, like: Any) -> StandardizeCall:
    """The same for a call of dense.standardize_rows."""
    record, exact = memory_at(address, np.int64(0)), np.float64(0)
    return StandardizeCall(
        int(record[0]),
        int(record[1]),
        int(record[2]),
        memory_at(int(record[3]), exact),
        memory_at(int(record[4]), exact),
        memory_at(int(record[5]), exact),
        memory_at(int(record[6]), like),
        memory_at(int(record[7]), like),
    )
