"""The numbers of an HDF5 dataset: type, shape and storage checked first, then read directly."""

from __future__ import annotations

import itertools
import struct
import zlib
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numba_lstm.checks import shown
from numba_lstm.errors import FileFormatError
from numba_lstm.formats.hdf5 import (
    DATASPACE,
    DATATYPE,
    EXTERNAL,
    FILTERS,
    FIXED_POINT,
    FLOATING_POINT,
    LAYOUT,
    UNDEFINED,
    H5Object,
)
from numba_lstm.formats.regular import expansion_limit

_INDEX_BYTES = 2**20  # of the B-tree that lists the chunks of one dataset
_GZIP, _SHUFFLE = 1, 2
_CLASSES = {3: "strings", 4: "bit fields", 5: "opaque bytes", 6: "compounds", 8: "enumerations", 9: "strings"}
# Bit offset, precision, exponent and mantissa (place and size of each) and bias of IEEE 754 floats, by size in bytes.
_IEEE = {2: (0, 16, 10, 5, 0, 10, 15), 4: (0, 32, 23, 8, 0, 23, 127), 8: (0, 64, 52, 11, 0, 52, 1023)}


class _Chunk(NamedTuple):
    address: int
    size: int
    filter_mask: int


class H5Dataset:
    """A dataset of which ``shape`` and ``dtype`` are known and the storage is known to lie inside the file.

    Raises `FileFormatError` for anything but plain integers and IEEE floats stored in the file itself.
    """

    def __init__(self, node: H5Object) -> None:
        self.node, self.h5 = node, node.h5
        with self.h5.file.parsing(f"the dataset {shown(node.path)}", _INDEX_BYTES):
            if any(kind not in node.messages for kind in (DATASPACE, DATATYPE, LAYOUT)):
                raise FileFormatError(f"{node.where()} is not a dataset; expected an array of numbers")
            self.dtype = self._read_dtype()
            shape, _ = self.h5.dataobjects.determine_data_shape(self._content(DATASPACE), 0)
            if shape is None or any(n >= 2**62 for n in shape) or len(shape) > 32:
                raise FileFormatError(f"{node.where()} has the shape {shown(shape)}; expected an array of numbers")
            self.shape: tuple[int, ...] = shape
            self.nbytes = prod(shape) * self.dtype.itemsize
            self._place()

    def _content(self, kind: int) -> bytes:
        message = self.node.messages[kind][0]
        if message.shared:
            raise FileFormatError(f"{self.node.where()} shares its description with others, which is not read")
        return message.content

    def _read_dtype(self) -> np.dtype[Any]:
        content = self._content(DATATYPE)
        kind, bits, size = content[0] & 0x0F, content[1], int.from_bytes(content[4:8], "little")
        if kind not in (FIXED_POINT, FLOATING_POINT):
            held = _CLASSES.get(kind, "no numbers")
            raise FileFormatError(f"{self.node.where()} holds {held}; expected floats or integers")
        if kind == FLOATING_POINT and (bits & 0x40 or struct.unpack_from("<HHBBBBI", content, 8) != _IEEE.get(size)):
            raise FileFormatError(f"{self.node.where()} holds floats of a special kind; expected IEEE 754")
        dtype: np.dtype[Any] = np.dtype(self.h5.datatype_msg.DatatypeMessage(content, 0).ptype.dtype)
        return dtype

    def _place(self) -> None:
        """Locate the data, and check that they are complete."""
        if EXTERNAL in self.node.messages:
            raise FileFormatError(f"{self.node.where()} keeps its data in another file, which is not opened")
        content = self._content(LAYOUT)
        version, layout = content[0], content[2] if content[0] < 3 else content[1]
        self._address, self._data = 0, b""
        self._chunks: dict[tuple[int, ...], _Chunk] = {}
        self._chunk_shape: tuple[int, ...] = ()
        self._filters: list[int] = []
        if layout == 0 and version >= 3:
            self._data = content[4 : 4 + int.from_bytes(content[2:4], "little")]
            present = len(self._data)
        elif layout == 1:
            (self._address,) = struct.unpack_from("<Q", content, 8 if version < 3 else 2)
            present = 0 if self._address == UNDEFINED else self.h5.file.size - self._address
        elif layout == 2 and version <= 3:
            present = self._place_chunks(content, version)
        else:
            kind = "virtual" if layout == 3 else "laid out in a newer way"
            raise FileFormatError(f"{self.node.where()} is {kind}, which is not read; write it again without chunks")
        if present < self.nbytes:
            raise FileFormatError(
                f"{self.node.where()} has shape {shown(self.shape)}, {self.nbytes} bytes, "
                f"of which the file holds {max(present, 0)}; it is damaged: copy or write it again"
            )

    def _place_chunks(self, content: bytes, version: int) -> int:
        rank = len(self.shape)
        if version == 3:
            dims, address = struct.unpack_from("<BQ", content, 2)
            position = 11
        else:
            dims, (address,), position = content[1], struct.unpack_from("<Q", content, 8), 16
        if dims != rank + 1 or not rank:
            raise FileFormatError(f"{self.node.where()} has {rank} axes and chunks of {dims - 1}")
        self._chunk_shape = struct.unpack_from(f"<{rank}I", content, position)
        if address == UNDEFINED or not all(self._chunk_shape):
            return 0
        tree = self.h5.btree.BTreeV1RawDataChunks(self.h5.file, address, dims)
        for leaf in tree.all_nodes[0]:
            for key, start in zip(leaf["keys"], leaf["addresses"], strict=True):
                self._chunks[key["chunk_offset"][:-1]] = _Chunk(start, key["chunk_size"], key["filter_mask"])
        stored = sum(chunk.size for chunk in self._chunks.values())
        largest = max((chunk.address + chunk.size for chunk in self._chunks.values()), default=0)
        if stored > self.h5.file.size or largest > self.h5.file.size:
            return 0
        if FILTERS in self.node.messages:
            self._filters = [int(entry["filter_id"]) for entry in self.node.header.filter_pipeline]
        if not set(self._filters) <= {_GZIP, _SHUFFLE}:
            raise FileFormatError(f"{self.node.where()} is packed with filters other than gzip and shuffle")
        if max(self.nbytes, self._chunk_bytes()) > expansion_limit(self.h5.file.size):
            raise FileFormatError(f"{self.node.where()} would grow from {stored} to {self.nbytes} bytes; refused")
        steps = (range(0, n, step) for n, step in zip(self.shape, self._chunk_shape, strict=True))
        return self.nbytes if all(corner in self._chunks for corner in itertools.product(*steps)) else 0

    def _chunk_bytes(self) -> int:
        return prod(self._chunk_shape) * self.dtype.itemsize

    def read(self) -> NDArray[Any]:
        """The numbers, as stored (byte order too)."""
        array = np.empty(self.shape, self.dtype)
        with self.h5.file.parsing(f"the data of {shown(self.node.path)}", 0):
            if self._chunks:
                for corner, chunk in self._chunks.items():
                    self._read_chunk(array, corner, chunk)
            elif self._data:
                array[...] = np.frombuffer(self._data, self.dtype, array.size).reshape(self.shape)
            elif array.size:
                self.h5.file.fill(self._address, array.reshape(-1).view(np.uint8).data)
        return array

    def _read_chunk(self, array: NDArray[Any], corner: tuple[int, ...], chunk: _Chunk) -> None:
        content = bytearray(chunk.size)
        self.h5.file.fill(chunk.address, memoryview(content))
        data = _unpack(content, self._filters, chunk.filter_mask, self._chunk_bytes(), self.dtype.itemsize)
        values = np.frombuffer(data, self.dtype, prod(self._chunk_shape)).reshape(self._chunk_shape)
        target = array[tuple(slice(at, at + n) for at, n in zip(corner, self._chunk_shape, strict=True))]
        target[...] = values[tuple(slice(0, n) for n in target.shape)]


def _unpack(data: bytes | bytearray, filters: list[int], mask: int, nbytes: int, itemsize: int) -> bytes | bytearray:
    """Undo the filters of one chunk, last applied first; those in `mask` were left out for it."""
    for index in reversed(range(len(filters))):
        if mask >> index & 1:
            continue
        if filters[index] == _GZIP:
            data = zlib.decompressobj().decompress(data, nbytes)
        else:
            data = np.frombuffer(data, np.uint8).reshape(itemsize, -1).T.tobytes()
    return data
