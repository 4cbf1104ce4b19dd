"""The choices of `policy` for the threads that the calling one may use."""

from __future__ import annotations

from numba_lstm.backends.cpu import policy, threads
from numba_lstm.backends.cpu.packing import PackedCell, spans_units
from numba_lstm.kernels.pack import Array


def row_ranges(rows: int, work: int, shares: Array | None = None, **slowness: int) -> list[tuple[int, int]]:
    """`policy.row_ranges`."""
    number = threads.usable() if policy.is_for_several(work) else 1
    return policy.row_ranges(rows, work, number, shares, **slowness)


def shares_units(cell: PackedCell, batch: int, work: int) -> bool:
    """Whether two threads take half of the units each."""
    return policy.may_share_units(cell.cell.units, batch, work, spans_units(cell)) and threads.usable() > 1
