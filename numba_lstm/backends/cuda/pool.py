"""Buffers that are kept for the next time: CUDA takes long to make them, and waits for the whole card to free them."""

from __future__ import annotations

import threading
import weakref
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple


class Buffer(NamedTuple):
    """Memory, and how many bytes of it there are."""

    size: int
    memory: Any


class Pool:
    """Buffers of one kind of memory.

    One that is lent to an object comes back when that object is gone, in any thread. What fits best
    is used again; where nothing fits, a new buffer takes the place of the largest idle one. So there are never more
    buffers than were lent at one time. make: a new one of a given number of bytes. Any thread may use it.
    """

    def __init__(self, make: Callable[[int], Any]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._idle: list[Buffer] = []  # the smallest first
        # The end of an object may come at any moment, also while the lock is held: adding to a deque needs none.
        self._back: deque[Buffer] = deque()
        self.bytes = 0  # of all buffers, idle or not

    def take(self, size: int) -> Buffer:
        """A buffer of at least that number of bytes. Raises what making one raises."""
        with self._lock:
            self._collect()
            place = bisect_left(self._idle, size, key=_size)
            if place < len(self._idle):
                return self._idle.pop(place)
            if self._idle:
                self.bytes -= self._idle.pop().size
            buffer = Buffer(size, self._make(size))
            self.bytes += size
            return buffer

    def lend(self, buffer: Buffer, holder: Any) -> weakref.finalize[Any, Any]:
        """`buffer` comes back when `holder` is gone: by what is returned, for `part_with`."""
        loan = weakref.finalize(holder, self._back.append, buffer)
        loan.atexit = False
        return loan

    def part_with(self, loan: weakref.finalize[Any, Any]) -> None:
        """A buffer that is lent never comes back: its memory ends with the holder."""
        found = loan.detach()
        if found is not None:
            with self._lock:
                self.bytes -= found[2][0].size

    def forget(self) -> None:
        """Free the idle buffers."""
        with self._lock:
            self._collect()
            self.bytes -= sum(map(_size, self._idle))
            self._idle.clear()

    def _collect(self) -> None:
        while self._back:
            insort(self._idle, self._back.popleft(), key=_size)


def _size(buffer: Buffer) -> int:
    return buffer.size
