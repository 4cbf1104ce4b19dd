"""The plan of a run: chunks of rows, and the memory that a row takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.running import a_model

from numba_lstm import LSTM, Dense, Sequential
from numba_lstm.runner.plan import Need, chunks, need_of, row_range, rows_on_gpus, rows_per_chunk


def test_chunks() -> None:
    assert list(chunks(0, 10, 4)) == [(0, 4), (4, 8), (8, 10)]
    assert list(chunks(3, 4, 100)) == [(3, 4)]
    assert list(chunks(0, 0, 5)) == [(0, 0)]


@given(first=st.integers(0, 50), count=st.integers(1, 60), size=st.integers(1, 70))
def test_chunks_cover_every_row_once(first: int, count: int, size: int) -> None:
    covered = [row for start, stop in chunks(first, first + count, size) for row in range(start, stop)]
    assert covered == list(range(first, first + count))


def test_row_range() -> None:
    assert row_range(None, 9, "x.npy") == (0, 9)
    assert row_range((2, None), 9, "x.npy") == (2, 9)
    assert row_range((2, 5), 9, "x.npy") == (2, 5)


def test_rows_per_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba_lstm.runner.plan.memory_in_use", lambda: 100 * 2**20)
    few: dict[str, Any] = {"name": "x.npy", "batch_rows": None, "max_memory": None, "to_come": 160 * 2**20}
    assert rows_per_chunk(10, 1000, **few) == 10
    assert rows_per_chunk(10**9, 2**20, **few) == 64
    assert rows_per_chunk(10**9, 2**10, **few) == 64 * 2**10
    assert rows_per_chunk(10**9, 2**30, **few) == 64
    assert rows_per_chunk(10**9, 2**30, **{**few, "batch_rows": 3}) == 3
    assert rows_per_chunk(10**9, 2**20, **{**few, "max_memory": 270 * 2**20}) == 10
    assert rows_per_chunk(10**9, 2**20, **{**few, "max_memory": 270 * 2**20, "batch_rows": 3}) == 3


def test_rows_on_gpus() -> None:
    def rows(count: int, free: int = 1 << 40, workers: int = 3, **need: int) -> int:
        needed = Need(**{"memory": 1000, "transfer": 200, "gpu": 500, **need})
        return rows_on_gpus(count, needed, workers=workers, free=free, each=3)

    assert rows(10**9) == (128 << 20) // 200
    assert rows(10**9, memory=10_000) == (1 << 30) // 10_000
    assert rows(10**9, transfer=1 << 30) == 64
    assert rows(60_000) == 10_000
    assert rows(60_000, workers=6) == 5000
    assert rows(6000) == 1024
    assert rows(10**9, free=3 * 500 * 100) == 80
    assert rows(10**9, free=0) == 1


def test_what_a_row_takes_on_a_gpu() -> None:
    """Inputs and outputs of the layers that are computed there."""
    found = need_of(a_model(), 1000, "float32", waiting=12_000, doubles=False, last_only=False)
    assert found.transfer == 12_000 + 4 * 2 * 1000
    sequences = 1000 * (3 + 5 + 5 + 4 + 4)
    assert 4 * sequences < found.gpu < 4 * (sequences + 1000) + 1000


def test_bytes_per_row_counts_sequences() -> None:
    def needed(steps: int, last_only: bool = False, doubles: bool = False) -> int:
        return need_of(a_model(), steps, "float32", waiting=12 * steps, doubles=doubles, last_only=last_only).memory

    assert needed(1000) >= 4 * 1000 * (3 + 5 + 8)
    assert needed(2000) - needed(1000) == 10 * (needed(200) - needed(100))
    assert needed(1000) - needed(1000, last_only=True) == 4 * 999 * 2
    assert needed(1000, doubles=True) - needed(1000) == 32 * 1000 * 2


def test_what_a_row_takes_by_hand() -> None:
    """Two layers over 7 timesteps of 3 numbers: 21 go in, 35 and 14 come out."""
    model = Sequential([LSTM(5, return_sequences=True), Dense(2)])
    model.build((None, None, 3))

    def need(dtype: str = "float32", waiting: int = 0, doubles: bool = False, last_only: bool = False) -> Need:
        return need_of(model, 7, dtype, waiting=waiting, doubles=doubles, last_only=last_only)

    beside = 16 * (5 + 3)
    largest = max(2 * 21 + 3 * 35, 2 * 35 + 3 * 14)
    on_gpu = max(21 + 35, 2 * 35) + beside
    assert need() == Need(4 * (largest + 14 + beside), 4 * 14, 4 * on_gpu + 7)
    assert need("float64") == Need(8 * (largest + 14 + beside), 8 * 14, 8 * on_gpu + 7)
    assert need(last_only=True) == Need(4 * (largest + 2 + beside), 4 * 2, 4 * on_gpu + 7)
    more = need(waiting=100, doubles=True)
    assert (more.memory - need().memory, more.transfer - need().transfer) == (2 * 100 + 32 * 14, 100)


def test_memory_in_use_is_plausible() -> None:
    from numba_lstm.runner.plan import memory_in_use

    before = memory_in_use()
    assert 20 * 2**20 < before < 64 * 2**30
    held = np.ones(64 * 2**20, np.uint8)
    assert memory_in_use() >= before + 32 * 2**20 or before > 2**30
    del held
