"""Every choice about calls on the CPU, as a function of shapes and numbers of threads."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from numba_lstm.backends.cpu import policy
from numba_lstm.kernels.arguments import Cell
from numba_lstm.kernels.pack import lanes_of, padded


@pytest.mark.parametrize(("rows", "parts", "whole"), [(0, 2, 1), (1, 4, 1), (10, 3, 3), (100, 7, 3), (5, 5, 1)])
def test_split_covers_every_row_once(rows: int, parts: int, whole: int) -> None:
    ranges = policy.split(rows, parts, whole)
    assert [row for first, last in ranges for row in range(first, last)] == list(range(rows))
    assert len(ranges) <= parts
    assert all(first % whole == 0 for first, _ in ranges)


def test_ranges_of_rows() -> None:
    """All rows once and in order, no range empty and none too many, cut at multiples where that can be had."""
    rng = np.random.default_rng(3)
    for rows, parts, whole in itertools.product((1, 2, 5, 6, 7, 13, 64), range(1, 10), (1, 6)):
        for shares in (None, np.zeros(rows, int), np.ones(rows, int), np.sort(rng.integers(0, 9, rows))[::-1]):
            ranges = policy.split(rows, parts, whole=whole, shares=shares)
            assert [row for first, last in ranges for row in range(first, last)] == list(range(rows))
            assert all(first < last for first, last in ranges) and len(ranges) <= parts
            assert all(first % whole == 0 for first, _ in ranges)
        even = [last - first for first, last in policy.split(rows, parts, whole=whole)]
        assert len(even) == min(parts, -(-rows // whole)) and max(even) - min(even) <= 2 * whole - 1


def cell(units: int = 8, input_dim: int = 5) -> Cell:
    return Cell(0, 0, 0, input_dim, units, 8, 1, 2)


def test_work_is_counted_in_multiplications() -> None:
    assert policy.work_of_step(cell(8, 5)) == 8 * 4 * (5 + 8)
    slow = [policy.slow_work_of_step(cell(8, 5), custom) for custom in (False, True)]
    assert slow == [8 * 4 * 13 + 5 * 8 * worth for worth in (policy.ACTIVATION_WORK, policy.CUSTOM_WORK)]


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("rows", [1, 5, 47, 1000])
@pytest.mark.parametrize("work", [1, 499_999, 500_000, 3_000_000, 10**10, 10**13])
def test_rows_for_threads(rows: int, work: int, threads: int) -> None:
    """Every row once; as many threads as the work is worth; and no call so long that Ctrl-C waits for it."""
    ranges = policy.row_ranges(rows, work, threads)
    assert [row for first, last in ranges for row in range(first, last)] == list(range(rows))
    if work <= policy.WORK_PER_CALL:
        assert len(ranges) <= max(1, min(threads, work // policy.WORK_PER_THREAD))
        assert len(ranges) == 1 or is_worth_two(work)
    longest = max(last - first for first, last in ranges)
    assert longest <= policy.ROWS_OF_A_TILE or longest * work // rows <= policy.WORK_PER_CALL


def is_worth_two(work: int) -> bool:
    return policy.is_for_several(work) and work >= 500_000


def test_what_is_slow_is_cut_into_more_calls() -> None:
    rows, work = 600, policy.WORK_PER_CALL
    assert len(policy.row_ranges(rows, work, 1)) == 1
    for more in ({"slowness": 8}, {"written": 7 * work // policy.WRITTEN_WORK}):
        calls = policy.row_ranges(rows, work, 1, **more)  # type: ignore[arg-type]
        assert len(calls) == 9 and {last - first for first, last in calls[:-1]} == {72}
    alone = policy.row_ranges(rows, 8 * work, 1, group=1)
    assert len(alone) == 8 and {last - first for first, last in alone} == {75}


@pytest.mark.parametrize(
    ("batch", "work", "threads", "ranges"),
    [
        (50, 7_999_999, 4, [(0, 50)]),
        (50, 16_000_000, 4, [(0, 24), (24, 50)]),
        (50, 80_000_000, 2, [(0, 24), (24, 50)]),
        (24, 4 * policy.WORK_PER_CALL, 1, [(0, 6), (6, 12), (12, 18), (18, 24)]),
    ],
)
def test_rows_of_a_session(batch: int, work: int, threads: int, ranges: Any) -> None:
    assert policy.session_ranges(batch, work, threads) == ranges


def test_stretches_of_timesteps() -> None:
    """Each as long as a call may be, and a timestep at least."""
    work = policy.WORK_PER_CALL // 10
    assert list(policy.stretches(2, 12, work)) == [(0, 5), (5, 5), (10, 2)]
    assert list(policy.stretches(100, 3, work)) == [(0, 1), (1, 1), (2, 1)]
    assert list(policy.stretches(2, 0, work)) == []


def test_two_threads_and_the_units_of_a_row() -> None:
    enough = {"units": 96, "batch": 11, "work": 10_000_000, "spans_units": False}
    assert policy.may_share_units(**enough)  # type: ignore[arg-type]
    for other in ({"units": 95}, {"batch": 12}, {"work": 9_999_999}, {"spans_units": True}):
        assert not policy.may_share_units(**{**enough, **other})  # type: ignore[arg-type]
    for units in (96, 97, 130, 512):
        blocks = padded(units, np.dtype("f4")) // lanes_of(np.dtype("f4"))
        alone, several = (policy.middle_of(units, batch, np.dtype("f4")) for batch in (1, 2))
        assert alone % 2 == 0 and 0 <= alone - blocks / 2 < 2 and 0 <= several - blocks / 2 < 1
    assert policy.patience_of(cell(100, 100), 1) == 2000 + 4 * 100 * 200 * 48 // 4000
    assert policy.patience_of(cell(100, 100), 96) == 2000 + 4 * 100 * 200 * 96 // 4000


def test_calls_side_by_side() -> None:
    assert policy.runs_side_by_side(11, 250_000)
    assert not policy.runs_side_by_side(12, 250_000) and not policy.runs_side_by_side(11, 249_999)


def test_stacked_cells_that_share_threads() -> None:
    def wave(*units: int, batch: int = 1, timesteps: int = 2000, workers: int = 2, shares: bool = False) -> Any:
        return policy.wave_of([cell(n, 64) for n in units], batch, timesteps, workers, shares)

    one = wave(64, 64)
    assert one is not None and one.workers == 2 and one.length % policy.ROWS_OF_A_TILE == 0 and 6 <= one.length < 2000
    assert wave(64, 64, batch=5) and wave(64, 64, batch=6) is None and wave(64, 64, batch=0) is None
    assert wave(64, 64, workers=1) is None and wave(64, 64, timesteps=20) is None and wave(64) is None
    assert wave(128, 4, timesteps=20_000) is None, "one layer has nearly all of the work"
    assert wave(256, 256, shares=True) is None and wave(256, 256, workers=3, shares=True)
    assert wave(256, 191, shares=True) and wave(256, 256, shares=False)
