"""The stream of a caller: the order of work, borrowed memory, and memory that is reused."""

from __future__ import annotations

import ctypes
import gc
import weakref
from collections import OrderedDict
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numba.cuda.cudadrv.driver import CudaAPIError
from support.device_fakes import Owner

from numba_lstm.backends.cuda import caller_stream, dlpack, interface, policy, resources, stream


class Memory:
    """A stand-in for numba's memory of a GPU."""

    __cuda_ndarray__ = True

    def __init__(self, array: Any, owner: Any = None) -> None:
        self.array, self.owner = array, owner
        self.__cuda_array_interface__ = array.__array_interface__

    def __getitem__(self, key: Any) -> Memory:
        return Memory(self.array[key], self.owner)

    def view(self, dtype: Any) -> Memory:
        return Memory(self.array.view(dtype), self.owner)


class FakeCuda:
    """numba's CUDA, with streams, events and memory only."""

    def __init__(self) -> None:
        self.log: list[tuple[str, Any]] = []
        self.done = self.full = False
        self.made = 0
        self.streams: dict[int, int] = {}  # by handle: the driver's numbers, which come once
        self.gpus = [nullcontext(), nullcontext()]

    def legacy_default_stream(self) -> str:
        return "legacy"

    def per_thread_default_stream(self) -> str:
        return "per thread"

    def external_stream(self, handle: int) -> str:
        return f"stream {handle}"

    def get_current_device(self) -> Any:
        return SimpleNamespace(id=1)

    def as_cuda_array(self, owner: Any, sync: bool) -> Memory:
        assert not sync
        data, shape, kind = (owner.__cuda_array_interface__[name] for name in ("data", "shape", "typestr"))
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        array = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(data[0])).view(kind)
        return Memory(array, owner)

    def device_array(self, size: int, dtype: Any, stream: Any) -> Memory:
        if self.full:
            self.full = False
            raise CudaAPIError(2, "CUDA_ERROR_OUT_OF_MEMORY")
        self.made += 1
        return Memory(np.empty(size, dtype))

    def event(self, timing: bool) -> Any:
        assert not timing
        return SimpleNamespace(
            record=lambda stream: self.log.append(("record", stream)),
            wait=lambda stream: self.log.append(("wait", stream)),
            query=lambda: self.done,
        )


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    for module in (caller_stream, stream, resources):
        monkeypatch.setattr(module, "cuda", fake)
    monkeypatch.setattr(caller_stream, "stream_id", lambda handle: fake.streams.get(handle, handle))
    return fake


def test_streams_wait_by_events(fake_cuda: FakeCuda) -> None:
    here = caller_stream.CallerStream(4711)
    assert (here.gpu_number, here.numba_stream, here.dlpack_device) == (1, "stream 4711", (dlpack.CUDA, 1))
    here.wait_for(4711)
    here.make_wait(4711)
    assert fake_cuda.log == []
    here.wait_for(interface.LEGACY)
    here.make_wait(interface.PER_THREAD)
    assert fake_cuda.log == [
        ("record", "legacy"),
        ("wait", "stream 4711"),
        ("record", "stream 4711"),
        ("wait", "per thread"),
    ]


def test_borrowed_memory_lives_until_the_work_is_done(fake_cuda: FakeCuda) -> None:
    here, owner = caller_stream.CallerStream(), Owner(None)
    end = weakref.ref(owner)
    here.borrow(owner)
    del owner
    here.give_back()
    assert fake_cuda.log == [("record", "legacy")]
    here.give_back()
    assert end() is not None and len(fake_cuda.log) == 1
    fake_cuda.done = True
    here.give_back()
    assert end() is None


def test_memory_is_reused_on_its_stream(fake_cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = np.dtype(np.float32)
    monkeypatch.setattr(caller_stream, "_pools", OrderedDict())
    here = caller_stream.CallerStream(4711)
    first, second = here.empty(10, kind), here.empty(10, kind)
    address = stream.address(first)
    assert fake_cuda.made == 2
    del first
    third = here.empty(8, kind)
    assert stream.address(third) == address and fake_cuda.made == 2
    del second
    caller_stream.CallerStream(5).empty(8, kind)
    assert fake_cuda.made == 3
    # Another stream may read it: it does not return to the pool.
    here.exclude_from_pool(third)
    here.exclude_from_pool(Owner(None))
    del third
    again = here.empty(8, kind), here.empty(8, kind)
    assert fake_cuda.made == 4
    # Where memory is short, idle buffers are freed.
    del again
    fake_cuda.full = True
    assert here.empty(1000, kind).array.size == 1000 and fake_cuda.made == 5
    monkeypatch.setattr(policy, "LARGEST_POOLED", 100)
    here.empty(1000, kind)
    assert fake_cuda.made == 6
    caller_stream.CallerStream(interface.PER_THREAD).empty(1, kind)
    assert fake_cuda.made == 7 and (1, interface.PER_THREAD) not in caller_stream._pools
    # The pools of the streams that were used last are memory.
    monkeypatch.setattr(caller_stream, "_pools", OrderedDict())
    for handle in (*range(100, 100 + policy.MOST_POOLS), 100, 200):
        caller_stream.CallerStream(handle).empty(1, kind)
    assert len(caller_stream._pools) == policy.MOST_POOLS
    made = fake_cuda.made
    caller_stream.CallerStream(100).empty(1, kind)
    assert fake_cuda.made == made
    caller_stream.CallerStream(101).empty(1, kind)
    assert fake_cuda.made == made + 1


def test_a_streams_handle_that_comes_back(fake_cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream is destroyed while it works, and a new one has its address: it does not get the buffers of the first."""
    kind = np.dtype(np.float32)
    monkeypatch.setattr(caller_stream, "_pools", OrderedDict())
    fake_cuda.streams[4711] = 1
    first = caller_stream.CallerStream(4711)
    there = first.empty(10, kind)
    address = stream.address(there)
    fake_cuda.streams[4711] = 2
    second = caller_stream.CallerStream(4711)
    del there
    memory = [second.empty(10, kind) for _ in range(3)]
    assert address not in map(stream.address, memory) and fake_cuda.made == 4
    assert stream.address(first.empty(10, kind)) == address
    del memory
    assert caller_stream.CallerStream(4711).empty(10, kind).array.size == 10 and fake_cuda.made == 4


def test_an_upload_reads_a_copy(fake_cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    """From pinned memory the GPU would read after the call, when the caller may have changed or freed it."""
    read: list[Any] = []
    monkeypatch.setattr(Memory, "copy_to_device", lambda self, source, stream: read.append(source), raising=False)
    array = np.arange(6, dtype=np.float32)
    caller_stream.CallerStream(4711).upload(array)
    assert read[0].tolist() == array.tolist() and not np.shares_memory(read[0], array)


@pytest.mark.parametrize("when", ["made", "recorded"])
def test_a_call_that_is_interrupted_gives_nothing_back(
    when: str, fake_cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its work, which nothing waits for, may still read the borrowed memory."""
    here, owner = caller_stream.CallerStream(), Owner(None)
    end = weakref.ref(owner)
    here.borrow(owner)
    del owner

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        event = interrupted if when == "made" else lambda timing: SimpleNamespace(record=interrupted)
        patch.setattr(fake_cuda, "event", event)
        with pytest.raises(KeyboardInterrupt):
            here.give_back()
    del here
    gc.collect()
    fake_cuda.done = True
    caller_stream.CallerStream().give_back()
    assert end() is not None
    caller_stream._borrowed.clear()
