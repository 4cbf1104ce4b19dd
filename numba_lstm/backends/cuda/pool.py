"""A pool of buffers: allocation by CUDA is slow, and freeing waits for the whole GPU."""

from __future__ import annotations

import threading
import weakref
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple


class Buffer(NamedTuple):
    """Memory and its size in bytes."""

    size: int
    memory: Any


class Pool:
    """Buffers of one kind of memory, for any thread. make: allocates a given number of bytes.

    A buffer that is lent to an object returns when that object is gone, in any thread. The idle buffer that fits best
    is used first; where none fits, a new one replaces the largest idle one. So there are never more buffers than were
    lent at one time.
    """

    def __init__(self, make: Callable[[int], Any]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._idle: list[Buffer] = []  # the smallest first
        # An object may end at any moment, even while the lock is held: a deque is appended to without a lock.
        self._returned: deque[Buffer] = deque()
        self.bytes = 0  # of all buffers, idle or not

    def take(self, size: int) -> Buffer:
        """A buffer of `size` bytes or more. Raises what the allocation raises."""
        with self._lock:
            self._collect()
            index = bisect_left(self._idle, size, key=_size)
            if index < len(self._idle):
                return self._idle.pop(index)
            if self._idle:
                self.bytes -= self._idle.pop().size
            buffer = Buffer(size, self._make(size))
            self.bytes += size
            return buffer

    def lend(self, buffer: Buffer, holder: Any) -> weakref.finalize[Any, Any]:
        """Let `buffer` return when `holder` is gone. Returns the loan, for `detach`."""
        loan = weakref.finalize(holder, self._returned.append, buffer)
        loan.atexit = False
        return loan

    def detach(self, loan: weakref.finalize[Any, Any]) -> None:
        """Keep a lent buffer out of the pool: its memory is freed with the holder."""
        found = loan.detach()
        if found is not None:
            with self._lock:
                self.bytes -= found[2][0].size

    def free_idle(self) -> None:
        """Free the idle buffers."""
        with self._lock:
            self._collect()
            self.bytes -= sum(map(_size, self._idle))
            self._idle.clear()

    def _collect(self) -> None:
        while self._returned:
            insort(self._idle, self._returned.popleft(), key=_size)


def _size(buffer: Buffer) -> int:
    return buffer.size
