"""HDF5 files written structure by structure, for what no library writes. Sections are those of its specification."""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path
from typing import Any

from numba_lstm.formats.hdf5 import H5File
from numba_lstm.formats.hdf5_data import H5Dataset

UNDEFINED = 0xFFFFFFFFFFFFFFFF
DATASPACE, LINK_INFO, DATATYPE, LINK, EXTERNAL, LAYOUT, FILTERS = 0x01, 0x02, 0x03, 0x06, 0x07, 0x08, 0x0B
ATTRIBUTE, ATTRIBUTE_INFO = 0x0C, 0x15
AT = 4096  # where the object "x" of `file` is
DATA = 8192  # and where its data are

Message = tuple[int, bytes] | tuple[int, bytes, int]  # type, content, flags


def superblock(root: int, size: int, base: int = 0) -> bytes:
    """Version 2 (II.A)."""
    return b"\x89HDF\r\n\x1a\n" + struct.pack("<BBBBQQQQI", 2, 8, 8, 0, base, UNDEFINED, size, root, 0)


def old_header(*messages: Message, count: int | None = None) -> bytes:
    """An object header of version 1 (IV.A.1.a)."""
    body = b"".join(
        struct.pack("<HHB3x", kind, len(content), flags[0] if flags else 0) + content
        for kind, content, *flags in messages
    )
    return struct.pack("<BxHIIxxxx", 1, len(messages) if count is None else count, 1, len(body)) + body


def new_header(body: bytes) -> bytes:
    """An object header of version 2 (IV.A.1.b)."""
    return b"OHDR" + struct.pack("<BBI", 2, 2, len(body)) + body


def dataspace(*shape: int) -> bytes:
    return struct.pack("<BBB5x", 1, len(shape), 0) + b"".join(struct.pack("<Q", n) for n in shape)


def floats(size: int = 4, bits: int = 0x20, **changes: int) -> bytes:
    """The datatype of IEEE 754 floats of 4 bytes, or others (IV.A.2.d)."""
    parts = {"offset": 0, "precision": 32, "exponent": 23, "width": 8, "mantissa": 0, "length": 23, "bias": 127}
    return struct.pack("<BBBBI", 0x11, bits, 31, 0, size) + struct.pack("<HHBBBBI", *(parts | changes).values())


def kind(number: int, size: int = 4) -> bytes:
    """A datatype of a class that has no properties."""
    return struct.pack("<BBBBI", 0x10 | number, 0, 0, 0, size)


def contiguous(size: int, address: int = DATA) -> bytes:
    return struct.pack("<BBQQ", 3, 1, address, size)


def chunked(address: int, *chunk: int, dims: int | None = None) -> bytes:
    """A layout of chunks, version 3; the size of an element is one more axis."""
    axes = (*chunk, 4)
    return struct.pack("<BBBQ", 3, 2, len(axes) if dims is None else dims, address) + struct.pack(
        f"<{len(axes)}I", *axes
    )


def tree(*chunks: tuple[tuple[int, ...], int, int]) -> bytes:
    """The B-tree of chunks (III.A.1): corner, address and size of each."""
    keys = b"".join(
        struct.pack("<II", size, 0) + struct.pack(f"<{len(corner) + 1}Q", *corner, 0) + struct.pack("<Q", address)
        for corner, address, size in chunks
    )
    return b"TREE" + struct.pack("<BBHQQ", 1, 0, len(chunks), UNDEFINED, UNDEFINED) + keys + bytes(32)


def filters(*numbers: int) -> bytes:
    return struct.pack("<BB6x", 1, len(numbers)) + b"".join(struct.pack("<HHHH", n, 0, 0, 0) for n in numbers)


def link(name: bytes, address: int, *, version: int = 1, kind: int = 0, length: int | None = None) -> bytes:
    """A link (IV.A.2.g); of another kind than 0 `address` stands where the link's own information does."""
    size = struct.pack("<B", len(name) if length is None else length)
    return struct.pack("<BBB", version, 8, kind) + size + name + struct.pack("<Q", address)


def attribute(name: bytes, count: int | None, value: bytes) -> bytes:
    """An attribute of strings of variable length."""
    datatype = struct.pack("<BBBBI", 0x19, 1, 0, 0, 16) + struct.pack("<BBBBI", 0x13, 0, 0, 0, 1)
    space = struct.pack("<BBBxI", 1, count is not None, 0, 0) + (b"" if count is None else struct.pack("<Q", count))
    return attribute_of(name, datatype, space, value)


def attribute_of(name: bytes, datatype: bytes, space: bytes, value: bytes, version: int = 1, flags: int = 0) -> bytes:
    """An attribute (IV.A.2.m): in version 1 its parts are padded to eight bytes."""
    parts = [name, datatype, space]
    if version == 1:
        parts = [part.ljust(-(-len(part) // 8) * 8, b"\0") for part in parts]
    head = struct.pack("<BBHHH", version, flags, len(name), len(datatype), len(space))
    return head + (b"\0" if version == 3 else b"") + b"".join(parts) + value


def strings(name: bytes, size: int, value: bytes, *shape: int, **changes: int) -> bytes:
    """An attribute of strings of fixed length."""
    return attribute_of(name, struct.pack("<BBBBI", 0x13, 0, 0, 0, size), dataspace(*shape), value, **changes)


def heap(size: int) -> bytes:
    """A heap of a great many empty values."""
    values = b"".join(struct.pack("<HHIQ", 2 + i % 60_000, 0, 0, 0) for i in range(size // 16))
    return (b"GCOL" + struct.pack("<BxxxQ", 1, size) + values)[:size]


def file(*root: Message, x: tuple[Message, ...] | None = None, data: bytes = b"", base: int = 0, end: int = 0) -> bytes:
    """A file whose root has messages, and whose object "x", at `AT`, has those of `x`, and `data`, at `DATA`."""
    links: tuple[Message, ...] = () if x is None else ((LINK, link(b"x", AT)),)
    content = bytes(48) + old_header(*links, *root)
    if x is not None:
        content = content.ljust(AT, b"\0") + old_header(*x)
    content = content.ljust(DATA, b"\0") + data
    return superblock(48, len(content) + end, base) + content[48:]


def dataset(
    *shape: int, dtype: bytes | None = None, layout: bytes | None = None, more: tuple[Message, ...] = ()
) -> tuple[Message, ...]:
    """The messages of a dataset of floats, whose data lie at `DATA`."""
    made = contiguous(4 * prod(shape)) if layout is None else layout
    return ((DATASPACE, dataspace(*shape)), (DATATYPE, floats() if dtype is None else dtype), (LAYOUT, made), *more)


LIBVERS = ["earliest", "v108", "v110", "latest"]  # of h5py


def read(path: Path, name: str) -> Any:
    """A dataset of a file."""
    with H5File(path) as file:
        return H5Dataset(file.root.child(name)).read()
