"""The stream of a caller: what is asked for runs behind what the caller asked for, and nobody waits."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from numba_lstm.devices import dlpack
from numba_lstm.devices.card import Array, Card, one_line
from numba_lstm.devices.interface import LEGACY, PER_THREAD
from numba_lstm.devices.pool import Pool
from numba_lstm.errors import DeviceMemoryError
from numba_lstm.kernels.cuda_target import SIMULATED, cuda

# Memory is kept for the next call on the same stream: CUDA waits for all of the card when it frees some. Buffers of so
# many bytes at most, for so many streams, those that were used last.
_LARGEST, _STREAMS = 256 << 20, 8
_pools: OrderedDict[tuple[int, int], Pool] = OrderedDict()
_pooling = threading.Lock()

# Other libraries' memory that a stream of theirs knows nothing about: an event says when it is not read any more.
_lent: deque[tuple[Any, list[Any]]] = deque()
_lending = threading.Lock()


@contextmanager
def on(number: int) -> Iterator[None]:
    """Within it a GPU is the current one of this thread."""
    with one_line(), cuda.gpus[number]:
        yield


def stream_of(handle: int) -> Any:
    """numba's object for a stream, by the number that protocols use: 1, 2, or its address."""
    if SIMULATED:
        return cuda.stream()
    if handle == LEGACY:
        return cuda.legacy_default_stream()
    return cuda.per_thread_default_stream() if handle == PER_THREAD else cuda.external_stream(handle)


class Caller(Card):
    """A stream that somebody else may have made, by its number, and the GPU that is the current one."""

    def __init__(self, handle: int = LEGACY) -> None:
        self.handle = handle
        self._borrowed: list[Any] = []
        with one_line():
            super().__init__(stream_of(handle))

    def upload(self, array: Array) -> Any:
        """A copy of an array in the card's memory, flat; one number at least."""
        flat = np.ascontiguousarray(array).reshape(-1)
        there = self.empty(flat.size, flat.dtype)
        if flat.size:
            with one_line():
                there.copy_to_device(flat, stream=self.stream)
        return there

    def empty(self, size: int, dtype: np.dtype[Any]) -> Any:
        """Room for so many numbers, perhaps where others were that this stream is done with by then."""
        in_bytes = max(size, 1) * dtype.itemsize
        # Behind one of these numbers each thread has a stream of its own.
        if in_bytes > _LARGEST or self.handle == PER_THREAD:
            return super().empty(size, dtype)
        pool = self._pool()
        try:
            buffer = pool.take(in_bytes)
        except DeviceMemoryError:
            forget()
            buffer = pool.take(in_bytes)
        there = buffer.memory[:in_bytes].view(dtype)
        there.loan = pool, pool.lend(buffer, there)
        return there

    def part_with(self, memory: Any) -> None:
        """Somebody reads memory on a stream that this one knows nothing about: nothing else may be put there then."""
        if (found := getattr(memory, "loan", None)) is not None:
            pool, loan = found
            pool.part_with(loan)

    def _pool(self) -> Pool:
        """The memory of this stream."""
        key = self.number, self.handle
        with _pooling:
            if key not in _pools:
                _pools[key] = Pool(lambda size: Card.empty(self, size, np.dtype(np.uint8)))
            _pools.move_to_end(key)
            while len(_pools) > _STREAMS:
                _pools.popitem(last=False)
            return _pools[key]

    @property
    def dlpack_device(self) -> tuple[int, int]:
        """The GPU as DLPack names it; the simulator's is main memory."""
        return (dlpack.CPU, 0) if SIMULATED else (dlpack.CUDA, self.number)

    def follow(self, handle: int) -> None:
        """Let this stream wait for what another one was asked for so far."""
        _order(handle, self.handle, self.number)

    def lead(self, handle: int) -> None:
        """Let another stream wait for what this one was asked for so far."""
        _order(self.handle, handle, self.number)

    def borrow(self, owner: Any) -> None:
        """Keep memory that another stream may give away, until the work of this one is done: see `give_back`."""
        self._borrowed.append(owner)

    def give_back(self) -> None:
        """To be called when all work with what was borrowed has been asked for; lets go of it when that is done."""
        borrowed, self._borrowed = self._borrowed, []
        if SIMULATED:
            return  # everything is done at once there
        with one_line(), _lending:
            while _lent and _lent[0][0].query():
                _lent.popleft()
            if borrowed:
                event = cuda.event(timing=False)
                event.record(self.stream)
                _lent.append((event, borrowed))


def forget() -> None:
    """Free what is kept for later."""
    with _pooling:
        for pool in _pools.values():
            pool.forget()


def _order(first: int, then: int, number: int) -> None:
    if first != then:
        with on(number):
            event = cuda.event() if SIMULATED else cuda.event(timing=False)
            event.record(stream_of(first))
            event.wait(stream_of(then))
