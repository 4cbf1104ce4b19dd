"""ONNX files field by field: the graph, and the places of its numbers in the file.

The files are protobuf messages. They are walked here rather than given to the parser of the package onnx: that parser
makes objects of all it meets before anybody can measure it (two bytes may become a hundred), copies every weight, and
takes longer to import than a model takes to load. This walk skips what it does not need, reads the rest against an
allowance and the clock, and remembers the weights as places in the file. Field numbers are those of onnx.proto3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numba_lstm.checks import shown
from numba_lstm.errors import FileFormatError
from numba_lstm.formats.bounded import BoundedFile
from numba_lstm.formats.onnx_attributes import DEFAULTS, KIND_OF_FIELD, KINDS, check_attributes

_READ_BYTES = 16 * 2**20  # of all that is not weights
_MOST_FIELDS = 100_000  # numbers in a list count as one each
_LONGEST_TEXT = 4096
_LARGEST_CONSTANT = 2**20  # elements that are read as part of the graph rather than as weights

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DTYPES = {1: "<f4", 2: "u1", 3: "i1", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8"}
# Fields of a tensor, and the types whose numbers they hold: as they are in memory, and listed one by one.
_PACKED = {4: (1,), 10: (11,)}
_LISTED = {5: (2, 3, 5, 6, 9, 10), 7: (7,), 11: ()}
_EXTERNAL = 1


class Field(NamedTuple):
    """One field of a message: a number, or a place in the file."""

    number: int
    wire: int  # how it is written
    value: int  # of a number: itself; its bits, if it is a float
    start: int
    end: int


@dataclass(frozen=True)
class GraphConstant:
    """A constant of the graph: its type, shape and the place of its numbers."""

    wire: OnnxWire
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int  # of the numbers in the file
    values: NDArray[Any] | None = None  # numbers that are not stored as they are in memory

    def read(self, first: int = 0, count: int | None = None) -> NDArray[Any]:
        """All numbers in shape, or `count` of them from `first` on."""
        shape = self.shape if count is None else (count,)
        if self.values is not None:
            return self.values[first : first + prod(shape)].reshape(shape).copy()
        array = np.empty(shape, self.dtype)
        if array.size:
            place = self.start + first * self.dtype.itemsize
            self.wire.file.fill(place, array.reshape(-1).view(np.uint8).data)
        return array

    def constant(self) -> NDArray[Any]:
        """All numbers, of a tensor that is small enough to compute with while reading."""
        if prod(self.shape) > _LARGEST_CONSTANT:
            raise FileFormatError(
                f"tensor {shown(self.name)} has shape {self.shape}, too large for a part of the graph"
            )
        return self.read()


@dataclass
class Node:
    """One operation of the graph."""

    name: str = ""
    op: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)

    def where(self) -> str:
        """The node's name for messages."""
        return f"node {shown(self.name or (self.outputs or [''])[0])}"


@dataclass
class Graph:
    """The graph of a model: axes of inputs and outputs are numbers, or names where they are open."""

    producer: str = "unknown"
    opset: int = 0
    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, GraphConstant] = field(default_factory=dict)
    inputs: dict[str, list[int | str]] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)


