"""How a cell's sequence is launched: the kernel of the tier that choice.py names, and its blocks of threads."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from numba_lstm.backends.cuda import choice
from numba_lstm.backends.cuda.card import Card
from numba_lstm.kernels import cuda, cuda_resident
from numba_lstm.kernels.arguments import Cell

THREADS = 128  # of a block of the portable tier, at most


class Launch(NamedTuple):
    """A kernel and its grid; all of them take the same arguments."""

    tier: choice.Tier
    kernel: Any
    blocks: int
    threads: int


def launch_for(
    card: Card,
    cell: Cell,
    dtype: np.dtype[Any],
    activation: Any,
    recurrent_activation: Any,
    batch: int,
    masked: bool,
    dropout: tuple[int, int],
    rows: int | None = None,
) -> Launch:
    """The launch for so many rows.

    activation, recurrent_activation: as cuda.function_of gives them. dropout: masks of x and of h, 0, 1 or 4 each.
    rows: that a thread takes; by default as choice.rows_of_block has them. Raises `ConfigError` for a forced tier that
    does not take the cell.
    """
    over_units, dropped = activation is None or recurrent_activation is None, any(dropout)
    shape = choice.CellShape(cell.units, cell.input_dim, dtype.name, over_units)
    tier = choice.tier_for(shape)
    if rows is None:
        rows = choice.rows_of_block(batch, card.processors, choice.most_rows(tier, dtype.name, dropped, over_units))
    if tier.name == "portable":
        kernel = cuda.sequence_for(dtype.name, activation, recurrent_activation, masked, dropped, rows)
        threads = min(THREADS, -(-cell.units // card.threads) * card.threads)
        return Launch(tier, kernel, -(-batch // rows), threads)
    layout = choice.layout_for(shape, cell.block_length, rows, *dropout)
    kernel = cuda_resident.sequence_for(dtype.name, activation, recurrent_activation, masked, layout)
    groups = min(layout.groups, max(1, batch // (layout.rows * card.processors)))
    return Launch(tier, kernel, -(-batch // (layout.rows * groups)), groups * cell.units)
