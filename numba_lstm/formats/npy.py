""".npy files: read by windows of rows, written row by row, never as a whole-file memory map.

(A memory map of the whole file counts against limits on address space, and shows a half-written file as whole.)
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from numba_lstm.checks import shown
from numba_lstm.errors import DTypeError, FileFormatError, ShapeError
from numba_lstm.formats.atomic import AtomicFile, publish
from numba_lstm.formats.regular import open_regular, read_into

# Makes an array of a shape and dtype whose values do not matter, as numpy.empty does.
Empty = Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]]

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 65536
_SLAB = 4 * 2**20  # bytes read at once where they are to be converted or picked from
_FAR_APART = 256 * 2**10  # from this many bytes on, a piece is read by itself

# Possessive quantifiers throughout: a hostile header is turned down in linear time.
_ENTRY = r"""(?:'(\w++)'|"(\w++)")\s*+:\s*+('[^']*+'|"[^"]*+"|True|False|\([\s\dL,]*+\))"""
_HEADER = re.compile(rf"\s*+\{{\s*+{_ENTRY}\s*+,\s*+{_ENTRY}\s*+,\s*+{_ENTRY}\s*+(?:,\s*+)?\}}\s*+")
_FIELDS = re.compile(r"""['"]descr['"]\s*+:\s*+\[""")
_DTYPE = re.compile(r"([<>|=]?)([a-zA-Z?])(\d*)(?:\[\w+\])?")
_KINDS = {
    "O": ("objects, which need pickle", "save it again with .astype('float32')"),
    "c": ("complex numbers", "save .real or .imag, or both as features"),
    "V": ("raw bytes", "save one field of it"),
    "S": ("text", "save it again with .astype('float32')"),
    "U": ("text", "save it again with .astype('float32')"),
    "M": ("dates", "save them as numbers, for example seconds"),
    "m": ("time differences", "save them as numbers, for example seconds"),
}
_EXPECTED = "expected floats of 16, 32 or 64 bits, integers or bool"
_SIZES = {"f": (2, 4, 8), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "b": (1,)}


