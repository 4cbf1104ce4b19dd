"""safetensors files: the project's own, and PyTorch state dicts.

The layout is 8 bytes with the header's length, a header of JSON, and the numbers. It is read and written here and not
by the package ``safetensors`` (0.8 was tried), for four reasons. That package maps the whole file into memory: where
address space is limited it panics, and the process is killed if the file becomes shorter meanwhile. It takes headers of
up to 100 MB, which cost seconds and gigabytes to parse; here they have the bounds of all other JSON. It gives NumPy no
bfloat16. And arrays are wanted straight from the file, transposed where PyTorch has its axes the other way round,
without a copy between. The tests hold files against the package in both directions.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numba_lstm.checks import shown
from numba_lstm.errors import DTypeError, FileFormatError
from numba_lstm.formats.atomic import AtomicFile
from numba_lstm.formats.config_json import MAX_BYTES, parse_json
from numba_lstm.formats.own import checked_keys, document_of, read_document, stored_model, weights_by_key
from numba_lstm.formats.regular import open_regular, read_into
from numba_lstm.formats.state_dict import holds_lstm, read_state_dict
from numba_lstm.formats.stored import StoredArray, StoredModel
from numba_lstm.model import Sequential

OWN_KEY = "numba_lstm"  # of __metadata__: the document of numba_lstm.formats.own
_METADATA = "__metadata__"
_SLAB = 2**20  # bytes at once where numbers are converted or transposed
_ALIGNMENT = 64  # of the first number in a file written here
_MOST_AXES = 32

# The format's name of an element type -> NumPy's of the same size, and the true name where NumPy has none.
_DTYPES: Mapping[str, tuple[str, str]] = {
    "F64": ("<f8", ""),
    "F32": ("<f4", ""),
    "F16": ("<f2", ""),
    "BF16": ("<u2", "bfloat16"),
    "I64": ("<i8", ""),
    "I32": ("<i4", ""),
    "I16": ("<i2", ""),
    "I8": ("i1", ""),
    "U64": ("<u8", ""),
    "U32": ("<u4", ""),
    "U16": ("<u2", ""),
    "U8": ("u1", ""),
    "BOOL": ("u1", "bool"),
}
_NAMES = {"float32": "F32", "float64": "F64"}


class TensorEntry(NamedTuple):
    """One entry of a header: `start` counts from the first byte after the header."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    kind: str
    start: int


@contextmanager
def open_safetensors(path: str | os.PathLike[str]) -> Iterator[StoredModel]:
    """The model in a safetensors file; its arrays can be read while the context lasts.

    Raises `FileFormatError` for a damaged file or one without an LSTM, `DTypeError` for numbers of 8 bits and less.
    """
    file, size = open_regular(path)
    with file:
        name = os.fspath(path)
        header, begin = _read_header(file, size, name)
        metadata, tensors = check_header(header, size - begin, name)
        arrays = {key: _stored(file, begin, key, tensor, name) for key, tensor in tensors.items()}
        document, place = None, f"{name}: {_METADATA}"
        if OWN_KEY in metadata:
            document = read_document(metadata[OWN_KEY].encode(), f"{place}: {OWN_KEY}")
        if document is not None and not holds_lstm(arrays):
            yield stored_model(
                document,
                place,
                "numba_lstm safetensors",
                arrays=lambda: list(arrays.values()),
                match=lambda model: [arrays[key] for key in checked_keys(model, arrays, name)],
            )
        else:
            producer = "PyTorch" if metadata.get("format") == "pt" else "unknown"
            found = read_state_dict(list(arrays.values()), name, "safetensors of a PyTorch state dict", producer)
            if document is not None:  # written here for PyTorch: nothing is left to be assumed
                found = stored_model(document, place, found.format, found.arrays, found.match)
            yield found


def _read_header(file: FileIO, size: int, name: str) -> tuple[bytes, int]:
    start = bytearray(min(size, 8))
    read_into(file, 0, memoryview(start))
    if len(start) < 8:
        raise FileFormatError(f"{name} has {size} bytes; expected a safetensors file; copy or write it again")
    length = int.from_bytes(start, "little")
    if length > size - 8:
        raise FileFormatError(
            f"{name} claims a header of {length} bytes in a file of {size}; "
            "it is no safetensors file, or was cut short: copy or write it again"
        )
    if length > MAX_BYTES:
        raise FileFormatError(f"{name} has a header of {length} bytes; expected at most {MAX_BYTES}")
    header = bytearray(length)
    if not read_into(file, 8, memoryview(header)):
        raise FileFormatError(f"{name} became shorter while it was read")
    return bytes(header), 8 + length


