"""The members of a ``.keras`` file: packed by Keras, packed again by somebody else, or unpacked to a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from numba_lstm.errors import FileFormatError
from numba_lstm.formats.bounded import BoundedFile
from numba_lstm.formats.regular import open_regular, read_into
from numba_lstm.formats.zipped import ZipReader


class Folder:
    """An unpacked archive: the interface of `ZipReader`, for the files in a folder."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = os.fspath(path)
        self.members = {entry.name: entry for entry in Path(path).iterdir() if entry.is_file()}

    def read(self, name: str, limit: int) -> bytes:
        """A whole file of at most `limit` bytes."""
        file, size = open_regular(self.members[name])
        with file:
            content = bytearray(min(size, limit))
            if size > limit:
                raise FileFormatError(f"{self.name}: {name} has {size} bytes; expected at most {limit}")
            if not read_into(file, 0, memoryview(content)):
                raise FileFormatError(f"{self.name}: {name} became shorter while it was read")
        return bytes(content)

    @contextmanager
    def open_member(self, name: str) -> Iterator[BoundedFile]:
        """A file inside the archive, opened."""
        yield BoundedFile.open(self.members[name])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""


Archive = ZipReader | Folder


def open_archive(path: str | os.PathLike[str]) -> Archive:
    """A ``.keras`` file or the folder that one was unpacked to. Raises what `ZipReader` raises."""
    return Folder(path) if os.path.isdir(path) else ZipReader(path)


def find_member(archive: Archive, name: str) -> str | None:
    """The archive's name for `name`: at its top, or in the one folder that holds everything."""
    if name in archive.members:
        return name
    found = [
        member
        for member in archive.members
        if (parts := member.replace("\\", "/").split("/"))[1:] == [name] and parts[0] != "__MACOSX"
    ]
    return found[0] if len(found) == 1 else None
