"""The project's own .npz files - arrays, and the configuration as JSON - and bare ones with the weights of one cell.

An own file has the member ``config`` (bytes, the document of `numba_lstm.formats.own`) and a member for each weight. No
pickle in either direction, and the same model always gives the same bytes.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from numba_lstm.checks import shown
from numba_lstm.errors import Argument, FileFormatError, Message
from numba_lstm.formats.atomic import AtomicFile
from numba_lstm.formats.config_json import MAX_BYTES
from numba_lstm.formats.npy import header_bytes
from numba_lstm.formats.own import checked_keys, document_of, read_document, stored_model, weights_by_key
from numba_lstm.formats.stored import StoredArray, StoredModel
from numba_lstm.formats.zipped import ZipReader
from numba_lstm.model import Sequential

_CONFIG = "config"
_BARE = ("kernel", "recurrent_kernel", "bias")
_OLDEST = (1980, 1, 1, 0, 0, 0)  # zip knows no earlier date; a fixed one makes equal files of equal models


@contextmanager
def open_npz(path: str | os.PathLike[str]) -> Iterator[StoredModel]:
    """The model in an .npz file; its arrays can be read while the context lasts.

    Raises `FileFormatError` for a damaged file or one without a model, `DTypeError` for arrays that are not numbers.
    """
    with ZipReader(path) as file:
        keys = {name.removesuffix(".npy"): name for name in file.members}
        for key, name in keys.items():
            if key == name:
                raise FileFormatError(f"{file.name}: member {shown(name)} is not a .npy file; expected arrays only")
        yield _read_own(file, keys) if _CONFIG in keys else _read_bare(file, keys)


def _read_own(file: ZipReader, keys: dict[str, str]) -> StoredModel:
    name = f"{file.name}: {_CONFIG}"
    document = read_document(_config_bytes(file, keys[_CONFIG]), name)
    members = {key: member for key, member in keys.items() if key != _CONFIG}
    return stored_model(
        document,
        name,
        "numba_lstm npz",
        arrays=lambda: [_stored(file, key, member) for key, member in members.items()],
        match=lambda model: [_stored(file, key, members[key]) for key in checked_keys(model, members, file.name)],
    )


def _config_bytes(file: ZipReader, member: str) -> bytes:
    """The configuration: bytes (uint8), or one text as ``np.savez(config=json_text)`` stores it."""
    content = file.read(member, 4 * MAX_BYTES + 2**16)
    end = content.find(b"\n")
    descr = content[:end]
    if b"'|u1'" in descr:
        return content[end + 1 :]
    if b"'<U" in descr:
        return content[end + 1 :].decode("utf-32-le", "replace").rstrip("\0").encode("utf-8", "replace")
    raise FileFormatError(f"{file.name}: {_CONFIG} is not JSON in bytes (uint8); expected a file of numba_lstm.save")


def _stored(file: ZipReader, key: str, member: str) -> StoredArray:
    header = file.npy_header(member)
    return StoredArray(key, header.shape, header.dtype, member, lambda: file.read_npy(member, header))


def _read_bare(file: ZipReader, keys: dict[str, str]) -> StoredModel:
    """The weights of one cell: its units come from their shapes, everything else from the defaults of its class."""
    beyond = sorted(keys.keys() - set(_BARE))
    if beyond or not {"kernel", "recurrent_kernel"} <= keys.keys():
        raise FileFormatError(
            f"{file.name} holds {shown(sorted(keys))}; expected kernel, recurrent_kernel and bias of one cell, or a "
            "file written by numba_lstm.save"
        )
    arrays = {key: _stored(file, key, keys[key]) for key in _BARE if key in keys}
    width = arrays["recurrent_kernel"].shape[0] if arrays["recurrent_kernel"].shape else 0
    return StoredModel(
        format="bare npz",
        producer="unknown",
        arrays=lambda: list(arrays.values()),
        match=lambda model: _match_bare(model, arrays, file.name),
        config={"class_name": "LSTMCell", "config": {"units": width}},
        config_name=file.name,
        assumptions=[
            Message(
                "the file has weights only: taken for one LSTMCell with its class's defaults; give ",
                Argument("config"),
                " if it is another",
            )
        ],
    )


def _match_bare(model: Sequential, arrays: dict[str, StoredArray], name: str) -> list[StoredArray]:
    names = [weight.partition("/")[2] for weight in model.weight_names()]
    if names not in (list(_BARE), list(_BARE[:2])):
        raise FileFormatError(
            f"{name} has the weights of one cell, {shown(list(arrays))}; expected {shown(model.weight_names())}, those "
            "of the configuration"
        )
    if names != list(arrays):
        remedy = "add it, or give a configuration with use_bias=False" if "bias" in names else "leave it out"
        verb = "lacks" if "bias" in names else "holds"
        raise FileFormatError(f"{name} {verb} the array bias; expected {shown(names)}; {remedy}")
    return list(arrays.values())


def save_npz(model: Sequential, path: str | os.PathLike[str], *, replace: bool = True) -> None:
    """Write a model with its weights and configuration; the file appears whole or not at all.

    Raises `ConfigError` for a model without weights, or with an activation that no configuration can hold.
    """
    text, weights = document_of(model), weights_by_key(model)
    with AtomicFile(path, replace=replace) as output:
        archive = zipfile.ZipFile(output.file, "w")
        try:
            _write(archive, _CONFIG, np.frombuffer(text, np.uint8))
            for key, weight in weights.items():
                _write(archive, key, weight)
            archive.close()
        except BaseException:
            archive.fp = None  # it is not to be closed: that fails in the middle of a member, and hides the error
            raise


def _write(archive: zipfile.ZipFile, key: str, array: NDArray[Any]) -> None:
    info = zipfile.ZipInfo(f"{key}.npy", _OLDEST)
    info.create_system, info.external_attr = 3, 0o644 << 16  # as on Unix, wherever it is written
    member: IO[bytes]
    with archive.open(info, "w", force_zip64=array.nbytes >= 2**31) as member:
        member.write(header_bytes(array.shape, array.dtype))
        member.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
