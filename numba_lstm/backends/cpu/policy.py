"""Every choice about calls on the CPU, as functions of shapes and numbers of threads alone; `run` makes the calls.

Work is counted in multiplications.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from numba_lstm.kernels.arguments import Cell
from numba_lstm.kernels.pack import Array, lanes_of, padded

# Rows that share one pass over the weights: their scratch stays in the first-level cache. Rows of one tile.
GROUP, ROWS_OF_A_TILE = 48, 6

# What a thread must have to be worth waking, and what one kernel call does before Ctrl-C is looked at.
WORK_PER_THREAD = 250_000
WORK_PER_CALL = 2_000_000_000
# Shapes of small inputs for which a model, and a cell, keep plans.
MOST_SHAPES = 16
# What one activation is worth: a built-in one, and at worst one that the user wrote; and a number written to new
# memory, where the system is slow to hand out pages.
ACTIVATION_WORK, CUSTOM_WORK, WRITTEN_WORK = 16, 640, 250
# How many times longer a layer normalization takes than its work says.
NORMALIZATION_SLOWNESS = 8

# Cells whose units two threads share: the least units, the most rows, the least work.
LEAST_UNITS_OF_TWO, MOST_ROWS_OF_TWO, WORK_OF_TWO = 96, 11, 10_000_000
# Rounds of waiting for the other thread, some 20 ns each, for the shortest of steps.
PATIENCE = 2000

# Stacked cells: work that takes as long as going from one stretch to the next, and what a wavefront costs besides.
# Layers of that many units and more are shared by two threads better one by one, each with half of the units.
WORK_PER_HANDOVER, WORK_PER_WAVEFRONT, LEAST_UNITS_OF_TWO_IN_A_STACK = 500_000, 12_000_000, 192

# What a thread must have in one step of a session: handing it over takes as long as a quarter of it.
WORK_PER_THREAD_OF_A_SESSION = 8_000_000

# Memory that the sums over x of a record may take, when its windows share them; and outputs between stacked cells that
# are kept at a time: a long sequence goes through all of them in parts.
BYTES_OF_SUMS, BYTES_BETWEEN = 64 << 20, 32 << 20


def work_of_step(cell: Cell) -> int:
    """The work of one row's timestep."""
    return 4 * cell.units * (cell.input_dim + cell.units)


def slow_work_of_step(cell: Cell, custom: bool) -> int:
    """The work of a timestep by the time that it takes at worst; custom: whether an activation is the user's own."""
    return work_of_step(cell) + 5 * cell.units * (CUSTOM_WORK if custom else ACTIVATION_WORK)


def is_for_several(work: int) -> bool:
    """Whether this is enough work for more than one thread."""
    return work >= 2 * WORK_PER_THREAD