def check_header(header: bytes, stored: int, name: str) -> tuple[dict[str, str], dict[str, TensorEntry]]:
    """The metadata and tensors of a header that is followed by `stored` bytes, in the order of their places.

    Raises `FileFormatError` unless the tensors fill these bytes without holes or overlaps.
    """
    found = parse_json(header, f"{name}: header")
    if not isinstance(found, dict):
        raise FileFormatError(f"{name}: header is {shown(found)}; expected an object with a tensor for each name")
    metadata = found.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FileFormatError(f"{name}: {_METADATA} is {shown(metadata)}; expected an object of texts")
    tensors = {}
    ends = {}
    for key, entry in found.items():
        tensors[key], ends[key] = _tensor(entry, f"{name}: {shown(key)}")
    ordered = sorted(tensors, key=lambda key: (tensors[key].start, ends[key]))
    position = 0
    for key in ordered:
        if tensors[key].start != position:
            raise FileFormatError(
                f"{name}: {shown(key)} begins at {tensors[key].start}; expected {position}, where the one before it "
                "ends; it is damaged: copy or write it again"
            )
        position = ends[key]
    if position != stored:
        raise FileFormatError(
            f"{name} has {stored} bytes of numbers; expected {position}; it was cut short or is damaged: copy or write "
            "it again"
        )
    return metadata, {key: tensors[key] for key in ordered}


def _tensor(entry: Any, place: str) -> tuple[TensorEntry, int]:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise FileFormatError(f"{place} is {shown(entry)}; expected dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not _are_sizes(shape) or len(shape) > _MOST_AXES or not _are_sizes(offsets) or len(offsets) != 2:
        raise FileFormatError(f"{place} has shape {shown(shape)} and data_offsets {shown(offsets)}; expected integers")
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise DTypeError(
            f"{place} has dtype {shown(dtype)}; expected one of: {', '.join(_DTYPES)}; convert it with .float()"
        )
    code, kind = _DTYPES[dtype]
    tensor = TensorEntry(tuple(shape), np.dtype(code), kind, offsets[0])
    if offsets[1] - offsets[0] != prod(shape) * tensor.dtype.itemsize:
        raise FileFormatError(
            f"{place} has {offsets[1] - offsets[0]} bytes; expected {prod(shape) * tensor.dtype.itemsize} for shape "
            f"{shown(tensor.shape)} and {dtype}; it is damaged: copy or write it again"
        )
    # With a 0 among them, the sizes of the other axes are bounded by nothing above.
    if prod(n for n in shape if n) * tensor.dtype.itemsize >= 2**63:
        raise FileFormatError(f"{place} has shape {shown(tensor.shape)}, larger than any array can be")
    return tensor, offsets[1]


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) is int and one >= 0 for one in value)


def _stored(file: FileIO, begin: int, key: str, tensor: TensorEntry, name: str) -> StoredArray:
    def read_items(position: int, out: NDArray[Any]) -> None:
        if out.size and not read_into(file, begin + tensor.start + position, out.reshape(-1).view(np.uint8).data):
            raise FileFormatError(f"{name} became shorter while it was read")

    def read() -> NDArray[Any]:
        out = np.empty(tensor.shape, tensor.dtype)
        read_items(0, out)
        return as_floats(out, tensor.kind)

    def read_transposed() -> NDArray[Any]:
        rows, columns = tensor.shape
        out: NDArray[Any] | None = None
        step = max(1, _SLAB // max(1, columns * tensor.dtype.itemsize))
        for first in range(0, rows, step):
            slab = np.empty((min(step, rows - first), columns), tensor.dtype)
            read_items(first * columns * tensor.dtype.itemsize, slab)
            slab = as_floats(slab, tensor.kind)
            out = np.empty((columns, rows), slab.dtype) if out is None else out
            out[:, first : first + len(slab)] = slab.T
        return read().T if out is None else out

    where = key if key.isprintable() else shown(key)
    return StoredArray(key, tensor.shape, tensor.dtype, where, read, tensor.kind, read_transposed)


def as_floats(items: NDArray[Any], kind: str) -> NDArray[Any]:
    """`items` with the values that they stand for: bfloat16 has the upper half of a float32's bits."""
    if kind == "bfloat16":
        return (items.astype(np.uint32) << 16).view(np.float32)
    return items != 0 if kind == "bool" else items


def save_safetensors(model: Sequential, path: str | os.PathLike[str], *, replace: bool = True) -> None:
    """Write a model with its weights and configuration; the file appears whole or not at all.

    Raises `ConfigError` for a model without weights, or with an activation that no configuration can hold.
    """
    write_safetensors(path, weights_by_key(model), {OWN_KEY: document_of(model).decode()}, replace=replace)


def write_safetensors(
    path: str | os.PathLike[str],
    arrays: Mapping[str, NDArray[Any]],
    metadata: Mapping[str, str],
    *,
    replace: bool = True,
) -> None:
    """Write float32 and float64 arrays under their names, those of eight bytes first, so that all are aligned."""
    ordered = sorted(arrays.items(), key=lambda item: -item[1].dtype.itemsize)
    header: dict[str, Any] = {_METADATA: dict(metadata)}
    position = 0
    for key, array in ordered:
        offsets = [position, position + array.nbytes]
        header[key] = {"dtype": _NAMES[array.dtype.name], "shape": list(array.shape), "data_offsets": offsets}
        position += array.nbytes
    text = json.dumps(header, allow_nan=False, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    with AtomicFile(path, replace=replace) as output:
        output.file.write(len(text).to_bytes(8, "little") + text)
        for _, array in ordered:
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            output.file.write(little.reshape(-1).view(np.uint8).data)
