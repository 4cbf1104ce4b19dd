"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BufferedRandom, FileIO
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from numba_lstm.errors import Argument, FileFormatError, Message, OutputExistsError
from numba_lstm.formats import unfinished

_REMEDIES = {
    errno.ENOSPC: "free some, or write to another disk",
    errno.EDQUOT: "free some of your own, or write to another disk",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), or write to another kind of disk",
    errno.EROFS: "write to another folder",
}


class AtomicFile:
    """A file written under another name in the folder of `path`, and renamed to `path` at `commit`.

    With `replace` it replaces an existing file and keeps its mode and, where allowed, its owner; a link at `path`
    stays, and its target is replaced. Without `replace`, the rename raises `OutputExistsError` if `path` exists by
    then. As a context manager it commits at the end, and discards on any exception,
    KeyboardInterrupt included. Raises `FileFormatError` where `path` is a device or a pipe, `OSError`, which names
    `path`, if the folder cannot be written or the disk is full.
    """

    def __init__(self, path: str | os.PathLike[str], *, replace: bool = True) -> None:
        self.path = Path(path)
        self._replace = replace
        _check_target(self.path)
        # Nobody else's file is to be found through a link that came meanwhile.
        self._target = os.path.realpath(path) if replace else os.path.join(_folder_of(self.path), self.path.name)
        folder = os.path.dirname(self._target)
        unfinished.remove_dead(folder)
        self._part = unfinished.begin(folder)  # listed before it is made
        self._files: list[BufferedRandom] = []
        # For a Ctrl-C that comes when nobody has this object yet. Not __del__, which every object would go through.
        self._abandoned = weakref.finalize(self, _discard, self._part, self._files)
        try:
            self._raw = _Raw(self._part, self.path, private=replace and os.path.exists(self._target))
            self.file = BufferedRandom(self._raw)
            self._files.append(self.file)
            self._keep_access()
        except OSError as error:
            self.discard()
            raise named(error, self.path) from None
        except BaseException:
            self.discard()
            raise

    def commit(self) -> None:
        """Rename the file to its final name, after its content is on the disk."""
        publish([self])

    def finish(self) -> None:
        """Flush everything to the disk, still under the temporary name."""
        try:
            self.file.flush()
            os.fsync(self.file.fileno())
            self._keep_access()  # somebody may have changed it meanwhile
            self._identity = _identity(os.fstat(self.file.fileno()))
            self.file.close()
        except OSError as error:
            raise self._raw.failure or named(error, self.path) from None

    def place(self) -> None:
        """Give the finished file its name. Raises `OutputExistsError`, `OSError`."""
        try:
            if self._replace:
                os.replace(self._part, self._target)
            else:
                _place_new(self._part, self._target)
        except FileExistsError:
            if not self._is_placed():  # NFS may say so of a link that it has just made
                text = Message(f"{self.path} exists; use ", Argument("replace", True), " to replace it")
                raise OutputExistsError(text) from None
        except OSError as error:
            raise named(error, self.path) from None

    def withdraw(self) -> None:
        """Remove the final name again; if it replaced a file, which cannot be restored, the new file stays."""
        if not self._replace and self._is_placed():
            with suppress(OSError):
                os.unlink(self._target)

    def _is_placed(self) -> bool:
        try:
            return _identity(os.lstat(self._target)) == self._identity
        except OSError:
            return False

    def discard(self) -> None:
        """Leave nothing behind. Safe to call twice, and after `commit`."""
        _discard(self._part, self._files)
        self._abandoned.detach()

    def _keep_access(self) -> None:
        """Give the file the mode and owner of the file to be replaced."""
        if not self._replace or not hasattr(os, "fchmod"):
            return
        try:
            old = os.stat(self._target)
        except OSError:
            return
        handle = self.file.fileno()
        own = os.fstat(handle)
        if (own.st_uid, own.st_gid) != (old.st_uid, old.st_gid):
            for owner in (old.st_uid, -1):  # all of it is root's to give, the group perhaps ours
                with suppress(OSError):
                    os.fchown(handle, owner, old.st_gid)
                    break
        mode = stat.S_IMODE(old.st_mode) & 0o777
        if os.fstat(handle).st_gid != old.st_gid:  # another group is to have no more than everybody
            mode = mode & 0o707 | (mode & 0o007) << 3
        with suppress(OSError):  # file systems without modes
            os.fchmod(handle, mode)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
            return
        self.discard()
        if self._raw.failure is not None and isinstance(error, Exception):
            raise self._raw.failure from None  # libraries that write into the file put it in words of their own


