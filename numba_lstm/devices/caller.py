"""The stream of a caller: what is asked for runs behind what the caller asked for, and nobody waits."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba_lstm.devices import dlpack
from numba_lstm.devices.card import Card, one_line
from numba_lstm.devices.interface import LEGACY, PER_THREAD
from numba_lstm.kernels.cuda_target import SIMULATED, cuda

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
            return  # where everything is done at once
        with one_line(), _lending:
            while _lent and _lent[0][0].query():
                _lent.popleft()
            if borrowed:
                event = cuda.event(timing=False)
                event.record(self.stream)
                _lent.append((event, borrowed))


def _order(first: int, then: int, number: int) -> None:
    if first != then:
        with on(number):
            event = cuda.event() if SIMULATED else cuda.event(timing=False)
            event.record(stream_of(first))
            event.wait(stream_of(then))
