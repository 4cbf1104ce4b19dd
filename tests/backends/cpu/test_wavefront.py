"""The order in which threads take stretches of stacked layers, with layers that only add up, and with late threads."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numba_lstm.backends.cpu import threads
from numba_lstm.backends.cpu.wavefront import Wavefront


@pytest.fixture(autouse=True)
def not_crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_crowded_until", 0.0)
    monkeypatch.setattr(threads, "_crowded_for", 0.0)


@pytest.fixture
def free_helpers() -> None:
    """Wait until the helpers of earlier tests have left: a helper stays with a wavefront for a while."""
    here = threading.Event()
    threads.with_help(lambda: here.wait(10), here.set, 1)
    assert here.is_set()


Hook = Callable[[int, int], None]


@dataclass
class Counter:
    """A layer that adds up what comes from below; its state is the sum so far."""

    below: Counter | None
    timesteps: int
    work: int = 1
    hook: Hook = lambda start, stop: None
    state: int = 0
    outputs: list[int] = field(default_factory=list)
    kept: list[tuple[int, int]] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)

    def compute(self, start: int, stop: int, state: int, again: bool) -> tuple[int, list[int]]:
        self.hook(start, stop)
        if again:
            self.repeated.append(start)
        inputs = range(start, stop) if self.below is None else self.below.outputs[start:stop]
        assert len(inputs) == stop - start
        outputs = []
        for x in inputs:
            state += x
            outputs.append(state)
        return state, outputs

    def keep(self, start: int, stop: int, result: tuple[int, list[int]]) -> None:
        self.kept.append((start, stop))
        self.state, outputs = result
        self.outputs += outputs


def layers_of(count: int, timesteps: int, **more: Any) -> list[Counter]:
    layers: list[Counter] = []
    for _ in range(count):
        layers.append(Counter(layers[-1] if layers else None, timesteps, **more))
    return layers


def truth(count: int, timesteps: int) -> list[int]:
    values = list(range(timesteps))
    for _ in range(count):
        for i in range(1, timesteps):
            values[i] += values[i - 1]
    return values


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 40), st.integers(1, 12), st.integers(1, 5))
def test_every_stretch_counts_once_and_in_order(works: list[int], timesteps: int, length: int, workers: int) -> None:
    layers = layers_of(len(works), timesteps)
    for layer, work in zip(layers, works, strict=True):
        layer.work = work
    Wavefront(layers, timesteps, length, workers).run()
    for layer in layers:
        starts, stops = zip(*layer.kept, strict=True)
        assert starts == (0, *stops[:-1]) and stops[-1] == timesteps
        assert all(start % length == 0 for start in starts)
    assert layers[-1].outputs == truth(len(works), timesteps)


def test_a_thread_alone_takes_more_and_more_at_once() -> None:
    lower, upper = layers_of(2, 100)
    threads.together([Wavefront([lower, upper], 100, 5, 2).run, lambda: None])  # where no helper is called
    assert lower.kept == [(0, 5), (5, 15), (15, 35), (35, 75), (75, 100)] and upper.kept == [(0, 100)]


@given(
    timesteps=st.integers(1, 60),
    length=st.integers(1, 9),
    works=st.lists(st.integers(1, 9), min_size=2, max_size=4),
    most_work=st.integers(1, 400),
)
def test_every_stretch_ends_where_a_length_does(timesteps: int, length: int, works: list[int], most_work: int) -> None:
    """So no two have the same place for their states, and one of them can be computed again from what it began with."""
    layers = layers_of(len(works), timesteps)
    for layer, work in zip(layers, works, strict=True):
        layer.work = work
    threads.together([Wavefront(layers, timesteps, length, 2, most_work).run, lambda: None])
    for layer in layers:
        assert all(stop % length == 0 or stop == timesteps for _, stop in layer.kept), layer.kept
        assert all(stop - start <= length or (stop - start) * layer.work <= most_work for start, stop in layer.kept), (
            layer.kept
        )


def test_threads_work_at_the_same_time() -> None:
    """The lower layer's second stretch and the upper one's first wait for each other."""
    both = threading.Barrier(2, timeout=20)
    lower, upper = layers_of(2, 4)
    lower.hook = lambda start, stop: both.wait() and None if start == 2 else None
    upper.hook = lambda start, stop: both.wait() and None if start == 0 else None
    Wavefront([lower, upper], 4, 2, 2).run()
    assert upper.outputs == truth(2, 4) and not both.broken


def test_a_thread_that_does_not_come_back_is_not_waited_for() -> None:
    caller, go_on, back = threading.get_ident(), threading.Event(), threading.Event()

    def hold(start: int, stop: int) -> None:
        if threading.get_ident() == caller:
            # What a stretch takes is known from this one; and the other thread gets the time to come.
            time.sleep(0.002)
        elif start == 0:
            assert go_on.wait(20)
            back.set()

    lower, upper = layers_of(2, 50, hook=hold)
    wavefront = Wavefront([lower, upper], 50, 5, 2)
    try:
        wavefront.run()
        assert upper.outputs == truth(2, 50)
        kept = [list(layer.kept) for layer in (lower, upper)]
    finally:
        go_on.set()
    if lower.repeated or upper.repeated:
        # What the late thread has in the end changes nothing.
        assert back.wait(20)
        threads.run(lambda first, last: None, [(0, 1), (1, 2)])
    assert [layer.kept for layer in (lower, upper)] == kept
    assert upper.outputs == truth(2, 50)


def test_a_stretch_that_is_late_is_computed_again_and_counts_once() -> None:
    layers = layers_of(2, 10)
    wavefront = Wavefront(layers, 10, 5, 2)
    wavefront._present = 2

    def compute(stretch: Any) -> Any:
        return layers[stretch.layer].compute(stretch.start, stretch.stop, stretch.state, stretch.again)

    for start in (0, 5):
        below = wavefront._ready(0)
        assert below is not None and (below.layer, below.start) == (0, start)
        if start == 5:
            held = wavefront._ready(1)  # by a thread that is not heard of for a while
            assert held is not None and (held.layer, held.start) == (1, 0)
        wavefront._finish(below, compute(below))
    assert wavefront._ready(0) is None
    patience = wavefront._patience()
    assert patience is not None
    time.sleep(patience + 0.001)
    again = wavefront._late()
    assert again is not None and again.again and (again.layer, again.start, again.stop) == (1, 0, 5)
    assert wavefront._late() is None and wavefront._patience() is None, "two threads have it"
    wavefront._finish(again, compute(again))
    wavefront._finish(held, compute(held))
    assert layers[1].kept == [(0, 5)] and layers[1].outputs == truth(2, 10)[:5]
    last = wavefront._ready(1)
    assert last is not None and (last.layer, last.start, last.again) == (1, 5, False)


@pytest.mark.parametrize("error", [MemoryError("no room"), KeyboardInterrupt()], ids=["MemoryError", "Ctrl-C"])
@pytest.mark.parametrize("layer", [0, 1])
def test_an_error_in_any_thread_ends_all(error: BaseException, layer: int) -> None:
    layers = layers_of(3, 100)

    def fail(start: int, stop: int) -> None:
        if stop > 20:
            raise error

    layers[layer].hook = fail
    with pytest.raises(type(error)):
        Wavefront(layers, 100, 5, 3).run()
    threads.run(lambda first, last: None, [(0, 1), (1, 2), (2, 3)])  # the threads are free again
    assert all(stop <= 20 for _, stop in layers[layer].kept) and len(layers[-1].outputs) <= 20


@pytest.mark.usefixtures("free_helpers")
def test_of_two_errors_the_first_is_raised() -> None:
    """The helper's: the calling thread fails when it sees that the helper has."""
    caller, both = threading.get_ident(), threading.Barrier(2, timeout=20)
    layers = layers_of(2, 10)

    def fail(start: int, stop: int) -> None:
        if layers[0].kept:
            both.wait()
            if threading.get_ident() != caller:
                raise MemoryError("first")
            while wavefront._error is None:
                time.sleep(0.001)
            raise KeyError("second")

    layers[0].hook = layers[1].hook = fail
    wavefront = Wavefront(layers, 10, 5, 2)
    with pytest.raises(MemoryError, match="first"):
        wavefront.run()


