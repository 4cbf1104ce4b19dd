"""Pools of buffers."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest

from numba_lstm.backends.cuda.pool import Pool


class Holder:
    """An object that a buffer is lent to."""


class Made:
    """Allocates memory and logs the sizes."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, size: int) -> Any:
        self.sizes.append(size)
        return bytearray(size)


def lent(pool: Pool, size: int) -> Holder:
    holder = Holder()
    pool.lend(pool.take(size), holder)
    return holder


def test_a_buffer_comes_back_when_its_holder_is_gone() -> None:
    made = Made()
    pool = Pool(made)
    first, second = lent(pool, 10), lent(pool, 10)
    assert made.sizes == [10, 10]
    del first
    third = lent(pool, 8)
    assert made.sizes == [10, 10]
    assert pool.bytes == 20
    del second, third
    gc.collect()
    pool.free_idle()
    assert pool.bytes == 0


def test_a_buffer_may_stay_with_its_holder() -> None:
    pool, holder = Pool(made := Made()), Holder()
    loan = pool.lend(pool.take(10), holder)
    pool.detach(loan)
    pool.detach(loan)
    assert pool.bytes == 0
    del holder
    pool.take(10)
    assert made.sizes == [10, 10]


def test_the_best_fit_is_used() -> None:
    pool = Pool(Made())
    holders = [lent(pool, size) for size in (30, 10, 20)]
    holders.clear()
    assert [pool.take(size).size for size in (5, 11, 12)] == [10, 20, 30]


def test_where_nothing_fits_the_largest_idle_buffer_is_replaced() -> None:
    pool = Pool(made := Made())
    holders = [lent(pool, 10), lent(pool, 20)]
    holders.clear()
    assert pool.take(25).size == 25
    assert made.sizes == [10, 20, 25]
    assert pool.bytes == 35


def test_failed_allocations_are_not_counted() -> None:
    def make(size: int) -> Any:
        raise MemoryError

    pool = Pool(make)
    with pytest.raises(MemoryError):
        pool.take(3)
    assert pool.bytes == 0


def test_threads_share_a_pool() -> None:
    """No buffer is lent twice at a time, and all of them return."""
    pool, had = Pool(made := Made()), set[int]()
    twice = []

    def work() -> None:
        for _ in range(300):
            buffer = pool.take(8)
            holder = Holder()
            if id(buffer.memory) in had:
                twice.append(buffer)
            had.add(id(buffer.memory))
            had.discard(id(buffer.memory))
            pool.lend(buffer, holder)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not twice
    assert len(made.sizes) <= 4
    assert pool.bytes == 8 * len(made.sizes)
