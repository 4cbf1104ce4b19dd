"""Streams of the workers of long runs, with copies through pinned (page-locked) memory, and pooled buffers.

A GPU reads pinned memory by itself, beside its kernels and the copies of other streams. For ordinary memory the driver
would make a copy first, while the calling thread waits.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from math import prod
from typing import Any, TypeVar

import numpy as np

from numba_lstm.backends.cuda import resources
from numba_lstm.backends.cuda.pool import Pool
from numba_lstm.backends.cuda.stream import Array, Stream, translated_errors
from numba_lstm.errors import DeviceError, DeviceMemoryError
from numba_lstm.kernels.cuda_target import SIMULATED, cuda

_T = TypeVar("_T")


class _PinnedSlice:
    """A part of a pinned buffer: the base of all of NumPy's views of it, so that it lives as long as any of them."""

    def __init__(self, part: Array) -> None:
        self.__array_interface__ = part.__array_interface__


class PinnedMemory:
    """A pool of pinned main memory for a GPU, for any thread.

    Where the system grants none, ordinary memory takes its place, so that copies take longer, and `refused` is True.
    """

    def __init__(self, gpu_number: int) -> None:
        self._gpu_number = gpu_number
        self._pool = Pool(self._make)
        self.refused = False

    def _make(self, size: int) -> Array:
        try:
            with translated_errors():
                return resources.allocate_pinned(self._gpu_number, size)
        except DeviceError:
            self.refused = True
            return np.empty(size, np.uint8)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array like that of ``numpy.empty``; its buffer is reused when no view of it is left."""
        size = prod(shape) * dtype.itemsize
        if not size:
            return np.empty(shape, dtype)
        buffer = self._pool.take(size)
        part = _PinnedSlice(buffer.memory[:size])
        self._pool.lend(buffer, part)
        return np.asarray(part).view(dtype).reshape(shape)

    def free_idle(self) -> None:
        """Free the idle buffers."""
        self._pool.free_idle()


def is_pinned(array: Array) -> bool:
    """Whether an array lies in memory of `PinnedMemory`."""
    owner: Any = array
    while owner is not None and not isinstance(owner, _PinnedSlice):
        owner = getattr(owner, "base", None)
    return owner is not None


class WorkerStream(Stream):
    """A new stream of a GPU for the thread that makes it, and for no other one.

    pools: those of all streams of the GPU in this process, to which this one's is added. Where memory is short, the
    idle buffers of all of them are freed.
    """

    def __init__(self, gpu_number: int, pinned: PinnedMemory, pools: list[Pool]) -> None:
        with translated_errors():
            cuda.select_device(gpu_number)
            stream = [cuda.stream()]
            # The list owns the stream, which has to end while its GPU is the current one.
            super().__init__(stream[0] if SIMULATED else cuda.external_stream(int(stream[0])))
        self._pinned, self._pools = pinned, pools
        self._pool = Pool(lambda size: Stream.empty(self, size, np.dtype(np.uint8)))
        pools.append(self._pool)
        self._in_use: list[Array] = []  # main memory of copies that may not be done yet
        weakref.finalize(self, _end, cuda.gpus[gpu_number], stream, self._in_use).atexit = False

    def upload(self, array: Array) -> Any:
        """A flat copy of an array in the GPU's memory, of one number at least.

        A contiguous array in pinned memory is read some time before `synchronize` returns; any other one may change at
        once.
        """
        if not (array.size and array.flags.c_contiguous and is_pinned(array)):
            source = self.host_array(array.shape if array.size else (1,), array.dtype)
            source[...] = array if array.size else 0
            array = source
        memory = self.empty(array.size, array.dtype)
        self._in_use.append(array)
        with translated_errors():
            memory.copy_to_device(array.reshape(-1), stream=self.numba_stream)
        return memory

    def download(self, memory: Any, out: Array) -> Array:
        """Fill ``out`` from the GPU's memory, see `Stream.download`."""
        self._in_use.append(out)
        return super().download(memory, out)

    def upload_and_wait(self, array: Array) -> Any:
        """A copy for other streams too, in memory outside the pool."""
        return self._allocated(lambda: Stream.upload_and_wait(self, array))

    def empty(self, size: int, dtype: np.dtype[Any]) -> Any:
        """Memory for `size` numbers; earlier work of this stream may still use it before later work does."""
        size = max(size, 1) * dtype.itemsize
        buffer = self._allocated(lambda: self._pool.take(size))
        memory = buffer.memory[:size].view(dtype)
        self._pool.lend(buffer, memory)
        return memory

    def _allocated(self, allocate: Callable[[], _T]) -> _T:
        """The result of allocate(), tried again without idle buffers if memory is short."""
        try:
            return allocate()
        except DeviceMemoryError:
            self.free_idle()
            return allocate()

    def free_idle(self) -> None:
        """Free the idle buffers of all streams of the GPU."""
        self.synchronize()  # memory is freed after the last work in it
        # The traceback of the error that led here refers to memory, and is part of a cycle in some versions of Python.
        resources.collect_garbage()
        for pool in list(self._pools):
            pool.free_idle()

    def host_array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array in pinned memory to download to, with any content."""
        return self._pinned.empty(shape, dtype)

    def synchronize(self) -> None:
        """Wait until all work of the stream is done."""
        super().synchronize()
        self._in_use.clear()

    def close(self) -> None:
        """Free the idle buffers, of device memory and of pinned memory."""
        try:
            self.synchronize()
        finally:
            self._pool.free_idle()
            self._pinned.free_idle()
        if not SIMULATED:
            with translated_errors(), cuda.gpus[self.gpu_number]:
                # numba defers deallocations; memory managers of others need not have the attribute.
                deallocations = getattr(cuda.current_context().memory_manager, "deallocations", None)
                if deallocations is not None:
                    deallocations.clear()


def _end(gpu: Any, stream: list[Any], in_use: list[Array]) -> None:
    """Release the resources that outlive a `WorkerStream`: its stream, and main memory of copies that are not done."""
    with contextlib.suppress(Exception):  # a finalizer cannot raise
        if in_use:
            with gpu:
                stream[0].synchronize()
    resources.release(gpu, stream)