@dataclass(frozen=True)
class NpyHeader:
    """The header of a .npy file; `offset` is where the data begin."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    offset: int

    @property
    def nbytes(self) -> int:
        """Size of the data in bytes."""
        return prod(self.shape) * self.dtype.itemsize


def read_header(file: IO[bytes] | io.RawIOBase, name: str, size: int) -> NpyHeader:
    """The header of the .npy that starts at the position of `file` and has `size` bytes with all that follows.

    Format versions 1, 2 and 3; bytes after the data are accepted, as NumPy does. Raises `FileFormatError` for what is
    not a whole .npy file and `DTypeError` for an element type other than floats of 16 to 64 bits, integers and bool.
    """
    start = _read(file, 8)
    if not start:
        raise FileFormatError(f"{name} is empty; expected a .npy file")
    if not _MAGIC.startswith(start[:6]):
        raise FileFormatError(f"{name} is not a .npy file: it begins with {shown(start)}, expected {shown(_MAGIC)}")
    if len(start) < 8:
        raise FileFormatError(f"{name} ends inside its header; expected a whole .npy file; write it again")
    version = start[6]
    if version not in (1, 2, 3):
        raise FileFormatError(f"{name} has .npy format version {version}; expected 1, 2 or 3")
    width = 2 if version == 1 else 4
    length = int.from_bytes(_read(file, width), "little")
    if length > _LONGEST_HEADER:
        raise FileFormatError(f"{name} claims a header of {length} bytes; expected at most {_LONGEST_HEADER}")
    text = _read(file, length)
    if len(text) < length:
        raise FileFormatError(f"{name} ends inside its header; expected a whole .npy file; write it again")
    shape, dtype, fortran_order = _parse(text, name)
    header = NpyHeader(shape, dtype, fortran_order, 8 + width + length)
    stored = size - header.offset
    if header.nbytes > stored:
        raise FileFormatError(
            f"{name} holds {stored} bytes of data; expected {header.nbytes} for shape {shape} and {dtype}; "
            "it was cut short: write it again"
        )
    # With a 0 among them, the sizes of the other axes are bounded by nothing above.
    if prod(n for n in shape if n) * dtype.itemsize >= 2**63:
        raise FileFormatError(f"{name} has shape {shown(shape)}, larger than any array can be")
    return header


def _parse(text: bytes, name: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    if _FIELDS.search(text.decode("latin-1")):
        raise DTypeError(f"{name} holds records with several fields (structured dtype); {_EXPECTED}; save one field")
    match = _HEADER.fullmatch(text.decode("latin-1"))
    entries: dict[str, str] = {}
    if match:
        groups = match.groups()
        entries = {groups[i] or groups[i + 1]: groups[i + 2] for i in (0, 3, 6)}
    if entries.keys() != {"descr", "fortran_order", "shape"}:
        raise FileFormatError(
            f"{name} has the header {shown(text)}; expected descr, fortran_order and shape; "
            "it is damaged: copy or write it again"
        )
    if entries["fortran_order"] not in ("True", "False") or not entries["shape"].startswith("("):
        raise FileFormatError(
            f"{name} has fortran_order {entries['fortran_order']} and shape {shown(entries['shape'])}"
        )
    try:
        axes = [part.strip().removesuffix("L") for part in entries["shape"][1:-1].split(",")]
        shape = tuple(int(axis) for axis in axes if axis)
    except ValueError:
        raise FileFormatError(f"{name} has shape {shown(entries['shape'])}; expected integers") from None
    if any(axis >= 2**63 for axis in shape) or len(shape) > 32:
        raise FileFormatError(f"{name} has shape {shown(entries['shape'])}, larger than any array can be")
    return shape, _dtype(entries["descr"], name), entries["fortran_order"] == "True"


def _dtype(descr: str, name: str) -> np.dtype[Any]:
    match = _DTYPE.fullmatch(descr[1:-1])
    if not match:
        raise DTypeError(f"{name} has dtype {shown(descr[1:-1])}; {_EXPECTED}")
    order, kind, digits = match.groups()
    kind = "b" if kind == "?" else kind
    if kind in _KINDS:
        what, remedy = _KINDS[kind]
        raise DTypeError(f"{name} holds {what} (dtype {shown(descr[1:-1])}); {_EXPECTED}; {remedy}")
    if kind not in _SIZES or not (digits or kind == "b") or int(digits[:3] or 1) not in _SIZES[kind]:
        raise DTypeError(f"{name} has dtype {shown(descr[1:-1])}; {_EXPECTED}")
    return np.dtype(f"{order}{kind}{int(digits[:3] or 1)}")


def _read(file: IO[bytes] | io.RawIOBase, count: int) -> bytes:
    """`count` bytes, or fewer where the file ends."""
    parts = []
    while count > 0 and (part := file.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


class NpyReader:
    """An open .npy file, read by rows on demand.

    ``shape`` and ``dtype`` are as stored; ``read_rows`` gives native, C-ordered arrays. For one thread at a time.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file, size = open_regular(path)
        try:
            self.header = self._header(size)
        except BaseException:
            self._file.close()
            raise
        self.shape = self.header.shape
        self.dtype = self.header.dtype

    def _header(self, size: int) -> NpyHeader:
        try:
            return read_header(self._file, str(self.path), size)
        except FileFormatError:
            from numba_lstm.formats.detection import check_array  # late: it imports this module

            check_array(self.path)  # says more, if it knows what the file is
            raise

    def conversion(self, dtype: DTypeLike) -> str | None:
        """The conversion that reads the file as `dtype`, in one line of text; None if there is none."""
        peculiar = [] if self.dtype.isnative else ["big-endian" if self.dtype.str[0] == ">" else "little-endian"]
        peculiar += ["Fortran-ordered"] if self.header.fortran_order and len(self.shape) > 1 else []
        if self.dtype.newbyteorder("=") == np.dtype(dtype) and not peculiar:
            return None
        return f"{self.path}: {' '.join([*peculiar, self.dtype.name])} read as {np.dtype(dtype).name}"

    def read_rows(
        self, start: int, stop: int, *, axis: int = 0, dtype: DTypeLike | None = None, empty: Empty = np.empty
    ) -> NDArray[Any]:
        """Rows `start` to `stop` of `axis`, C-ordered, as `dtype` (None: as stored, in native byte order).

        empty: makes the array to read into, unless another order in the file makes a copy necessary. Values beyond the
        range of `dtype` become infinite. Raises `ShapeError` for rows that are not there.
        """
        ndim = len(self.shape)
        if not 0 <= axis < ndim or not 0 <= start <= stop <= self.shape[axis]:
            raise ShapeError(f"{self.path} has shape {self.shape}; it has no rows {start} to {stop} of axis {axis}")
        target = self.dtype.newbyteorder("=") if dtype is None else np.dtype(dtype)
        if self.header.fortran_order:
            stored = self._read_window(self.shape[::-1], ndim - 1 - axis, start, stop, target)
            return np.ascontiguousarray(stored.T)
        return self._read_window(self.shape, axis, start, stop, target, empty)

    def read(self, dtype: DTypeLike | None = None) -> NDArray[Any]:
        """The whole array, of any rank."""
        if not self.shape:
            whole = self._read_window((1,), 0, 0, 1, self.dtype.newbyteorder("=") if dtype is None else np.dtype(dtype))
            return whole.reshape(())
        return self.read_rows(0, self.shape[0], dtype=dtype)

    def _read_window(
        self,
        shape: tuple[int, ...],
        axis: int,
        start: int,
        stop: int,
        target: np.dtype[Any],
        empty: Empty = np.empty,
    ) -> NDArray[Any]:
        """Rows of one axis of a C-ordered file: pieces of (stop - start) * inner items, length * inner apart."""
        out = empty((*shape[:axis], stop - start, *shape[axis + 1 :]), target)
        outer, length, inner = prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])
        if not out.size:
            return out
        pieces = out.reshape(outer, stop - start, inner)
        itemsize = self.dtype.itemsize
        together = _SLAB // (length * inner * itemsize)  # how many outer indices fit into one slab
        if outer == 1 or not together or (stop - start) * inner * itemsize >= _FAR_APART:
            for index in range(outer):
                self._read_run((index * length + start) * inner, pieces[index].reshape(-1))
            return out
        for first in range(0, outer, together):
            count = min(together, outer - first)
            slab = self._read_items(first * length * inner, count * length * inner)
            _assign(pieces[first : first + count], slab.reshape(count, length, inner)[:, start:stop])
        return out

    def _read_run(self, position: int, out: NDArray[Any]) -> None:
        """Fill the flat `out` with items that follow one another in the file."""
        if out.dtype == self.dtype and out.dtype != np.bool_:
            self._fill(position, out.data.cast("B"))
            return
        step = max(1, _SLAB // self.dtype.itemsize)
        for first in range(0, out.size, step):
            _assign(out[first : first + step], self._read_items(position + first, min(step, out.size - first)))

    def _read_items(self, position: int, count: int) -> NDArray[Any]:
        # Booleans come as bytes: a byte other than 0 and 1 would make an invalid array of bool.
        items = np.empty(count, np.uint8 if self.dtype == np.bool_ else self.dtype)
        self._fill(position, items.view(np.uint8).data)
        return items != 0 if self.dtype == np.bool_ else items

    def _fill(self, position: int, buffer: memoryview) -> None:
        if not read_into(self._file, self.header.offset + position * self.dtype.itemsize, buffer):
            raise FileFormatError(f"{self.path} became shorter while it was read")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _assign(out: NDArray[Any], items: NDArray[Any]) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        out[...] = items


def open_npy(path: str | os.PathLike[str]) -> NpyReader:
    """Open a .npy file for reading by windows. Raises `FileFormatError`, `DTypeError`, `OSError`."""
    return NpyReader(path)


def header_bytes(shape: tuple[int, ...], dtype: DTypeLike) -> bytes:
    """The first bytes of a .npy file of C-ordered data, exactly as NumPy writes them."""
    buffer = io.BytesIO()
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


class NpyWriter:
    """A .npy file that grows row by row along `axis`, and appears when it is whole.

    `shape` is that of the finished array; `replace` as in `AtomicFile`. As a context manager it commits at the
    end and discards on any exception. For one thread at a time. `shown_as` is another shape of as many numbers for the
    header, for rows that stand for more axes than one, or for none.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        shape: tuple[int, ...],
        dtype: DTypeLike,
        *,
        axis: int = 0,
        shown_as: tuple[int, ...] | None = None,
        replace: bool = True,
    ) -> None:
        self.path = Path(path)
        self.shape = tuple(int(n) for n in shape)
        if shown_as is not None and prod(shown_as) != prod(self.shape):
            raise ShapeError(f"{self.path} cannot show {self.shape} as {shown_as}; expected as many numbers")
        self.dtype = np.dtype(dtype)
        self.rows_written = 0
        self._axis = axis
        self._output = AtomicFile(path, replace=replace)
        try:
            header = header_bytes(self.shape if shown_as is None else shown_as, self.dtype)
            self._output.file.write(header)
            self._offset = len(header)
        except BaseException:
            self._output.discard()
            raise

    def write_rows(self, rows: NDArray[Any]) -> None:
        """Write the next rows: an array of the final shape but for `axis`. Raises `ShapeError` if they do not fit."""
        shape, axis = self.shape, self._axis
        first, last = self.rows_written, self.rows_written + (rows.shape[axis] if rows.ndim == len(shape) else 0)
        if rows.shape != (*shape[:axis], last - first, *shape[axis + 1 :]) or last > shape[axis]:
            raise ShapeError(f"{self.path} got rows of shape {rows.shape} after {first}; expected parts of {shape}")
        outer, length, inner = prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])
        if rows.size:
            pieces = np.ascontiguousarray(rows, self.dtype).reshape(outer, -1)
            for index in range(outer):
                self._output.file.seek(self._offset + (index * length + first) * inner * self.dtype.itemsize)
                self._output.file.write(pieces[index].data.cast("B"))
        self.rows_written = last

    def commit(self) -> None:
        """Rename the finished file to its final name. Raises `ShapeError`, and leaves nothing, if rows are missing."""
        commit_all([self])

    def whole(self) -> AtomicFile:
        """The file, ready to be renamed. Raises `ShapeError` if rows are missing."""
        if self.rows_written != self.shape[self._axis]:
            raise ShapeError(f"{self.path} got {self.rows_written} rows; expected {self.shape[self._axis]}")
        return self._output

    def discard(self) -> None:
        """Leave nothing behind. Safe to call twice, and after `commit`."""
        self._output.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()


def commit_all(writers: Sequence[NpyWriter]) -> None:
    """Rename the finished files to their final names, in this order, and all of them or none; see `publish`."""
    try:
        publish([writer.whole() for writer in writers])
    except BaseException:
        for writer in writers:
            writer.discard()
        raise


def write_npy(path: str | os.PathLike[str], array: NDArray[Any]) -> None:
    """Write a whole array of rank 1 or more to a .npy file, which appears whole or not at all."""
    with NpyWriter(path, array.shape, array.dtype) as output:
        output.write_rows(array)
