"""JSON from untrusted files: bounded in size, depth and numbers, strict where Python's reader is not."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from numba_lstm.checks import shown
from numba_lstm.errors import ConfigError, FileFormatError
from numba_lstm.formats.archive import Archive, find_member, open_archive
from numba_lstm.formats.detection import check_stand_in
from numba_lstm.formats.regular import open_regular, read_into

# A configuration takes about 2 kB a layer; parsed, hostile JSON takes up to forty times its size.
MAX_BYTES = 2 * 2**20
MAX_DEPTH = 64
_MAX_DIGITS = 18
_ZIP = b"PK\x03\x04"
CONFIG_MEMBER, _METADATA = "config.json", "metadata.json"  # of a .keras file


def read_config(config: Mapping[str, Any] | str | os.PathLike[str]) -> tuple[Any, str]:
    """A configuration and its name for messages: from a mapping, or the path of a JSON or ``.keras`` file or folder."""
    if isinstance(config, Mapping):
        return config, "config"
    if not isinstance(config, str | os.PathLike):
        raise ConfigError(f"config is {shown(config)}; expected a mapping or the path of a JSON file")
    check_stand_in(Path(config))
    if not os.path.isdir(config) and not _is_zip(config):
        return read_json(config), os.fspath(config)
    with open_archive(config) as archive:
        document, version = read_archived(archive)
    if isinstance(document, dict) and version is not None:
        document["keras_version"] = version
    return document, f"{os.fspath(config)}: {CONFIG_MEMBER}"


def _is_zip(path: str | os.PathLike[str]) -> bool:
    file, size = open_regular(path)
    with file:
        start = bytearray(min(size, len(_ZIP)))
        return read_into(file, 0, memoryview(start)) and start == _ZIP


def read_archived(archive: Archive) -> tuple[Any, str | None]:
    """The configuration in a ``.keras`` file, and the version of Keras that wrote it if that is there."""
    member, metadata_member = find_member(archive, CONFIG_MEMBER), find_member(archive, _METADATA)
    if member is None:
        raise FileFormatError(f"{archive.name} has no member {CONFIG_MEMBER}; expected a file that model.save wrote")
    config = parse_json(archive.read(member, MAX_BYTES), f"{archive.name}: {CONFIG_MEMBER}")
    if metadata_member is None:
        return config, None
    name = f"{archive.name}: {_METADATA}"
    metadata = parse_json(archive.read(metadata_member, MAX_BYTES), name)
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    if not isinstance(version, str):
        raise FileFormatError(f"{name} has {shown(version)} as its keras_version; expected a text such as '3.15.1'")
    return config, version


def read_json(path: str | os.PathLike[str]) -> Any:
    """The content of a JSON file. Raises `FileFormatError` as `parse_json` does, and `OSError`."""
    file, size = open_regular(path)
    with file:
        _check_size(size, os.fspath(path))
        content = bytearray(size)
        if not read_into(file, 0, memoryview(content)):
            raise FileFormatError(f"{os.fspath(path)} became shorter while it was read")
    return parse_json(bytes(content), os.fspath(path))


def parse_json(content: bytes, name: str) -> Any:
    """JSON in UTF-8, with or without a byte order mark; `name` is its source in messages.

    Refused with a `FileFormatError`: other encodings, NaN and infinities, integers beyond 18 digits, the same key twice
    in one object, nesting beyond 64 levels, half surrogates (text that could not be printed), more than 2 MiB.
    """
    _check_size(len(content), name)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{name} is not text in UTF-8 (byte {error.start}); expected JSON") from None
    if not text.strip():
        raise FileFormatError(f"{name} is empty; expected JSON")

    def refuse(word: str) -> NoReturn:
        raise FileFormatError(f"{name} holds the number {shown(word)}; expected finite numbers of ordinary size")

    def integer(digits: str) -> int:
        return int(digits) if len(digits) <= _MAX_DIGITS else refuse(digits)

    def real(digits: str) -> float:
        value = float(digits)
        return value if abs(value) < float("inf") else refuse(digits)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise FileFormatError(f"{name} gives {shown(twice)} twice in one object; expected it once")
        return found

    try:
        value = json.loads(text, parse_int=integer, parse_float=real, parse_constant=refuse, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise FileFormatError(f"{name} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise FileFormatError(f"{name} is nested beyond {MAX_DEPTH} levels") from None
    _check_values(value, name)
    return value


def _check_size(size: int, name: str) -> None:
    if size > MAX_BYTES:
        raise FileFormatError(f"{name} has {size} bytes; expected a configuration of at most {MAX_BYTES}")


def _check_values(value: Any, name: str) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item)
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
            elif isinstance(item, str) and not item.isascii():
                _check_text(item, name)
        if not inner:
            return
        level = inner
    raise FileFormatError(f"{name} is nested beyond {MAX_DEPTH} levels")


def _check_text(text: str, name: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise FileFormatError(f"{name} holds half of a surrogate pair in {text[:40]!a}; expected text") from None