class OnnxWire:
    """The messages of an ONNX file. Every method raises `FileFormatError` for malformed bytes."""

    def __init__(self, file: BoundedFile) -> None:
        self.file = file
        self._fields = _MOST_FIELDS

    def read_graph(self) -> Graph:
        """The graph of the file."""
        graph = Graph()
        with self.file.parsing("the graph", _READ_BYTES):
            producer, place = ["", ""], None
            for part in self._message(0, self.file.size):
                if part.number in (2, 3):
                    producer[part.number - 2] = self._text(part)
                elif part.number == 7:
                    place = part
                elif part.number == 8:
                    domain, version = self._opset(part)
                    graph.opset = version if domain in ("", "ai.onnx") else graph.opset
            if place is None:
                raise FileFormatError(f"{self.file.name} holds no graph; expected an ONNX model")
            graph.producer = " ".join(filter(None, producer)) or "unknown"
            self._read_graph(place, graph)
        return graph

    def _read_graph(self, place: Field, graph: Graph) -> None:
        for part in self._message(place.start, place.end):
            if part.number == 1:
                graph.nodes.append(self._node(part))
            elif part.number == 5:
                tensor = self._tensor(part)
                if tensor.name in graph.tensors:
                    raise FileFormatError(f"{self.file.name} has two tensors {shown(tensor.name)}; it is damaged")
                graph.tensors[tensor.name] = tensor
            elif part.number == 11:
                name, shape = self._value(part)
                graph.inputs[name] = shape
            elif part.number == 12:
                graph.outputs.append(self._value(part)[0])
            elif part.number == 15:
                raise FileFormatError(f"{self.file.name} has sparse tensors, which are not read; export it without")

    # -- the wire: tags, numbers and places --

    def _message(self, start: int, end: int) -> Iterator[Field]:
        while start < end:
            self._count(1)
            self.file.seek(start)
            head = self.file.read(20)
            tag, at = _varint(head, 0)
            value = 0
            stop = 0
            if tag & 7 == _VARINT:
                value, at = _varint(head, at)
            elif tag & 7 == _BYTES:
                value, at = _varint(head, at)
                stop = start + at + value
            elif tag & 7 == _FIXED32:
                value, at = int.from_bytes(head[at : at + 4], "little"), at + 4
            elif tag & 7 == _FIXED64:
                value, at = int.from_bytes(head[at : at + 8], "little"), at + 8
            else:
                raise FileFormatError(f"{self.file.name} is no ONNX model, or damaged: copy or write it again")
            start += at
            if max(start, stop) > end:
                raise FileFormatError(f"{self.file.name} was cut short, or is no ONNX model: copy or write it again")
            yield Field(tag >> 3, tag & 7, value, start, stop or start)
            start = stop or start

    def _bytes(self, part: Field, limit: int) -> bytes:
        if part.end - part.start > limit:
            raise FileFormatError(f"{self.file.name} has a field of {part.end - part.start} bytes; expected {limit}")
        self.file.seek(part.start)
        return self.file.read(part.end - part.start)

    def _check_wire(self, part: Field, wire: int) -> None:
        if part.wire != wire:
            raise FileFormatError(
                f"{self.file.name} has a field {part.number} that is written as another kind of value; it is damaged: "
                "copy or write it again"
            )

    def _text(self, part: Field) -> str:
        self._check_wire(part, _BYTES)
        return self._bytes(part, _LONGEST_TEXT).decode("utf-8")

    def _numbers(self, part: Field) -> list[int]:
        """Signed integers: one, or several packed into one field."""
        if part.wire != _BYTES:
            self._check_wire(part, _VARINT)
            return [_signed(part.value)]
        content, at, found = self._bytes(part, 10 * _LONGEST_TEXT), 0, []
        while at < len(content):
            value, at = _varint(content, at)
            found.append(_signed(value))
        self._count(len(found))
        return found

    def _count(self, number: int) -> None:
        self._fields -= number
        if self._fields < 0:
            raise FileFormatError(f"{self.file.name} has fields without end; it is damaged or not a model")

    def _floats(self, part: Field) -> list[float]:
        if part.wire != _BYTES:
            self._check_wire(part, _FIXED32)
            return [_float(part.value)]
        values = np.frombuffer(self._bytes(part, 4 * _LONGEST_TEXT), "<f4")
        self._count(values.size)
        return [float(value) for value in values]

    # -- messages --

    def _opset(self, part: Field) -> tuple[str, int]:
        domain, version = "", 0
        for inner in self._message(part.start, part.end):
            if inner.number == 1:
                domain = self._text(inner)
            elif inner.number == 2:
                version = inner.value
        return domain, version

    def _node(self, part: Field) -> Node:
        node = Node()
        attributes = []
        for inner in self._message(part.start, part.end):
            if inner.number in (1, 2):
                (node.inputs if inner.number == 1 else node.outputs).append(self._text(inner))
            elif inner.number == 5:
                attributes.append(inner)
            elif inner.number in (3, 4, 7):
                setattr(node, {3: "name", 4: "op", 7: "domain"}[inner.number], self._text(inner))
        kinds: dict[str, str] = {}
        for inner in attributes:
            name, kind, value = self._attribute(inner, node.where())
            if name in kinds:
                raise FileFormatError(f"{node.where()} has the attribute {shown(name)} twice; export it again")
            kinds[name], node.attributes[name] = kind, value
        if node.domain in ("", "ai.onnx"):
            check_attributes(node.op, kinds, node.where())
        return node

    def _attribute(self, part: Field, where: str) -> tuple[str, str, Any]:
        """The name, type and value of an attribute; None for the value of a type that no operation here has."""
        name, declared, holds, values = "", 0, [], []
        for inner in self._message(part.start, part.end):
            if inner.number == 1:
                name = self._text(inner)
            elif inner.number == 20:
                self._check_wire(inner, _VARINT)
                declared = inner.value
            elif inner.number == 21:
                raise FileFormatError(f"{where}: attribute {shown(name)} is that of a function; export it again")
            elif inner.number in KIND_OF_FIELD:
                holds.append(KIND_OF_FIELD[inner.number])
                values += self._attribute_values(inner)
        kind = KINDS.get(declared) if declared or not holds else holds[0]  # the oldest files declare none
        if kind is not None and all(held == kind for held in holds):
            if kind.many or len(holds) == 1:
                return name, kind.name, values if kind.many else values[0]
            if not holds and kind.name in DEFAULTS:
                return name, kind.name, DEFAULTS[kind.name]
        held = ", ".join(one.name for one in holds[:4]) or "nothing"
        raise FileFormatError(
            f"{where}: attribute {shown(name)} is declared as {kind.name if kind else declared} and holds {held}; "
            "expected one value of the type that is declared; export it again"
        )

    def _attribute_values(self, part: Field) -> list[Any]:
        """The values in a field of an attribute, by the field's number."""
        if part.number == 7:
            return self._floats(part)
        if part.number == 8:
            return self._numbers(part)
        self._check_wire(part, {2: _FIXED32, 3: _VARINT}.get(part.number, _BYTES))
        if part.number == 2:
            return [_float(part.value)]
        if part.number == 3:
            return [_signed(part.value)]
        if part.number in (4, 9):
            return [self._text(part)]
        return [self._tensor(part) if part.number == 5 else None]

    def _tensor(self, part: Field) -> GraphConstant:
        name, shape, code, place, listed = "", [], 0, None, []
        held: set[int] = set()  # the fields that hold numbers
        for inner in self._message(part.start, part.end):
            if inner.number == 8:
                name = self._text(inner)
            elif inner.number == 1:
                shape += self._numbers(inner)
            elif inner.number == 2:
                code = inner.value
            elif inner.number == 9 or inner.number in _PACKED:
                if place is not None:
                    raise FileFormatError(f"{self.file.name} has a tensor in pieces, which is not read; export it anew")
                place = inner
                held.add(inner.number)
            elif inner.number in _LISTED:
                listed += self._numbers(inner)
                held.add(inner.number)
            elif inner.number in (3, 6, 13) or (inner.number == 14 and inner.value == _EXTERNAL):
                what = "keeps its data in another file, which is not opened; export it into one file"
                what = what if inner.number in (13, 14) else "is in segments or holds text, which is not read"
                raise FileFormatError(f"{self.file.name}: tensor {shown(name)} {what}")
        if code not in _DTYPES or min(shape, default=0) < 0 or len(shape) > 8 or max(shape, default=0) >= 2**31:
            raise FileFormatError(
                f"{self.file.name}: tensor {shown(name)} is of type {code} and shape {shown(shape)}; expected "
                "floats of 16 to 64 bits or integers"
            )
        dtype = np.dtype(_DTYPES[code])
        if any(number != 9 and code not in {**_PACKED, **_LISTED}[number] for number in held) or len(held) > 1:
            raise FileFormatError(
                f"{self.file.name}: tensor {shown(name)} of {dtype} has its numbers in {shown(sorted(held))} of the "
                "fields of a tensor; expected one of them, for its type; it is damaged: copy or write it again"
            )
        values = None if place else self._values(listed, dtype, name)
        stored = place.end - place.start if place else len(listed) * dtype.itemsize
        if stored != prod(shape) * dtype.itemsize:
            raise FileFormatError(
                f"{self.file.name}: tensor {shown(name)} has shape {tuple(shape)} and {stored} bytes; expected "
                f"{prod(shape) * dtype.itemsize}; it is damaged: copy or write it again"
            )
        return GraphConstant(self, name, tuple(shape), dtype, place.start if place else 0, values)

    def _values(self, listed: list[int], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
        """Numbers that are listed one by one; of floats of 16 bits it is their bits."""
        numbers = np.array(listed, np.int64)
        plain = np.dtype(np.uint16) if dtype.kind == "f" else dtype
        values = numbers.astype(plain)
        if (values != numbers).any():
            raise FileFormatError(f"{self.file.name}: tensor {shown(name)} has numbers that no {plain} holds")
        return values.view(dtype)

    def _value(self, part: Field) -> tuple[str, list[int | str]]:
        """The name and shape of an input or output."""
        name, shape = "", []
        for inner in self._message(part.start, part.end):
            if inner.number == 1:
                name = self._text(inner)
            elif inner.number == 2:
                shape = self._shape(inner)
        return name, shape

    def _shape(self, part: Field) -> list[int | str]:
        axes: list[int | str] = []
        for kind in self._message(part.start, part.end):
            for inner in self._message(kind.start, kind.end) if kind.number == 1 else ():
                for axis in self._message(inner.start, inner.end) if inner.number == 2 else ():
                    length: int | str = ""
                    for entry in self._message(axis.start, axis.end):
                        length = entry.value if entry.number == 1 else self._text(entry)
                    axes.append(length)
        return axes


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = 0
    for i in range(10):
        if at + i >= len(content):
            break
        value |= (content[at + i] & 0x7F) << 7 * i
        if content[at + i] < 0x80:
            return value, at + i + 1
    raise FileFormatError("a number does not end where it should")


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _float(bits: int) -> float:
    return float(struct.unpack("<f", struct.pack("<I", bits & 0xFFFFFFFF))[0])