class _Raw(FileIO):
    """The bytes of an unfinished file; its errors name the final file."""

    def __init__(self, part: str, path: Path, private: bool) -> None:
        self._path = path
        self.failure: OSError | None = None
        # The umask decides, unless the file is going to have the mode of another one.
        mode = 0o600 if private else 0o666
        super().__init__(part, "x+", opener=lambda name, flags: os.open(name, flags, mode))

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise self.named(error) from None

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            raise self.named(error) from None

    def named(self, error: OSError) -> OSError:
        """`error` with the file's name; it is kept, since libraries may reword it."""
        self.failure = named(error, self._path)
        return self.failure


def publish(files: Sequence[AtomicFile]) -> None:
    """Rename files to their final names, in this order, and all of them or none.

    If a later file fails after an earlier one has replaced a file, the earlier one stays, and the error says so.
    """
    placed: list[AtomicFile] = []
    try:
        for file in files:
            file.finish()
        with _no_interrupts():
            try:
                for file in files:
                    file.place()
                    placed.append(file)
            except OSError as error:
                for file in placed:
                    file.withdraw()
                replaced = ", ".join(str(file.path) for file in placed if file._replace)
                if replaced and not isinstance(error, OutputExistsError):
                    text = f"{error.strerror}; replaced before that: {replaced}"
                    raise OSError(error.errno, text, error.filename) from None
                raise
    finally:
        for file in files:
            file.discard()
    for folder in {os.path.dirname(file._target) for file in files}:
        _sync_folder(folder)


def named(error: OSError, path: Path) -> OSError:
    """`error` with the name of its file, and the remedy."""
    text = error.strerror or str(error)
    remedy = _REMEDIES.get(error.errno or 0)
    return OSError(error.errno or errno.EIO, f"{text}; {remedy}" if remedy else text, str(path))


def _folder_of(path: Path) -> str:
    return os.path.realpath(path.parent)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _discard(part: str, files: list[BufferedRandom]) -> None:
    for file in files if unfinished.is_own(part) else ():  # a forked child must not flush what its parent writes
        with suppress(OSError, ValueError):  # data that could not be flushed, as on a full disk, are discarded
            file.close()
    unfinished.remove(part)


def _place_new(part: str, target: str) -> None:
    """Rename to a name that does not exist. Raises `FileExistsError` otherwise, however late the file appeared."""
    if sys.platform == "win32":
        os.rename(part, target)  # refuses there
        return
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:
        # FAT, some network mounts: no links. An empty file holds the place, for which only one process can be first.
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            os.replace(part, target)
        except BaseException:
            os.unlink(target)
            raise


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Defer signals that have Python handlers; they never interrupt other threads."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)

    before = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM"):
        number = getattr(signal, name, None)
        if number is not None and callable(signal.getsignal(number)):
            before[number] = signal.getsignal(number)
    try:
        for number in before:
            signal.signal(number, note)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in dict.fromkeys(came):
            signal.raise_signal(number)


def _check_target(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise FileFormatError(f"{path} is a folder; expected the name of a file to write")
    if not stat.S_ISREG(mode):
        raise FileFormatError(f"{path} is a device or a pipe; expected the name of a file to write")


def _sync_folder(folder: str) -> None:
    # Not every system opens folders, and not every file system syncs them; the file itself is safe by now.
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
