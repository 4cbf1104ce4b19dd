"""The stream of a caller: its work runs after what the caller has asked for, and nothing waits."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np

from numba_lstm.backends.cuda import dlpack, policy, resources
from numba_lstm.backends.cuda.interface import LEGACY, PER_THREAD
from numba_lstm.backends.cuda.pool import Pool
from numba_lstm.backends.cuda.stream import Array, Stream, translated_errors, use_gpu
from numba_lstm.errors import DeviceMemoryError
from numba_lstm.kernels.cuda_target import SIMULATED, cuda, stream_id

# Pools for the next call on the same stream: freeing memory makes CUDA wait for the whole GPU. The key is the number of
# the GPU and cuda_target.stream_id: a new stream may have the address of a destroyed one, which may still be working in
# its buffers.
_pools: OrderedDict[tuple[int, int], Pool] = OrderedDict()
_pools_lock = threading.Lock()


class _Borrowed:
    """Memory of another library, kept alive until the work that reads it is done."""

    def __init__(self, gpu: Any, owner: Any) -> None:
        self.gpu, self.owner = gpu, owner
        self.event: list[Any] = []  # empty until all that work has been asked for; shared, and emptied once


# Entered when it is borrowed, so that an interrupt anywhere in a call frees nothing too early.
_borrowed: set[_Borrowed] = set()
_borrowed_lock = threading.Lock()


def numba_stream_of(handle: int) -> Any:
    """numba's object for a stream with the number that the protocols use: 1, 2, or its address."""
    if SIMULATED:
        return cuda.stream()
    if handle == LEGACY:
        return cuda.legacy_default_stream()
    return cuda.per_thread_default_stream() if handle == PER_THREAD else cuda.external_stream(handle)


class CallerStream(Stream):
    """A stream of the current GPU that another library may have made. handle: 1, 2, or its address."""

    def __init__(self, handle: int = LEGACY) -> None:
        self.handle = handle
        self._borrowed: list[_Borrowed] = []
        with translated_errors():
            super().__init__(numba_stream_of(handle))
            self._id = stream_id(handle)

    def upload(self, array: Array) -> Any:
        """A flat copy of an array in the GPU's memory, of one number at least."""
        # From a copy: unlike ordinary memory, the caller's pinned memory would be read after this returns.
        flat = np.array(array, order="C").reshape(-1)
        memory = self.empty(flat.size, flat.dtype)
        if flat.size:
            with translated_errors():
                memory.copy_to_device(flat, stream=self.numba_stream)
        return memory

    def empty(self, size: int, dtype: np.dtype[Any]) -> Any:
        """Memory for `size` numbers, perhaps of a buffer that earlier work of this stream has used."""
        size_in_bytes = max(size, 1) * dtype.itemsize
        # The handle of the per-thread default stream stands for a different stream in each thread.
        if not policy.is_pooled(size_in_bytes) or self.handle == PER_THREAD:
            return super().empty(size, dtype)
        pool = self._pool()
        try:
            buffer = pool.take(size_in_bytes)
        except DeviceMemoryError:
            free_idle_memory()
            buffer = pool.take(size_in_bytes)
        memory = buffer.memory[:size_in_bytes].view(dtype)
        memory.loan = pool, pool.lend(buffer, memory)
        return memory

    def exclude_from_pool(self, memory: Any) -> None:
        """Never reuse the buffer of `memory`, which others may read on a stream unknown to this one."""
        if (found := getattr(memory, "loan", None)) is not None:
            pool, loan = found
            pool.detach(loan)

    def _pool(self) -> Pool:
        key = self.gpu_number, self._id
        with _pools_lock:
            if key not in _pools:
                _pools[key] = Pool(lambda size: Stream.empty(self, size, np.dtype(np.uint8)))
            _pools.move_to_end(key)
            while len(_pools) > policy.MOST_POOLS:
                _pools.popitem(last=False)
            return _pools[key]

    @property
    def dlpack_device(self) -> tuple[int, int]:
        """The GPU as DLPack names it; the simulator's is main memory."""
        return (dlpack.CPU, 0) if SIMULATED else (dlpack.CUDA, self.gpu_number)

    def wait_for(self, handle: int) -> None:
        """Make this stream wait for the work that another one has been asked for so far."""
        _order(handle, self.handle, self.gpu_number)

    def make_wait(self, handle: int) -> None:
        """Make another stream wait for the work that this one has been asked for so far."""
        _order(self.handle, handle, self.gpu_number)

    def borrow(self, owner: Any) -> None:
        """Keep memory alive that its library may reuse on another stream, until the work of this one is done."""
        borrowed = _Borrowed(cuda.gpus[self.gpu_number], owner)
        if not SIMULATED:  # where work is done at once
            with _borrowed_lock:
                _borrowed.add(borrowed)
        self._borrowed.append(borrowed)

    def give_back(self) -> None:
        """Let go of borrowed memory once the work that reads it is done; called when all of it has been asked for."""
        if SIMULATED:
            return
        with translated_errors(), _borrowed_lock:
            if self._borrowed:
                event = [cuda.event(timing=False)]
                event[0].record(self.numba_stream)
                for borrowed in self._borrowed:
                    borrowed.event = event
                self._borrowed = []
            done = [borrowed for borrowed in _borrowed if borrowed.event and borrowed.event[0].query()]
            _borrowed.difference_update(done)
        for borrowed in done:
            resources.release(borrowed.gpu, borrowed.event)


def free_idle_memory() -> None:
    """Free the idle buffers of all streams."""
    with _pools_lock:
        for pool in _pools.values():
            pool.free_idle()


def _order(first: int, then: int, gpu_number: int) -> None:
    if first != then:
        with use_gpu(gpu_number):
            event = cuda.event() if SIMULATED else cuda.event(timing=False)
            event.record(numba_stream_of(first))
            event.wait(numba_stream_of(then))
            del event  # while the GPU is the current one
