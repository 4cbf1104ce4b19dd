"""The record of a call read into the tuples of arguments.py, and the addresses in them made into memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_lstm.kernels.arguments import Call, Cell, Masks, Options, Scratch, State, Team, Window
from numba_lstm.kernels.jit import inlined
from numba_lstm.kernels.simd import memory_at


@inlined
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


@inlined
def open_window(window: Window, like: Any) -> Window:
    """Numbers of like's dtype by row and timestep."""
    return Window(memory_at(window.memory, like), window.start, window.row_stride, window.time_stride)


@inlined
def open_masks(masks: Masks, like: Any) -> Masks:
    """Dropout masks of like's dtype."""
    return Masks(memory_at(masks.memory, like), masks.number, masks.batch)


@inlined
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


@inlined
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


@inlined
def read_window(record: Any, at: int) -> Window:
    """The Window whose numbers begin at ``at``."""
    return Window(int(record[at]), int(record[at + 1]), int(record[at + 2]), int(record[at + 3]))


@inlined
def read_masks(record: Any, at: int) -> Masks:
    """The Masks whose numbers begin at ``at``."""
    return Masks(int(record[at]), int(record[at + 1]), int(record[at + 2]))


@inlined
def read_state(record: Any, at: int) -> State:
    """The State whose numbers begin at ``at``."""
    return State(int(record[at]), int(record[at + 1]), int(record[at + 2]))


@inlined
def read_options(record: Any, at: int) -> Options:
    """The Options whose numbers begin at ``at``."""
    return Options(bool(record[at]), bool(record[at + 1]), bool(record[at + 2]), int(record[at + 3]))


@inlined
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


@inlined
def read_team(record: Any, at: int) -> Team:
    """The Team whose numbers begin at ``at``."""
    return Team(int(record[at]), bool(record[at + 1]), int(record[at + 2]), int(record[at + 3]), int(record[at + 4]))


@inlined
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
