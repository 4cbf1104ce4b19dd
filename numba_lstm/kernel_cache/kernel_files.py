"""Files of compiled kernels, each in its frame, in a folder that was checked once and is held open.

Files are opened relative to the folder's descriptor, so a folder that takes its name after the check is never looked
at; where the system has no such descriptors, files are opened by their paths. An unusable folder or a damaged file is
logged once per process for each kind of trouble, and is never an error: the kernel is compiled instead.
"""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from numba_lstm.kernel_cache import cache_folder, frame, trust

_log = logging.getLogger("numba_lstm")

_BY_DESCRIPTOR = {os.open, os.rename, os.unlink} <= os.supports_dir_fd
# Not following links, and not waiting for a pipe's other end. Windows has neither, and would translate line ends.
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
# Far more than any kernel has, and no more than can be read in a moment.
_LARGEST = 1 << 28

_logged: set[str] = set()


def already_logged(trouble: str) -> bool:
    """Whether this kind of trouble was logged before in this process; from now on it counts as logged."""
    before = trouble in _logged
    _logged.add(trouble)
    return before


def _log_once(trouble: str, text: str, *values: object) -> None:
    if not already_logged(trouble):
        _log.warning(text, *values)


def _taken(error: Exception) -> bool:
    """Whether another process has the file open, on Windows: it writes the same content."""
    return os.name == "nt" and isinstance(error, PermissionError)


class _Folder(NamedTuple):
    """A folder found to be safe, with data that distinguish its descriptor from a later one of the same number."""

    path: Path
    descriptor: int | None
    identity: tuple[int, int] | None

    def at(self, name: str) -> tuple[str, dict[str, Any]]:
        """A file's path, and the options that go with it."""
        if self.descriptor is None:
            return str(self.path / name), {}
        return name, {"dir_fd": self.descriptor}

    def is_open(self) -> bool:
        """Whether the descriptor is still that of the folder: a daemon in the making closes all that are open.

        Raises UntrustedError where others may write to the folder by now.
        """
        if self.descriptor is None:
            return True
        try:
            status = os.fstat(self.descriptor)
        except OSError:
            return False
        if (status.st_dev, status.st_ino) != self.identity:
            return False
        trust.check(self.path, status)
        return True


def chosen_features() -> frozenset[str] | None:
    """The features of the CPU that the first folder of kernels was built for, if it was built for a certain one."""
    content = files().find(cache_folder.FEATURES, "", frozenset())
    return None if content is None else frozenset(str(content, "ascii").split())


def choose_features(features: frozenset[str]) -> None:
    """Have processes that use the folder compile for a CPU with these features, and load what was built for it."""
    files().keep(cache_folder.FEATURES, "", frozenset(), " ".join(sorted(features)).encode("ascii"))


@cache
def files() -> KernelFiles:
    """The kernels of this process."""
    return KernelFiles()


def _opened() -> _Folder | str:
    """The folder, or the reason why there is none."""
    path, problem = cache_folder.prepared()
    return str(problem) if path is None else _opened_at(path)


def _opened_at(path: Path) -> _Folder | str:
    if not _BY_DESCRIPTOR:
        return _Folder(path, None, None)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:  # gone again, or not readable
        return f"{path}: {error.strerror}"
    status = os.fstat(descriptor)
    return _Folder(path, descriptor, (status.st_dev, status.st_ino))


