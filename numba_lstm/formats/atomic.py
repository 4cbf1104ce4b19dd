"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from io import BufferedRandom
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from numba_lstm.errors import FileFormatError


class AtomicFile:
    """A file written under another name in the folder of `path`, which takes its place at `commit`.

    As a context manager it commits at the end, and discards on any exception, KeyboardInterrupt included. A link at
    `path` stays: what it points at is replaced. Raises `FileFormatError` where `path` is a device or a pipe, `OSError`
    where the folder does not let itself be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._target = Path(os.path.realpath(path))
        _check_target(self.path)
        # A short name of its own: a suffix on a long name could be longer than the file system allows.
        self._beside = self._target.with_name(f".numba_lstm-{secrets.token_hex(6)}.part")
        files: list[BufferedRandom] = []
        try:
            # Not tempfile: its files are readable by the owner alone, whatever the umask says. In one call, because a
            # Ctrl-C comes between two: what is open is in the list then.
            files.extend(map(cast(Any, open), [self._beside], ["x+b"]))
            self.file = files[0]
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from None
        except KeyboardInterrupt:
            for file in files:
                file.close()
            self._beside.unlink(missing_ok=True)
            raise

    def commit(self) -> None:
        """Put the file in its place: it is on the disk when its name is."""
        try:
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()
            os.replace(self._beside, self._target)
        except BaseException:
            self.discard()
            raise
        _sync_folder(self._target.parent)

    def discard(self) -> None:
        """Leave nothing behind. Safe to call twice, and after `commit`."""
        with suppress(OSError):  # what could not be flushed, on a full disk say, is not wanted any more
            self.file.close()
        self._beside.unlink(missing_ok=True)

    def __del__(self) -> None:
        # A Ctrl-C may come when it is made and nobody has it yet.
        if hasattr(self, "file"):
            self.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()


def _check_target(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise FileFormatError(f"{path} is a folder; expected the name of a file to write")
    if not stat.S_ISREG(mode):
        raise FileFormatError(f"{path} is a device or a pipe; expected the name of a file to write")


def _sync_folder(folder: Path) -> None:
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
