"""The stream of a caller: what is asked for runs behind what the caller asked for, and nobody waits."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from numba_lstm.backends.cuda import dlpack, freeing, policy
from numba_lstm.backends.cuda.card import Array, Card, one_line
from numba_lstm.backends.cuda.interface import LEGACY, PER_THREAD
from numba_lstm.backends.cuda.pool import Pool
from numba_lstm.errors import DeviceMemoryError
from numba_lstm.kernels.cuda_target import SIMULATED, cuda, stream_id

# Memory is kept for the next call on the same stream: CUDA waits for all of the card when it frees some. By the GPU and
# what cuda_target.stream_id gives: work of a stream that is gone may go on in buffers that one at the same address must
# not have.
_pools: OrderedDict[tuple[int, int], Pool] = OrderedDict()
_pooling = threading.Lock()


class _Loan:
    """Other libraries' memory that a stream of theirs knows nothing about, and when it is not read any more."""

    def __init__(self, gpu: Any, owner: Any) -> None:
        self.gpu, self.owner = gpu, owner
        self.event: list[Any] = []  # none before all that reads the memory was asked for; shared, and emptied at once


# From when it is borrowed: of a call that is interrupted anywhere nothing ends too early.
_lent: set[_Loan] = set()
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
        self._borrowed: list[_Loan] = []
        with one_line():
            super().__init__(stream_of(handle))
            self._id = stream_id(handle)

    def upload(self, array: Array) -> Any:
        """A copy of an array in the card's memory, flat; one number at least."""
        # A copy: ordinary memory has been read when this returns, page-locked memory of the caller's would not.
        flat = np.array(array, order="C").reshape(-1)
        there = self.empty(flat.size, flat.dtype)
        if flat.size:
            with one_line():
                there.copy_to_device(flat, stream=self.stream)
        return there

    def empty(self, size: int, dtype: np.dtype[Any]) -> Any:
        """Room for that many numbers, perhaps where others were that this stream is done with by then."""
        in_bytes = max(size, 1) * dtype.itemsize
        # Behind one of these numbers each thread has a stream of its own.
        if not policy.keeps(in_bytes) or self.handle == PER_THREAD:
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
        key = self.number, self._id
        with _pooling:
            if key not in _pools:
                _pools[key] = Pool(lambda size: Card.empty(self, size, np.dtype(np.uint8)))
            _pools.move_to_end(key)
            while len(_pools) > policy.STREAMS_KEPT:
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
        loan = _Loan(cuda.gpus[self.number], owner)
        if not SIMULATED:  # where everything is done at once
            with _lending:
                _lent.add(loan)
        self._borrowed.append(loan)

    def give_back(self) -> None:
        """To be called when all work with what was borrowed has been asked for; lets go of it when that is done."""
        if SIMULATED:
            return
        with one_line(), _lending:
            if self._borrowed:
                event = [cuda.event(timing=False)]
                event[0].record(self.stream)
                for loan in self._borrowed:
                    loan.event = event
                self._borrowed = []
            done = [loan for loan in _lent if loan.event and loan.event[0].query()]
            _lent.difference_update(done)
        for loan in done:
            freeing.let_go(loan.gpu, loan.event)


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
            del event  # while the GPU is the current one
