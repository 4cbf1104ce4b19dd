"""Streams of workers: pinned memory that is reused only when nothing copies from or to it."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from support.fake_cuda import FakeCuda, installed

from numba_lstm.backends.cuda import pinned
from numba_lstm.backends.cuda.pool import Pool


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    made = installed(monkeypatch, gpus=2)
    yield made
    gc.collect()
    assert made.faults == []


def test_the_source_of_a_copy_is_reused_after_the_copy(cuda: FakeCuda) -> None:
    """A copy reads its source some time before `synchronize` returns, and until then its buffer is not reused."""
    here = pinned.WorkerStream(0, pinned.PinnedMemory(0), [])
    numbers = [np.arange(6, dtype=np.float32) + 10 * n for n in range(4)]
    there = [here.upload(array) for array in (numbers[0], numbers[1].reshape(2, 3), np.repeat(numbers[2], 2)[::2])]
    source = here.host_array((6,), np.dtype(np.float32))
    source[...] = numbers[3]
    there.append(here.upload(source))  # in place, without a copy of main memory
    del source
    outs = [here.download(array, here.host_array((6,), np.dtype(np.float32))) for array in there]
    for out, array in zip(outs, numbers, strict=True):
        np.testing.assert_array_equal(out, array)
    made = cuda.count("pinned")
    del outs, out
    again = [here.host_array((6,), np.dtype(np.float32)) for _ in range(made)]
    assert cuda.count("pinned") == made, "it is used again afterwards"
    del again, there
    here.close()
    assert cuda.pinned == 0


def test_the_target_of_an_interrupted_download_is_not_reused_before(
    cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, kind = pinned.WorkerStream(0, pinned.PinnedMemory(0), []), np.dtype(np.float32)
    there = here.upload(np.arange(6, dtype=np.float32))
    here.upload(np.zeros((0, 3), np.float32))  # of nothing one number is there, too
    here.synchronize()

    def interrupted() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(here, "synchronize", interrupted)
        try:
            here.download(there, here.host_array((6,), kind))
        except KeyboardInterrupt:
            pass
        else:
            pytest.fail("the wait was not interrupted")
    other = here.host_array((6,), kind)
    other[...] = 5
    here.synchronize()  # when the copy that was asked for is done
    np.testing.assert_array_equal(other, 5)
    del other, there
    here.close()


def test_a_stream_that_is_not_closed(cuda: FakeCuda) -> None:
    """For example by an error whose traceback is part of a cycle: its copies are waited for, then it is freed."""
    memory: list[Any] = []

    def work() -> None:
        here = pinned.WorkerStream(1, pinned.PinnedMemory(1), list[Pool]())
        memory.append(here.upload(np.arange(6, dtype=np.float32)))
        cycle: list[Any] = [here]
        cycle.append(cycle)

    for each in (work, gc.collect):
        thread = threading.Thread(target=each)
        thread.start()
        thread.join()
    assert cuda.count("waited") == 1
    assert memory[0]._array.tolist() == [0, 1, 2, 3, 4, 5]
    memory.clear()
    gc.collect()
    assert cuda.free == [1 << 30] * 2 and cuda.pinned == 0
