"""The number of threads and the pool."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from numba_lstm.backends.cpu import threads
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


@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("failing", range(5))
def test_an_error_is_raised_when_all_that_were_begun_have_ended(number: int, failing: int) -> None:
    begun, ended = [], []

    def work(first: int, last: int) -> None:
        begun.append(first)
        time.sleep(0.001 * (5 - first))
        ended.append(first)
        if first == failing:
            raise ValueError(f"of range {first}")

    threads.set_num_threads(number)
    with pytest.raises(ValueError, match=f"of range {failing}"):
        threads.run(work, [(i, i + 1) for i in range(5)])
    assert sorted(begun) == sorted(ended)
    now = list(begun)
    threads.run(lambda first, last: None, [(0, 1), (1, 2)])
    assert begun == now and failing in now
    if number == 1:
        assert now == list(range(failing + 1)), "none is begun after it"


def test_an_error_of_the_caller_waits_for_the_helpers() -> None:
    """Its arrays may end with the caller's frame, while a helper is in the midst of them."""
    threads.set_num_threads(2)
    caller = threading.get_ident()
    for call in (lambda work: threads.together([work, work]), lambda work: threads.with_help(work, work, 1)):
        begun, ended = threading.Event(), threading.Event()

        def work(begun: threading.Event = begun, ended: threading.Event = ended) -> None:
            if threading.get_ident() == caller:
                assert begun.wait(20)
                raise ValueError("of the caller")
            begun.set()
            time.sleep(0.05)
            ended.set()
            raise KeyError("of the helper")

        with pytest.raises(ValueError, match="of the caller"):
            call(work)
        assert ended.is_set()


def test_an_error_of_a_helper_is_raised() -> None:
    threads.set_num_threads(2)
    caller, begun = threading.get_ident(), threading.Event()

    def work() -> None:
        if threading.get_ident() == caller:
            assert begun.wait(20)
        else:
            begun.set()
            raise KeyError("of the helper")

    with pytest.raises(KeyError, match="of the helper"):
        threads.together([work, work])
    begun.clear()
    threads.with_help(work, work, 1)  # which waits for no helper, and asks none


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

    def help_out() -> None:
        begun.set()
        assert ended.wait(20)

    threads.with_help(partial(begun.wait, 20), help_out, 1)
    assert begun.is_set()
    ended.set()
    threads.with_help(lambda: None, lambda: pytest.fail("no help was asked for"), 0)


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


def test_more_threads_while_other_threads_call() -> None:
    """The number of helpers grows, and no call notices."""
    stop, wrong = threading.Event(), []

    def call() -> None:
        while not stop.is_set():
            if threads.together([lambda i=i: i for i in range(5)]) != list(range(5)):  # type: ignore[misc]
                wrong.append("results")

    calling = [threading.Thread(target=call) for _ in range(4)]
    for thread in calling:
        thread.start()
    for number in range(2, 40):
        threads.set_num_threads(number)
        time.sleep(0.002)
    stop.set()
    for thread in calling:
        thread.join()
    assert not wrong


def test_a_caller_waits_for_no_helper_that_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the system does not let it run, or no thread is granted."""
    asleep = threads._Helpers()
    asleep._threads = 1  # one that does not come
    monkeypatch.setattr(threads, "_helpers", asleep)
    threads.set_num_threads(2)
    assert threads.together([lambda: 1, lambda: 2, lambda: 3]) == [1, 2, 3]
    assert not asleep._offered, "what was offered keeps its memory"
    monkeypatch.setattr(threads, "_helpers", threads._Helpers())
    monkeypatch.setattr(threads._thread, "start_new_thread", refused)
    assert threads.together([lambda: 1, lambda: 2, lambda: 3]) == [1, 2, 3]


def refused(*_: object) -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.skipif(not hasattr(signal, "raise_signal"), reason="this platform cannot send itself signals")
def test_a_second_ctrl_c_while_the_first_one_waits_for_a_helper() -> None:
    """A helper is told to end early, and its current job ends before the caller leaves."""
    begun, told, ended = threading.Event(), threading.Event(), threading.Event()

    def in_helper() -> None:
        begun.set()
        while True:
            try:
                threads.check()
            except threads.Stopped:
                signal.raise_signal(signal.SIGINT)  # reaches the main thread, which waits
                time.sleep(0.05)
                told.set()
                ended.set()
                raise
            time.sleep(0.001)

    def own() -> None:
        assert begun.wait(20)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        threads.with_help(own, in_helper, 1)
    assert told.is_set() and ended.is_set()
    assert not threads.alone()
    assert threads.together([lambda: 1, lambda: 2]) == [1, 2]


def test_a_thread_is_told_to_stop_by_whoever_it_works_for() -> None:
    stop, results = threads.Stop(), []

    def long_work() -> None:
        for i in range(5):
            threads.check()
            threads.run(lambda first, last: results.append(first), [(i, i + 1)])
            stop.asked = i == 2

    with ThreadPoolExecutor(1) as pool, pytest.raises(threads.Stopped):
        pool.submit(stop.obeyed_by, long_work).result()
    assert results == [0, 1, 2]
    threads.check()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_while_another_thread_holds_the_locks() -> None:
    from numba.core.compiler_lock import global_compiler_lock

    from numba_lstm.kernels import undisturbed as _  # noqa: F401

    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with threads._helpers._starting, global_compiler_lock:
            held.set()
            let_go.wait(0.2)  # a fork waits for numba's

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child = os.fork()
    if child == 0:
        answered = threading.Event()
        threads.with_help(lambda: answered.wait(10), answered.set, 1)
        compiled = global_compiler_lock._lock.acquire(timeout=10)
        os._exit(0 if answered.is_set() and compiled else 1)
    let_go.set()
    holder.join()
    assert os.waitpid(child, 0)[1] == 0
