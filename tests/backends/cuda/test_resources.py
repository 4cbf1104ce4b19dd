"""Resources of CUDA are freed while their GPU is the current one, in any thread and at any moment."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from support.fake_cuda import FakeCuda, installed

from numba_lstm.backends.cuda import caller_stream, interface, pinned, policy, resources, stream

KIND = np.dtype(np.float32)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = installed(monkeypatch, gpus=2)
    monkeypatch.setattr(caller_stream, "stream_id", lambda handle: handle)
    return fake


def in_a_thread(work: Any) -> None:
    """Call work() in a new thread, which has no current GPU."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def all_free(cuda: FakeCuda) -> bool:
    return cuda.free == [1 << 30] * 2 and cuda.pinned == 0 and not cuda.faults


def test_memory_of_a_gpu_ends_in_another_thread(cuda: FakeCuda) -> None:
    cuda.select_device(1)
    there = [
        stream.Stream(cuda.stream()).empty(10, KIND),
        stream.Stream(cuda.stream()).upload_and_wait(np.ones(7, np.float32)),
    ]
    part = there[0][2:5].view(np.dtype(np.uint8))
    assert cuda.free[1] == (1 << 30) - 4 * 17
    in_a_thread(there.clear)
    assert cuda.free[1] == (1 << 30) - 4 * 10, "a part is memory too"
    del part
    gc.collect()
    assert all_free(cuda)


def test_pinned_memory_ends_in_another_thread(cuda: FakeCuda) -> None:
    memory, rooms = [pinned.PinnedMemory(1)], list[Any]()
    in_a_thread(lambda: rooms.extend(memory[0].empty((n,), KIND) for n in (5, 6)))
    assert cuda.pinned == 4 * 11
    # A buffer that makes way for a larger one, and one that outlives what lent it.
    rooms.pop(0)
    in_a_thread(lambda: rooms.append(memory[0].empty((100,), KIND)))
    assert cuda.pinned == 4 * 106
    memory.clear()
    in_a_thread(rooms.clear)
    in_a_thread(gc.collect)
    assert all_free(cuda)


def test_memory_excluded_from_its_pool(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda.select_device(1)
    monkeypatch.setattr(caller_stream, "numba_stream_of", lambda handle: cuda.stream())
    here = caller_stream.CallerStream(interface.LEGACY)
    there = [here.empty(10, KIND), here.empty(20, KIND)]
    here.exclude_from_pool(there[0])
    monkeypatch.setattr(policy, "LARGEST_POOLED", 4)
    there.append(here.empty(30, KIND))
    in_a_thread(there.clear)
    assert cuda.free[1] == (1 << 30) - 80
    in_a_thread(caller_stream.free_idle_memory)
    gc.collect()
    assert cuda.free == [1 << 30] * 2
    assert [fault for fault in cuda.faults if "memory" in fault] == []


def test_events_end_there_too(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []

    class Event:
        def record(self, stream: Any) -> None: ...

        def query(self) -> bool:
            return True

        def __del__(self) -> None:
            ended.append(cuda.current)

    monkeypatch.setattr(cuda, "event", lambda timing: Event(), raising=False)
    monkeypatch.setattr(caller_stream, "numba_stream_of", lambda handle: cuda.stream())

    def call() -> None:
        with stream.use_gpu(1):
            here = caller_stream.CallerStream(7)
        here.borrow(object())
        here.borrow(object())
        here.give_back()

    in_a_thread(call)
    assert ended == [1]


def test_what_cannot_be_freed_now_is_freed_later(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    """An array may end during a call on another GPU, where numba refuses to change the current one."""
    cuda.select_device(1)
    here = stream.Stream(cuda.stream())
    there = here.empty(10, KIND)
    with monkeypatch.context() as patch:
        patch.setattr(type(cuda.gpus[1]), "__enter__", lambda self: 1 // 0)
        del there
    assert cuda.free[1] == (1 << 30) - 40
    kept = here.empty(1, KIND)
    assert cuda.free[1] == (1 << 30) - 4
    del kept
    assert all_free(cuda)


def test_more_ends_while_something_ends(cuda: FakeCuda) -> None:
    cuda.select_device(0)
    here = stream.Stream(cuda.stream())
    more = [here.empty(10, KIND)]
    gpu = cuda.gpus[1]

    class Holder:
        def __del__(self) -> None:
            more.clear()
            resources.release(gpu, [])

    resources.release(gpu, [Holder()])
    assert all_free(cuda)


def test_many_threads_free(cuda: FakeCuda) -> None:
    memory = [pinned.PinnedMemory(number) for number in (0, 1)]

    def work() -> None:
        for n in range(200):
            room = memory[n % 2].empty((n + 1,), KIND)
            with cuda.gpus[n % 2]:
                there = stream.Stream(cuda.stream()).empty(n + 1, KIND)
            del room, there
            memory[n % 2].free_idle()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    memory.clear()
    gc.collect()
    assert cuda.free == [1 << 30] * 2 and cuda.pinned == 0
    assert [fault for fault in cuda.faults if "memory" in fault] == []


def test_garbage_is_collected_after_the_collection_of_another_thread() -> None:
    """During which gc.collect does nothing: a worker without memory would fail though another one's is garbage."""
    begun, go_on = threading.Event(), threading.Event()

    class Slow:
        def __del__(self) -> None:
            begun.set()
            assert go_on.wait(20)

    class Cycle:
        def __init__(self, content: Any) -> None:
            self.content, self.itself = content, self

    def collect_slowly() -> None:
        Cycle(Slow())
        gc.collect()

    other = threading.Thread(target=collect_slowly)
    other.start()
    assert begun.wait(20)
    garbage = weakref.ref(Cycle(None))
    gc.collect()
    assert garbage() is not None
    own = threading.Thread(target=resources.collect_garbage)
    own.start()
    go_on.set()
    own.join(20)
    assert garbage() is None
    other.join(20)
