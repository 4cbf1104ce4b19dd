"""The number of threads and the pool."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from numba_lstm import threads
from numba_lstm.errors import ConfigError


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_number", None)


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "many", 5000, None])
def test_what_is_no_number_of_threads(number: object) -> None:
    with pytest.raises(ConfigError, match=r"the number of threads is .*; expected a number of threads from 1 to 1024"):
        threads.set_num_threads(number)  # type: ignore[arg-type]


def test_where_the_number_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_LSTM_NUM_THREADS", raising=False)
    assert threads.get_num_threads() == threads.available_cpus()
    monkeypatch.setenv("NUMBA_LSTM_NUM_THREADS", "3")
    assert threads.get_num_threads() == 3
    monkeypatch.setenv("NUMBA_LSTM_NUM_THREADS", "three")
    with pytest.raises(ConfigError, match="NUMBA_LSTM_NUM_THREADS is 'three'"):
        threads.get_num_threads()
    threads.set_num_threads(2)
    assert threads.get_num_threads() == 2


@pytest.mark.parametrize(("rows", "parts", "whole"), [(0, 2, 1), (1, 4, 1), (10, 3, 3), (100, 7, 3), (5, 5, 1)])
def test_split_covers_every_row_once(rows: int, parts: int, whole: int) -> None:
    ranges = threads.split(rows, parts, whole)
    assert [row for first, last in ranges for row in range(first, last)] == list(range(rows))
    assert len(ranges) <= parts
    assert all(first % whole == 0 for first, _ in ranges)


def test_the_first_error_is_raised_when_all_have_ended() -> None:
    ended = []

    def work(first: int, last: int) -> None:
        if first == 1:
            raise ValueError("of the second range")
        ended.append(first)

    with pytest.raises(ValueError, match="of the second range"):
        threads.run(work, [(0, 1), (1, 2), (2, 3)])
    assert sorted(ended) == [0, 2]


def test_several_python_threads_may_call_at_once() -> None:
    counts = [0] * 64
    lock = threading.Lock()

    def work(first: int, last: int) -> None:
        with lock:
            counts[first] += 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda start: threads.run(work, [(i, i + 1) for i in range(start, start + 4)]), range(0, 64, 4)))
    assert counts == [1] * 64


def test_together_gives_results_in_order_and_nests() -> None:
    def outer(number: int) -> list[int]:
        return threads.together([lambda: number, lambda: number + 1])

    assert threads.together([lambda: outer(0), lambda: outer(10), lambda: outer(20)]) == [[0, 1], [10, 11], [20, 21]]


def test_help_is_left_alone_for_a_while_when_it_does_not_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(threads.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(threads, "_crowded_until", 0.0)
    monkeypatch.setattr(threads, "_crowded_for", 0.0)
    pauses = []
    for gain in (1.7, 0.9, 0.8, 0.9, 1.3, 0.5, *[0.5] * 9):
        assert not threads.crowded()
        threads.note_gain(gain)
        start = now[0]
        while threads.crowded():
            now[0] += 0.01
        pauses.append(round(now[0] - start, 2))
    assert pauses == [0, 0.02, 0.04, 0.08, 0, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, *[1.0] * 4]


def test_help_is_not_waited_for() -> None:
    begun, ended = threading.Event(), threading.Event()
    caller = threading.get_ident()

    def work() -> None:
        if threading.get_ident() == caller:
            assert begun.wait(20)
        else:
            begun.set()
            assert ended.wait(20)

    threads.with_help(work, 1)
    ended.set()
    alone: list[int] = []
    threads.with_help(lambda: alone.append(threading.get_ident()), 0)
    assert alone == [caller]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_makes_a_pool_of_its_own() -> None:
    seen: list[int] = []
    threads.run(lambda first, last: seen.append(first), [(0, 1), (1, 2)])
    child = os.fork()
    if child == 0:
        done: list[int] = []
        threads.run(lambda first, last: done.append(first), [(0, 1), (1, 2)])
        os._exit(0 if sorted(done) == [0, 1] else 1)
    assert os.waitpid(child, 0)[1] == 0
