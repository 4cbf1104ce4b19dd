"""Chunks on a GPU: beside one another, until its memory was short."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from numba_lstm.errors import DeviceMemoryError
from numba_lstm.runner import memory_gate
from numba_lstm.runner.memory_gate import MemoryGate
from numba_lstm.runner.stages import Chunk, Result


class Bench:
    """A `MemoryGate` over a compute that the test controls."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._here = threading.local()
        self.log: list[tuple[str, int]] = []
        self.work: dict[int, Any] = {}  # of each chunk, by its start
        patch.setattr(memory_gate, "current_stream", lambda: self._here.stream)
        self.gate = MemoryGate(self._compute)

    def _compute(self, chunk: Chunk) -> Result:
        self.log.append(("begin", chunk.start))
        try:
            self.work[chunk.start]()
        finally:
            self.log.append(("end", chunk.start))
        return Result(chunk.start, chunk.stop, (), None)

    def run(self, start: int, number: int = 0) -> Result:
        self._here.stream = SimpleNamespace(gpu_number=number, free_idle=lambda: self.log.append(("free", start)))
        return self.gate(Chunk(start, start + 1, np.zeros(1), None, None))

    def beside(self, start: int, number: int = 0) -> threading.Thread:
        thread = threading.Thread(target=self.run, args=(start, number))
        thread.start()
        return thread


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def failing(times: int) -> Any:
    left = [times]

    def work() -> None:
        if left[0]:
            left[0] -= 1
            raise DeviceMemoryError("too little")

    return work


def test_the_second_try_waits_until_the_gpu_is_free(bench: Bench) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        assert go_on.wait(20)

    bench.work = {1: slow, 2: failing(1), 3: failing(0), 4: failing(0)}
    others = [bench.beside(1)]
    assert begun.wait(20)
    others.append(bench.beside(2))
    while ("end", 2) not in bench.log:
        time.sleep(0.001)
    others.append(bench.beside(3))  # from now on nobody is beside anybody on this GPU
    bench.run(4, number=1)  # which is no matter of another GPU
    time.sleep(0.03)
    assert bench.log == [("begin", 1), ("begin", 2), ("end", 2), ("begin", 4), ("end", 4)]
    go_on.set()
    for thread in others:
        thread.join(20)
    assert bench.log[5] == ("end", 1)
    rest = [bench.log[6:9], bench.log[9:]]
    assert sorted(rest) == [[("free", n), ("begin", n), ("end", n)] for n in (2, 3)]  # in turn


def test_what_is_too_much_for_a_gpu_alone_is_an_error_at_once(bench: Bench) -> None:
    bench.work = {1: failing(9), 2: failing(9), 3: failing(0)}
    with pytest.raises(DeviceMemoryError):
        bench.run(1)
    assert bench.log == [("begin", 1), ("end", 1), ("free", 1), ("begin", 1), ("end", 1)]
    bench.log.clear()
    with pytest.raises(DeviceMemoryError):
        bench.run(2)
    assert bench.log == [("free", 2), ("begin", 2), ("end", 2)]  # it was alone, so a second try would be the same
    bench.log.clear()
    assert bench.run(3).start == 3  # and nobody is kept out for ever
    assert bench.log == [("free", 3), ("begin", 3), ("end", 3)]


def test_other_errors_are_not_tried_again(bench: Bench) -> None:
    def wrong() -> None:
        raise ValueError("of the compute")

    bench.work = {1: wrong, 2: failing(0)}
    with pytest.raises(ValueError, match="of the compute"):
        bench.run(1)
    bench.run(2)
    assert bench.log == [("begin", 1), ("end", 1), ("begin", 2), ("end", 2)]
