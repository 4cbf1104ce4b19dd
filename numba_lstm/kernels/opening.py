"""The tuples of arguments.py with addresses made into the same tuples with the memory at them."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_lstm.kernels.arguments import Cell, Masks, Scratch, Window
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