def split(rows: int, parts: int, whole: int = 1, shares: Any = None) -> list[tuple[int, int]]:
    """Ranges of rows, as even as multiples of ``whole`` allow, at most ``parts`` of them.

    shares: (rows,) the work of each row, if that differs; then the ranges are about even in work.
    """
    units = -(-rows // whole)
    parts = max(1, min(parts, units))
    edges = [min(rows, units * part // parts * whole) for part in range(parts + 1)]
    if shares is not None and parts > 1:
        done = list(itertools.accumulate(shares.tolist(), initial=0))
        cuts = [bisect.bisect_left(done, done[-1] * part / parts) for part in range(1, parts)]
        edges = sorted({0, *(min(rows, round(cut / whole) * whole) for cut in cuts), rows})
    return list(itertools.pairwise(edges))


def row_ranges(
    rows: int,
    work: int,
    threads: int,
    shares: Array | None = None,
    slowness: int = 1,
    group: int = ROWS_OF_A_TILE,
    written: int = 0,
) -> list[tuple[int, int]]:
    """Row ranges for the threads that the work is worth, several per thread if it is long.

    shares: of each row in the work. slowness: how much longer than multiplications it takes. group: rows that are
    better not parted. written: numbers written in all.
    """
    slow_work = max(1, work * slowness + written * WRITTEN_WORK)
    parts = min(threads, work // WORK_PER_THREAD) if is_for_several(work) else 1
    if parts == 1 and slow_work <= WORK_PER_CALL:
        return [(0, rows)]
    # Of a few rows an even share counts for more than full tiles.
    whole = ROWS_OF_A_TILE if rows >= 4 * ROWS_OF_A_TILE * parts else 1
    at_once = max(1, WORK_PER_CALL * rows // slow_work // group) * group
    return [
        (row, min(row + at_once, last))
        for first, last in split(rows, parts, whole=whole, shares=shares)
        for row in range(first, last, at_once)
    ]


def session_ranges(batch: int, work: int, threads: int) -> list[tuple[int, int]]:
    """Row ranges for one step of a session: one per thread that is worth it, more if it is very long."""
    parts = max(min(threads, work // WORK_PER_THREAD_OF_A_SESSION), -(-work // WORK_PER_CALL))
    return split(batch, parts, whole=ROWS_OF_A_TILE)


def stretches(rows: int, timesteps: int, slow_work: int) -> Iterator[tuple[int, int]]:
    """The first timestep and the number of timesteps of each kernel call; slow_work: of one row's timestep."""
    length = max(1, WORK_PER_CALL // (rows * slow_work))
    for start in range(0, timesteps, length):
        yield start, min(length, timesteps - start)


def may_share_units(units: int, batch: int, work: int, spans_units: bool) -> bool:
    """Whether two threads that share the units are better than one, or than a share of the rows each."""
    return work >= WORK_OF_TWO and units >= LEAST_UNITS_OF_TWO and batch <= MOST_ROWS_OF_TWO and not spans_units


def middle_of(units: int, batch: int, dtype: Any) -> int:
    """The first block of units that is the helper's. One row takes its blocks two by two."""
    blocks = padded(units, dtype) // lanes_of(dtype)
    return -(-blocks // 4) * 2 if batch == 1 else -(-blocks // 2)


def patience_of(cell: Cell, batch: int) -> int:
    """Rounds of waiting: about half as long as the other may need for all that it does between two meetings."""
    return PATIENCE + work_of_step(cell) * max(GROUP, batch) // 4000


def runs_side_by_side(rows: int, work: int) -> bool:
    """Whether independent calls on `rows` rows get a thread each: the rows are too few to be shared instead."""
    return rows < 2 * ROWS_OF_A_TILE and work >= WORK_PER_THREAD


class Wave(NamedTuple):
    """How stacked cells share threads."""

    length: int  # timesteps that a thread takes of one cell at once
    workers: int


def wave_of(cells: list[Cell], batch: int, timesteps: int, workers: int, can_share_units: bool) -> Wave | None:
    """How stacked cells share `workers` threads; None if there is too little to gain, or rows or units are shared.

    can_share_units: whether `may_share_units` holds of every cell.
    """
    # A thread alone with two or three rows of five takes nearly as long as with all of them.
    if workers < 2 or not 0 < batch < ROWS_OF_A_TILE:
        return None
    works = [work_of_step(cell) * batch * timesteps for cell in cells]
    saved = sum(works) - max(max(works), sum(works) // workers)
    if saved < max(WORK_PER_WAVEFRONT, sum(works) // 8):
        return None
    if workers == 2 and can_share_units and all(cell.units >= LEAST_UNITS_OF_TWO_IN_A_STACK for cell in cells):
        return None
    # The more stretches the sooner the next layer starts, and the more often threads change hands.
    length = -(-timesteps // max(1, math.isqrt(max(works) // WORK_PER_HANDOVER)))
    return Wave(-(-length // ROWS_OF_A_TILE) * ROWS_OF_A_TILE, workers)
