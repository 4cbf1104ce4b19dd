"""Members of a zip file, read in place: nothing is unpacked to disk, and sizes are checked before reading."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from numba_lstm.checks import shown
from numba_lstm.errors import FileFormatError, NumbaLSTMError
from numba_lstm.formats.bounded import BoundedFile
from numba_lstm.formats.npy import NpyHeader, read_header
from numba_lstm.formats.regular import expansion_limit, open_regular, read_into

_END_OF_DIRECTORY = b"PK\x05\x06"
_LOCATOR_64 = b"PK\x06\x07"
_LARGEST_DIRECTORY = 2**20  # bytes: ten thousand members
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_ENCRYPTED = 1
_PIECE = 2**20  # bytes that are looked at together


class ZipReader:
    """An open zip file whose directory was checked.

    Raises `FileFormatError` for damaged files, for names that are absolute, lead out of a folder or come twice, for
    encrypted, overlapping or otherwise packed members, and for sizes that the file does not have.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = os.fspath(path)
        self._file, self.size = open_regular(path)
        try:
            self._check_end()
            with self._reading("its directory"):
                self._zip = zipfile.ZipFile(self._file)
            self.members = {}
            for info in self._zip.infolist():
                self._check_member(info)
                self.members[info.filename] = info
            if sum(info.compress_size for info in self.members.values()) > self.size:
                raise FileFormatError(f"{self.name} has members that overlap; it is damaged: copy or write it again")
        except BaseException:
            self._file.close()
            raise

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        try:
            yield
        except NumbaLSTMError:
            raise
        # zipfile and zlib meet hostile bytes with many kinds of exceptions.
        except Exception as error:
            raise FileFormatError(
                f"{self.name} is damaged: cannot read {what} ({type(error).__name__}); copy or write it again"
            ) from error

    def _check_end(self) -> None:
        """Measure the directory before zipfile reads it whole into objects."""
        tail = bytearray(min(self.size, 22 + 2**16))
        if not self.size:
            raise FileFormatError(f"{self.name} is empty; expected a zip file")
        if not read_into(self._file, self.size - len(tail), memoryview(tail)):
            raise FileFormatError(f"{self.name} became shorter while it was read")
        place = tail.rfind(_END_OF_DIRECTORY)
        if place < 0 or len(tail) - place < 22:
            raise FileFormatError(
                f"{self.name} is not a whole zip file: it has no directory at its end; copy or write it again"
            )
        (size,) = struct.unpack_from("<I", tail, place + 12)
        if tail[max(0, place - 20) : place].startswith(_LOCATOR_64) and place >= 76:
            (size,) = struct.unpack_from("<Q", tail, place - 76 + 40)  # a zip64 directory stands in for the other
        if size > _LARGEST_DIRECTORY:
            raise FileFormatError(f"{self.name} has a directory of {size} bytes; expected at most {_LARGEST_DIRECTORY}")

    def _check_member(self, info: zipfile.ZipInfo) -> None:
        member = f"{self.name}: member {shown(info.filename)}"
        parts = info.filename.replace("\\", "/").split("/")
        if info.filename in self.members:
            raise FileFormatError(f"{member} is there twice; expected each once")
        if ".." in parts or parts[0] == "" or ":" in parts[0]:
            raise FileFormatError(f"{member} points out of the file; refused")
        if info.flag_bits & _ENCRYPTED:
            raise FileFormatError(f"{member} is encrypted; expected it plain")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise FileFormatError(f"{member} is packed by method {info.compress_type}; expected stored or deflated")
        if not 0 <= info.header_offset <= self.size - info.compress_size or (
            info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size
        ):
            raise FileFormatError(
                f"{member} has a size that the file does not have; it is damaged: copy or write it again"
            )

    def read(self, name: str, limit: int) -> bytes:
        """A whole member of at most `limit` bytes."""
        info = self.members[name]
        if info.file_size > limit:
            raise FileFormatError(f"{self.name}: {shown(name)} has {info.file_size} bytes; expected at most {limit}")
        with self._reading(shown(name)):
            return self._zip.read(info)

    @contextmanager
    def open_member(self, name: str) -> Iterator[BoundedFile]:
        """A member that is a file of a format of its own, its checksum verified: stored ones are read in place."""
        info, shown_as = self.members[name], f"{self.name}: {name}"
        with self._reading(shown(name)):
            if info.compress_type == zipfile.ZIP_STORED:
                start = self._start_of(info)
                whole = start + info.file_size <= self.size and self._checksum(start, info.file_size) == info.CRC
                member = BoundedFile(self._file, shown_as, info.file_size, start)
            else:
                member, whole = BoundedFile(self._inflated(info), shown_as, info.file_size), True
        if not whole:
            raise self._damaged(name)
        yield member

    def _checksum(self, start: int, size: int) -> int:
        buffer = memoryview(bytearray(min(size, _PIECE)))
        checksum = 0
        for offset in range(0, size, _PIECE):
            piece = buffer[: size - offset]
            if not read_into(self._file, start + offset, piece):
                return -1
            checksum = zlib.crc32(piece, checksum)
        return checksum

    def _inflated(self, info: zipfile.ZipInfo) -> BytesIO:
        if info.file_size > expansion_limit(self.size):
            raise FileFormatError(
                f"{self.name}: {shown(info.filename)} would grow from {info.compress_size} to {info.file_size} bytes; "
                "expected a file that is not packed"
            )
        content = BytesIO()
        with self._zip.open(info) as member:
            while piece := member.read(_PIECE):
                content.write(piece)
        return content

    def npy_header(self, name: str) -> NpyHeader:
        """The header of a member that is a .npy file."""
        info = self.members[name]
        with self._reading(shown(name)), self._zip.open(info) as member:
            return read_header(member, f"{self.name}: {name}", info.file_size)

    def read_npy(self, name: str, header: NpyHeader) -> NDArray[Any]:
        """The array of a member that is a .npy file, its checksum verified."""
        info = self.members[name]
        array = np.empty(header.shape[::-1] if header.fortran_order else header.shape, header.dtype)
        with self._reading(shown(name)):
            if info.compress_type == zipfile.ZIP_STORED:
                self._read_stored(info, header, array)
            else:
                with self._zip.open(info) as member:
                    _read_deflated(member, header, array)
        return array.T if header.fortran_order else array

    def _read_stored(self, info: zipfile.ZipInfo, header: NpyHeader, array: NDArray[Any]) -> None:
        """Read directly from the file into the array, without an intermediate copy."""
        start = self._start_of(info)
        rest = bytearray(info.file_size - array.nbytes)  # the header, and what follows the array
        buffer = array.reshape(-1).view(np.uint8).data if array.size else memoryview(bytearray())
        head, tail = memoryview(rest)[: header.offset], memoryview(rest)[header.offset :]
        whole = (
            read_into(self._file, start, head)
            and read_into(self._file, start + header.offset, buffer)
            and read_into(self._file, start + header.offset + array.nbytes, tail)
        )
        if not whole or zlib.crc32(tail, zlib.crc32(buffer, zlib.crc32(head))) != info.CRC:
            raise self._damaged(info.filename)

    def _start_of(self, info: zipfile.ZipInfo) -> int:
        """The position of a member's bytes, behind its local header."""
        local = bytearray(_LOCAL_HEADER.size)
        read_into(self._file, info.header_offset, memoryview(local))
        _, name_length, extra_length = _LOCAL_HEADER.unpack(local)
        return info.header_offset + len(local) + int(name_length) + int(extra_length)

    def _damaged(self, member: str) -> FileFormatError:
        return FileFormatError(
            f"{self.name}: {shown(member)} is damaged: its checksum does not fit; copy or write it again"
        )

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _read_deflated(member: IO[bytes], header: NpyHeader, array: NDArray[Any]) -> None:
    member.read(header.offset)
    if array.size:
        buffer = array.reshape(-1).view(np.uint8).data
        done = 0
        while done < len(buffer):
            part = member.read(min(_PIECE, len(buffer) - done))
            if not part:
                raise EOFError
            buffer[done : done + len(part)] = part
            done += len(part)
    while member.read(_PIECE):
        pass  # to the end, where zipfile verifies the checksum
