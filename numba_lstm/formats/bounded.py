"""A file for parsers that trust their input: bytes, time and exceptions are limited from outside."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from numba_lstm.errors import FileFormatError, one_line
from numba_lstm.formats.regular import Readable, open_regular, read_into

_METADATA_SECONDS = 1.5  # processor time: a slow disk or a busy machine does not count
_BLOCK = 8192


class BoundedFile:
    """The file that the parsers see: reads count against an allowance and a limit on processor time.

    It is `raw` from `start` on, `size` bytes of it, and finally closes it; `name` is for messages.
    """

    def __init__(self, raw: Readable, name: str, size: int, start: int = 0) -> None:
        self._raw, self.name, self.size, self._start = raw, name, size, start
        self._block = b""  # what was read last, from _block_start on: parsers read a few bytes at a time
        self._block_start = 0
        self._position = 0
        self._allowance = 0
        self._spent = 0.0  # seconds of the processor
        self._started: float | None = None

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """A whole file. Raises what `open_regular` raises."""
        raw, size = open_regular(path)
        return cls(raw, os.fspath(path), size)

    def seek(self, position: int) -> None:
        """Set the position of the next read; any value is accepted, since damaged files hold any address."""
        self._position = position

    def tell(self) -> int:
        """The position of the next read."""
        return self._position

    def read(self, count: int) -> bytes:
        """At most `count` bytes. Raises `FileFormatError` once the allowance or the time is used up."""
        if self._started is not None and self._spent + time.thread_time() - self._started > _METADATA_SECONDS:
            raise FileFormatError(
                f"{self.name} takes too long to make sense of; it is damaged or not a model: copy or write it again"
            )
        if not 0 <= self._position < self.size:
            return b""
        count = min(count, self.size - self._position)
        self._allowance -= count
        if count < 0 or self._allowance < 0:
            raise FileFormatError(
                f"{self.name} has metadata beyond all measure; it is damaged or not a model: copy or write it again"
            )
        start = self._position
        self._position += count
        if not self._block_start <= start <= start + count <= self._block_start + len(self._block):
            block = bytearray(min(max(count, _BLOCK), self.size - start))
            self.fill(start, memoryview(block))
            self._block, self._block_start = bytes(block), start
        return self._block[start - self._block_start : start - self._block_start + count]

    def fill(self, position: int, buffer: memoryview) -> None:
        """Read data from `position` on, after their size was checked against the file's."""
        if not read_into(self._raw, self._start + position, buffer):
            raise FileFormatError(f"{self.name} became shorter while it was read")

    @contextmanager
    def parsing(self, what: str, allowance: int) -> Iterator[None]:
        """Grant `allowance` bytes, and turn every exception of a parser into one line about `what`."""
        self._allowance = allowance
        outermost = self._started is None
        if outermost:
            self._started = time.thread_time()
        try:
            yield
        except FileFormatError as error:
            if str(error).startswith(one_line(self.name)):
                raise
            raise FileFormatError(f"{self.name}: {error}") from error
        # Parsers meet hostile bytes with any exception at all: KeyError, AssertionError, MemoryError, RecursionError...
        except Exception as error:
            reason = type(error).__name__
            raise FileFormatError(
                f"{self.name} is damaged: cannot read {what} ({reason}); copy or write it again"
            ) from error
        finally:
            if outermost and self._started is not None:
                self._spent += time.thread_time() - self._started
                self._started = None

    def close(self) -> None:
        """Close the file."""
        self._raw.close()