class KernelFiles:
    """The kernels of this version, by name and key. Safe to use in several threads and in forked processes."""

    def __init__(self) -> None:
        self._opened = _opened()
        found = [path for base in cache_folder.further_folders() if (path := cache_folder.found_in(base))]
        self._further = [folder for folder in map(_opened_at, found) if not isinstance(folder, str)]

    @property
    def path(self) -> Path | None:
        """The folder, or None if none can be trusted."""
        return None if isinstance(self._opened, str) else self._opened.path

    def _folder(self) -> _Folder | None:
        """The folder, checked again; None if there is none, which is logged once."""
        opened = self._opened
        try:
            if not isinstance(opened, str) and not opened.is_open():
                opened = self._opened = _opened()
        except trust.UntrustedError as error:
            opened = self._opened = str(error)
        if not isinstance(opened, str):
            return opened
        text = "compiled kernels are not kept, and each process compiles anew: %s; %s can name a folder of yours"
        _log_once("folder", text, opened, cache_folder.VARIABLE)
        return None

    def find(self, kernel: str, key: str, features: frozenset[str]) -> memoryview | None:
        """Machine code of a kernel for a CPU that has these features, or None; key: all else that it depends on."""
        prefix, found = _prefix(kernel, key), []
        own = self._folder()
        for folder in [*([] if own is None else [own]), *self._further]:
            for name in _names(folder, prefix):
                payload = self._read(folder, name, key.encode())
                if payload is not None:
                    length = int.from_bytes(payload[:4], "little")
                    needed = frozenset(str(payload[4 : 4 + length], "ascii").split())
                    if needed <= features:
                        found.append((len(needed), payload[4 + length :]))
        return max(found, key=itemgetter(0))[1] if found else None

    def keep(self, kernel: str, key: str, features: frozenset[str], code: bytes) -> None:
        """Keep machine code for later processes."""
        needed = " ".join(sorted(features)).encode("ascii")
        name = f"{_prefix(kernel, key)}{hashlib.sha256(needed).hexdigest()[:8]}.kernel"
        self.write(name, key.encode(), len(needed).to_bytes(4, "little") + needed + code)

    def _read(self, folder: _Folder, name: str, key: bytes) -> memoryview | None:
        try:
            return frame.unwrap(_contents(folder, name), key)
        except FileNotFoundError:
            return None
        except (frame.DamagedError, trust.UntrustedError, OSError) as error:
            if not _taken(error):
                self.cannot_be_read(error)
            return None

    def cannot_be_read(self, error: Exception) -> None:
        """Log that a file is unusable."""
        _log_once("file", "a compiled kernel in %s cannot be used (%s) and is compiled again", self.path, error)

    def write(self, name: str, key: bytes, payload: bytes) -> None:
        """Keep a payload under this name, replacing an existing file: whole or not at all."""
        data = frame.wrap(payload, key)
        try:
            if folder := self._folder():
                try:
                    _replace(folder, name, data)
                except FileNotFoundError:  # somebody removed the folder; it is made anew
                    self._opened = _opened()
                    if folder := self._folder():
                        _replace(folder, name, data)
        except OSError as error:  # a full disk, a folder that is read-only: the kernel itself is good
            if not _taken(error):
                text = "a compiled kernel is not kept in %s (%s), so each process compiles anew; %s can name another"
                _log_once("not kept", text, self.path, error.strerror or error, cache_folder.VARIABLE)


def _prefix(kernel: str, key: str) -> str:
    return f"{kernel}-{hashlib.sha256(key.encode()).hexdigest()[:24]}-"


def _names(folder: _Folder, prefix: str) -> list[str]:
    """The files of a kernel, for one CPU or several."""
    try:
        names = os.listdir(folder.path if folder.descriptor is None else folder.descriptor)
    except OSError:  # removed meanwhile
        return []
    return [name for name in names if name.startswith(prefix) and name.endswith(".kernel")]


def _contents(folder: _Folder, name: str) -> bytes:
    path, where = folder.at(name)
    descriptor = os.open(path, _READ, **where)
    try:
        status = os.fstat(descriptor)
        trust.check_file(folder.path / name, status)
        if status.st_size > _LARGEST:
            raise frame.DamagedError(f"it has {status.st_size} bytes; expected at most {_LARGEST}")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def _replace(folder: _Folder, name: str, data: bytes) -> None:
    path, where = folder.at(f"{name}.{os.getpid()}.{int.from_bytes(os.urandom(6), 'little')}")
    try:
        # Readable for all as far as the umask and the folder let them, never writable.
        with open(os.open(path, _WRITE, 0o644, **where), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if folder.descriptor is None:
            os.replace(path, folder.path / name)
        else:
            os.replace(path, name, src_dir_fd=folder.descriptor, dst_dir_fd=folder.descriptor)
            with suppress(OSError):  # not every file system syncs folders
                os.fsync(folder.descriptor)
    finally:
        with suppress(OSError):
            os.unlink(path, **where)
