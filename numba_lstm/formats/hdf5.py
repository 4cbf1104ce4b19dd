"""A bounded walk over an HDF5 file, on the parsers of pyfive.

pyfive is pure Python, so hostile bytes cannot crash the process; but taken whole it trusts the sizes that a file
declares, follows links wherever they lead and inflates chunks without bound. So its parsers of single structures are
used here, and what a file can make them do is limited: bytes are bounded per structure, time is bounded for all
metadata, and data are read only after their size was checked against the file's. Supported is what libraries write by
default: hard links, attributes in object headers, contiguous, compact and chunked data.

Section numbers are those of the HDF5 File Format Specification, version 3.0.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from math import prod
from types import TracebackType
from typing import Any, NamedTuple, Self

from numba_lstm.checks import shown
from numba_lstm.errors import FileFormatError, MissingPackageError
from numba_lstm.formats.bounded import BoundedFile

SIGNATURE = b"\x89HDF\r\n\x1a\n"

# Bytes that one structure may make the parsers read. The Python objects made of them can take a hundred times that.
_HEADER_BYTES = 640 * 2**10  # an object header: eight attributes of 64 kB
_LINKS_BYTES = 2**20  # the B-tree, names and entries of one group
_HEAP_BYTES = 4 * 2**20  # all heaps together; a model's configuration lies in one
_LONGEST_NAME = 4096
_DEEPEST_TREE = 8
_MOST_MESSAGES = 4096  # of one object header; ordinary ones have ten

# Message types, IV.A.2
DATASPACE, LINK_INFO, DATATYPE, LINK, EXTERNAL = 0x01, 0x02, 0x03, 0x06, 0x07
LAYOUT, FILTERS, ATTRIBUTE, SYMBOL_TABLE, ATTRIBUTE_INFO = 0x08, 0x0B, 0x0C, 0x11, 0x15
# Base address and end of file in superblocks of version 0, and 2 or 3 (II.A); pyfive knows no others.
_SUPERBLOCK = {0: struct.Struct("<24xQ8xQ"), 2: struct.Struct("<12xQ8xQ")}
UNDEFINED = 0xFFFFFFFFFFFFFFFF
FIXED_POINT, FLOATING_POINT, STRING, VARIABLE_LENGTH = 0, 1, 3, 9  # datatype classes, IV.A.2.d


class HeaderMessage(NamedTuple):
    """One message of an object header: its content, and whether it only points at a shared one."""

    content: bytes
    shared: bool


class H5File:
    """An open HDF5 file: at a path, or inside another file.

    Raises `FileFormatError` for what is none, `MissingPackageError` without pyfive.
    """

    def __init__(self, path: str | os.PathLike[str] | BoundedFile) -> None:
        try:
            from pyfive import btree, dataobjects, datatype_msg, misc_low_level
        except ImportError as error:
            raise MissingPackageError(
                "reading HDF5 files needs the package pyfive; install it with: pip install 'numba_lstm[h5]'"
            ) from error
        self.btree, self.dataobjects, self.datatype_msg, self.low = btree, dataobjects, datatype_msg, misc_low_level
        self.file = path if isinstance(path, BoundedFile) else BoundedFile.open(path)
        self.name = self.file.name
        self._objects: dict[int, H5Object] = {}
        self._heaps: dict[int, dict[int, bytes]] = {}
        self._heap_bytes = _HEAP_BYTES
        try:
            self.root = H5Object(self, self._root_address(), "/")
        except BaseException:
            self.close()
            raise

    def _root_address(self) -> int:
        with self.file.parsing("the superblock", 1024):
            start = self.file.read(64)
            if not start.startswith(SIGNATURE):
                raise FileFormatError(
                    f"{self.name} is not an HDF5 file: it does not begin with {shown(SIGNATURE)}; "
                    "give one that Keras saved"
                )
            block = self.low.SuperBlock(self.file, 0)
            base, end = _SUPERBLOCK[min(start[8], 2)].unpack_from(start)
            if base:
                raise FileFormatError(f"{self.name} has its addresses shifted by {base} bytes, which is not read")
            if end > self.file.size:
                raise FileFormatError(
                    f"{self.name} has {self.file.size} bytes; expected {end}; it was cut short: copy or write it again"
                )
            return int(block.offset_to_dataobjects)

    def object_at(self, address: int, path: str) -> H5Object:
        """The group or dataset at an address; each is parsed once."""
        if address not in self._objects:
            self._objects[address] = H5Object(self, address, path)
        return self._objects[address]

    def heap_object(self, address: int, index: int) -> bytes:
        """One object of a global heap (III.E), where values of variable length lie."""
        if address not in self._heaps:
            before = self._heap_bytes
            with self.file.parsing("a heap", self._heap_bytes):
                heap = self.low.GlobalHeap(self.file, address)
                self._heap_bytes = before - len(heap.heap_data)
                self._heaps[address] = dict(heap.objects)
        if index not in self._heaps[address]:
            raise FileFormatError(f"{self.name} is damaged: a value is missing from its heap; copy or write it again")
        return self._heaps[address][index]

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class H5Object:
    """A group or a dataset: its attributes, and what it links to."""

    def __init__(self, file: H5File, address: int, path: str) -> None:
        self.h5, self.path = file, path
        with file.file.parsing(f"the object {shown(path)}", _HEADER_BYTES):
            header = file.dataobjects.DataObjects(file.file, address)
            if len(header.msgs) > _MOST_MESSAGES:
                raise FileFormatError(
                    f"{self.where()} has {len(header.msgs)} parts; it is damaged: copy or write it again"
                )
            self.messages: dict[int, list[HeaderMessage]] = {}
            for entry in header.msgs:
                start = entry["offset_to_message"]
                message = HeaderMessage(header.msg_data[start : start + entry["size"]], bool(entry["flags"] & 2))
                self.messages.setdefault(entry["type"], []).append(message)
        self.header = header
        self._links: dict[str, int | str] | None = None

    def where(self) -> str:
        """The object's name for messages."""
        return f"{self.h5.name}: {shown(self.path)}"

    def attribute(self, name: str) -> Any:
        """The attribute's value: bytes, a list of bytes, or None where there is none. Numbers count as none."""
        for message in self.messages.get(ATTRIBUTE, ()):
            with self.h5.file.parsing(f"an attribute of {shown(self.path)}", 0):
                attribute = _split_attribute(message)
            if attribute.name == name.encode():
                with self.h5.file.parsing(f"the attribute {name} of {shown(self.path)}", 0):
                    return self._attribute_value(attribute, name)
        if self._has_dense_attributes():
            raise FileFormatError(
                f"{self.where()} keeps its attributes outside its header, which is not read; "
                "write the file again with Keras"
            )
        return None

    def _attribute_value(self, attribute: _Attribute, name: str) -> bytes | list[bytes] | None:
        shape, _ = self.h5.dataobjects.determine_data_shape(attribute.dataspace, 0)
        count = 0 if shape is None else prod(shape)
        kind, data = attribute.datatype[0] & 0x0F, attribute.data
        if kind == STRING:
            size = int.from_bytes(attribute.datatype[4:8], "little")
            values = [data[i * size : (i + 1) * size].rstrip(b"\0") for i in range(min(count, len(data)))]
        elif kind == VARIABLE_LENGTH and attribute.datatype[1] & 0x0F == 1:
            size = 16
            values = [self._variable(data[i * 16 : i * 16 + 16]) for i in range(min(count, len(data) // 16))]
        else:
            return None if count else []
        if count * size > len(data):
            raise FileFormatError(f"{self.where()} is damaged: its attribute {name} is cut short")
        if shape == ():
            return values[0]
        if any(len(value) > _LONGEST_NAME for value in values):
            raise FileFormatError(f"{self.where()} is damaged: its attribute {name} holds endless names")
        return values

    def _variable(self, reference: bytes) -> bytes:
        length, address, index = struct.unpack("<IQI", reference)
        return self.h5.heap_object(address, index)[:length] if length else b""

    def _has_dense_attributes(self) -> bool:
        for message in self.messages.get(ATTRIBUTE_INFO, ()):
            start = 4 if message.content[1:2] and message.content[1] & 1 else 2
            if message.content[start : start + 8] != b"\xff" * 8:
                return True
        return False

    @property
    def links(self) -> dict[str, int | str]:
        """Name -> address, or -> the kind of an unusable link ("a soft link", "an external link")."""
        if self._links is None:
            with self.h5.file.parsing(f"the group {shown(self.path)}", _LINKS_BYTES):
                self._links = dict(self._iter_links())
        return self._links

    def _iter_links(self) -> Iterator[tuple[str, int | str]]:
        for message in self.messages.get(SYMBOL_TABLE, ()):
            yield from self._old_links(*struct.unpack_from("<QQ", message.content))
        for message in self.messages.get(LINK, ()):
            yield _decode_link(message.content)
        for message in self.messages.get(LINK_INFO, ()):
            start = 10 if message.content[1] & 1 else 2
            heap, names = struct.unpack_from("<QQ", message.content, start)
            if heap != UNDEFINED and names != UNDEFINED:
                yield from self._dense_links(heap, names)

    def _old_links(self, tree_address: int, heap_address: int) -> Iterator[tuple[str, int | str]]:
        """Links in symbol tables (III.B), as before HDF5 1.8."""
        tree = self.h5.btree.BTreeV1Groups(self.h5.file, tree_address)
        names = self.h5.low.Heap(self.h5.file, heap_address).data
        for address in tree.symbol_table_addresses():
            for entry in self.h5.low.SymbolTable(self.h5.file, address).entries:
                start = entry["link_name_offset"]
                end = names.index(b"\0", start, start + _LONGEST_NAME)
                target = "a soft link" if entry["cache_type"] == 2 else entry["object_header_address"]
                yield names[start:end].decode(), target

    def _dense_links(self, heap_address: int, tree_address: int) -> Iterator[tuple[str, int | str]]:
        """Links in a fractal heap (III.G), as in groups with many members."""
        self.h5.file.seek(tree_address + 12)
        (depth,) = struct.unpack("<H", self.h5.file.read(2))
        if depth > _DEEPEST_TREE:
            raise FileFormatError(f"{self.where()} is damaged: its index has {depth} levels")
        heap = self.h5.low.FractalHeap(self.h5.file, heap_address)
        for record in self.h5.btree.BTreeV2GroupNames(self.h5.file, tree_address).iter_records():
            content = heap.get_data(record["heapid"])
            if len(content) > 2 * _LONGEST_NAME:
                raise FileFormatError(f"{self.where()} is damaged: it has a link without end")
            yield _decode_link(content)

    def child(self, name: str) -> H5Object:
        """The member at `name`, which may be a path. Raises `FileFormatError` for links of other kinds."""
        member = self
        for part in name.split("/"):
            if not part:
                continue
            target = member.links.get(part)
            path = f"{member.path.rstrip('/')}/{part}"
            if target is None:
                raise FileFormatError(
                    f"{self.h5.name} has no {shown(path)}, which it lists; it is damaged: copy or write it again"
                )
            if isinstance(target, str):
                raise FileFormatError(
                    f"{self.h5.name}: {shown(path)} is {target}, which is not followed; save the model into one file"
                )
            member = self.h5.object_at(target, path)
        return member


class _Attribute(NamedTuple):
    name: bytes
    datatype: bytes
    dataspace: bytes
    data: bytes


def _split_attribute(message: HeaderMessage) -> _Attribute:
    """The parts of an attribute message (IV.A.2.m)."""
    content = message.content
    version, flags, *sizes = struct.unpack_from("<BBHHH", content)
    if message.shared or version not in (1, 2, 3) or (version > 1 and flags & 3):
        raise FileFormatError("an attribute is of a kind that is not read")
    position = 9 if version == 3 else 8
    parts = []
    for size in sizes:
        parts.append(content[position : position + size])
        position += -(-size // 8) * 8 if version == 1 else size
    return _Attribute(parts[0].rstrip(b"\0"), parts[1], parts[2], content[position:])


def _decode_link(content: bytes) -> tuple[str, int | str]:
    """Name and target of a link message (IV.A.2.g)."""
    version, flags = content[0], content[1]
    if version != 1:
        raise FileFormatError(f"a link has version {version}")
    position = 2
    kind = 0
    if flags & 8:
        kind, position = content[position], position + 1
    position += (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
    width = 1 << (flags & 3)
    length = int.from_bytes(content[position : position + width], "little")
    position += width
    name = content[position : position + length]
    if len(name) < length:
        raise FileFormatError("a link is cut short")
    if kind == 0:
        return name.decode(), int(struct.unpack_from("<Q", content, position + length)[0])
    return name.decode(), {1: "a soft link", 64: "an external link"}.get(kind, "a link of an unknown kind")
