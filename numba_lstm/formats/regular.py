"""Opening regular files to read, with bounds on the sizes they may declare."""

from __future__ import annotations

import os
import stat
from io import BytesIO, FileIO

from numba_lstm.errors import FileFormatError

Readable = FileIO | BytesIO


def open_regular(path: str | os.PathLike[str]) -> tuple[FileIO, int]:
    """An unbuffered file to read, and its size in bytes.

    Raises `FileFormatError` for a pipe or a device, on which opening or reading could wait for ever, and for a folder;
    `OSError` for a file that is not there or may not be read.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise FileFormatError(f"{os.fspath(path)} is a folder; expected a file")
    if not stat.S_ISREG(mode):
        raise FileFormatError(f"{os.fspath(path)} is a pipe or a device; expected a file")
    file = FileIO(os.fspath(path), "r")
    return file, os.fstat(file.fileno()).st_size


def read_into(file: Readable, offset: int, buffer: memoryview) -> bool:
    """Fill `buffer` with the bytes from `offset` on; False where the file ends before."""
    file.seek(offset)
    done = 0
    while done < len(buffer):
        count = file.readinto(buffer[done:])
        if not count:
            return False
        done += count
    return True


def expansion_limit(stored: int) -> int:
    """The bytes of weights that a file of `stored` bytes may hold: weights barely shrink, so large growth is a trap."""
    return 16 * 2**20 + stored + min(7 * stored, 128 * 2**20)