def test_nothing_is_taken_after_an_error_or_at_the_end() -> None:
    wavefront = Wavefront(layers_of(2, 10), 10, 5, 2)
    wavefront._caller = threading.get_ident()
    wavefront._error = MemoryError()
    assert wavefront._next(None) is None
    wavefront._error, wavefront._done = None, [10, 10]
    assert wavefront._next(None) is None
    wavefront._done = [10, 5]
    last = wavefront._next(None)
    assert last is not None and (last.layer, last.start, last.stop) == (1, 5, 10)


@pytest.mark.usefixtures("ctrl_c", "free_helpers")
def test_ctrl_c_while_the_calling_thread_waits() -> None:
    """The signal comes while the other thread computes, or while this one does: both end."""
    layers = layers_of(2, 1000)
    main, ended = threading.get_ident(), threading.Event()

    def hook(start: int, stop: int) -> None:
        if threading.get_ident() == main:
            time.sleep(0.001)
        elif not ended.is_set():
            ended.set()
            os.kill(os.getpid(), signal.SIGINT)

    for layer in layers:
        layer.hook = hook
    with pytest.raises(KeyboardInterrupt):
        Wavefront(layers, 1000, 1, 2).run()
        pytest.fail("the signal was lost")
    threads.run(lambda first, last: None, [(0, 1), (1, 2)])
    done = len(layers[0].kept)
    time.sleep(0.02)
    assert len(layers[0].kept) == done < 1000


def test_several_python_threads_at_once_and_threads_of_the_pool() -> None:
    def one(number: int) -> list[int]:
        layers = layers_of(3, 30 + number)
        Wavefront(layers, 30 + number, 4, 3).run()
        return layers[-1].outputs

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, range(24))) == [truth(3, 30 + number) for number in range(24)]
    assert threads.together([lambda: one(0), lambda: one(1), lambda: one(2)]) == [truth(3, n) for n in (30, 31, 32)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_in_a_forked_child() -> None:
    layers = layers_of(2, 30)
    Wavefront(layers, 30, 3, 2).run()
    child = os.fork()
    if child == 0:
        own = layers_of(2, 30)
        Wavefront(own, 30, 3, 2).run()
        os._exit(0 if own[-1].outputs == layers[-1].outputs else 1)
    assert os.waitpid(child, 0)[1] == 0
