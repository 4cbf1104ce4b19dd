"""Workers of a card that take turns where its memory is short, and what a card may forget while it copies."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.fake_cuda import FakeCuda

from numba_lstm.backends.cuda import card, freeing, staged
from numba_lstm.errors import DeviceMemoryError
from numba_lstm.runner import cards as runner_cards
from numba_lstm.runner.cards import TakingTurns
from numba_lstm.runner.stages import Chunk, Result


class Bench:
    """A `TakingTurns` over a compute that the test has in its hands: each chunk has the number of its card."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._here = threading.local()
        self.log: list[tuple[str, int]] = []
        self.work: dict[int, Any] = {}  # of each chunk, by its start
        patch.setattr(runner_cards, "current", lambda: self._here.card)
        self.turns = TakingTurns(self._compute)

    def _compute(self, chunk: Chunk) -> Result:
        self.log.append(("begin", chunk.start))
        try:
            self.work[chunk.start]()
        finally:
            self.log.append(("end", chunk.start))
        return Result(chunk.start, chunk.stop, (), None)

    def run(self, start: int, number: int = 0) -> Result:
        self._here.card = SimpleNamespace(number=number, forget=lambda: self.log.append(("forget", start)))
        return self.turns(Chunk(start, start + 1, np.zeros(1), None, None))

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


def test_the_second_try_waits_until_the_card_is_free(bench: Bench) -> None:
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
    others.append(bench.beside(3))  # from now on nobody is beside anybody on this card
    bench.run(4, number=1)  # which is no matter of another card
    time.sleep(0.03)
    assert bench.log == [("begin", 1), ("begin", 2), ("end", 2), ("begin", 4), ("end", 4)]
    go_on.set()
    for thread in others:
        thread.join(20)
    assert bench.log[5] == ("end", 1)
    rest = [bench.log[6:9], bench.log[9:]]
    assert sorted(rest) == [[("forget", n), ("begin", n), ("end", n)] for n in (2, 3)]  # in turn


def test_what_is_too_much_for_a_card_alone_is_an_error_at_once(bench: Bench) -> None:
    bench.work = {1: failing(9), 2: failing(9), 3: failing(0)}
    with pytest.raises(DeviceMemoryError):
        bench.run(1)
    assert bench.log == [("begin", 1), ("end", 1), ("forget", 1), ("begin", 1), ("end", 1)]
    bench.log.clear()
    with pytest.raises(DeviceMemoryError):
        bench.run(2)
    assert bench.log == [("forget", 2), ("begin", 2), ("end", 2)]  # it was alone, so a second try would be the same
    bench.log.clear()
    assert bench.run(3).start == 3  # and nobody is kept out for ever
    assert bench.log == [("forget", 3), ("begin", 3), ("end", 3)]


def test_other_errors_are_not_tried_again(bench: Bench) -> None:
    def wrong() -> None:
        raise ValueError("of the compute")

    bench.work = {1: wrong, 2: failing(0)}
    with pytest.raises(ValueError, match="of the compute"):
        bench.run(1)
    bench.run(2)
    assert bench.log == [("begin", 1), ("end", 1), ("begin", 2), ("end", 2)]


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    made = FakeCuda(2)
    for module in (card, staged, freeing):
        monkeypatch.setattr(module, "cuda", made)
    yield made
    gc.collect()
    assert made.faults == []


def test_memory_that_is_copied_from_later_is_not_used_again_before(cuda: FakeCuda) -> None:
    """A copy reads its source some time before `wait` returns: until then it belongs to nobody else."""
    here = staged.StagedCard(0, staged.PageLocked(0), [])
    numbers = [np.arange(6, dtype=np.float32) + 10 * n for n in range(4)]
    there = [here.upload(array) for array in (numbers[0], numbers[1].reshape(2, 3), np.repeat(numbers[2], 2)[::2])]
    source = here.room((6,), np.dtype(np.float32))
    source[...] = numbers[3]
    there.append(here.upload(source))  # in place, without a copy of main memory
    del source
    outs = [here.download(array, here.room((6,), np.dtype(np.float32))) for array in there]
    for out, array in zip(outs, numbers, strict=True):
        np.testing.assert_array_equal(out, array)
    made = cuda.count("page-locked")
    del outs, out
    again = [here.room((6,), np.dtype(np.float32)) for _ in range(made)]
    assert cuda.count("page-locked") == made, "it is used again afterwards"
    del again, there
    here.close()
    assert cuda.page_locked == 0


def test_what_an_interrupted_download_fills_belongs_to_nobody_else(
    cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, kind = staged.StagedCard(0, staged.PageLocked(0), []), np.dtype(np.float32)
    there = here.upload(np.arange(6, dtype=np.float32))
    here.upload(np.zeros((0, 3), np.float32))  # of nothing one number is there, too
    here.wait()

    def interrupted() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(here, "wait", interrupted)
        try:
            here.download(there, here.room((6,), kind))
        except KeyboardInterrupt:
            pass
        else:
            pytest.fail("the wait was not interrupted")
    other = here.room((6,), kind)
    other[...] = 5
    here.wait()  # when the copy that was asked for is done
    np.testing.assert_array_equal(other, 5)
    del other, there
    here.close()
