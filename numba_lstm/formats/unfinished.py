"""Files and folders that are being made: known to this process, and recognisable to others, until they are whole.

The maker of a file gets its path from `begin` before it exists, and calls `drop` when it is whole or `remove` to
discard it. So a process that has to end at once can leave nothing behind (`remove_all`), and what a killed process
left is found by the next one that writes to the same folder (`remove_dead`): the file's name tells its maker's host,
process id and start time.
"""

from __future__ import annotations

import atexit
import os
import re
import secrets
import sys
import time
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path

_NAME = re.compile(r"\.numba_lstm-([0-9a-f]{8})-([0-9a-f]{1,16})-([0-9a-f]{1,16})-[0-9a-f]{8}\.part")
# A folder is searched again after this many times the duration of the search: at most a tenth of the time is spent.
_PAUSE = 10

_own: dict[str, int] = {}  # path -> process that makes it: a forked child inherits the entries and leaves them alone
_next_look: dict[str, float] = {}  # folder -> when to look for files of dead processes again


def begin(folder: str | os.PathLike[str]) -> str:
    """A path in `folder` for a file that is to be made; the name is short, for a long one may have no room there."""
    process = os.getpid()
    name = f".numba_lstm-{_host()}-{process:x}-{_own_start(process):x}-{secrets.token_hex(4)}.part"
    path = os.path.join(folder, name)
    _own[path] = process
    return path


def begin_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder, which `remove` removes again if it is empty then."""
    _own[os.fspath(path)] = os.getpid()
    os.mkdir(path)


def drop(path: str | os.PathLike[str]) -> None:
    """Forget the file: it is whole or gone."""
    _own.pop(os.fspath(path), None)


def is_own(path: str) -> bool:
    """Whether this process is still making it."""
    return _own.get(path) == os.getpid()


def remove(path: str | os.PathLike[str]) -> None:
    """Remove it, if this process made it. Files that cannot be removed stay listed."""
    path = os.fspath(path)
    if not is_own(path):
        return
    with suppress(OSError):
        (os.rmdir if os.path.isdir(path) else os.unlink)(path)
    if not os.path.lexists(path):
        drop(path)


def remove_all() -> None:
    """Remove everything unfinished, since the process ends. Folders come last: files may be in them."""
    for path in reversed(list(_own)):
        remove(path)


atexit.register(remove_all)


def remove_dead(folder: str | os.PathLike[str]) -> None:
    """Remove what processes that are dead left unfinished in `folder`; those of other hosts may be alive."""
    folder = os.fspath(folder) or os.curdir
    start = time.monotonic()
    if start < _next_look.get(folder, 0.0):
        return
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _NAME.fullmatch(entry.name)
            if found and found[1] == _host() and _is_dead(int(found[2], 16), int(found[3], 16)):
                with suppress(OSError):
                    os.unlink(entry.path)
    _next_look[folder] = time.monotonic() + _PAUSE * (time.monotonic() - start)


@cache
def _host() -> str:
    """Processes of one host share their numbers. A container with numbers of its own is another host."""
    facts = [os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")]
    with suppress(OSError):
        facts.append(Path("/etc/machine-id").read_text(encoding="ascii", errors="replace").strip())
    with suppress(OSError):
        facts.append(os.readlink("/proc/self/ns/pid"))
    return f"{zlib.crc32(' '.join(facts).encode('utf-8', 'surrogateescape')):08x}"


@cache
def _own_start(process: int) -> int:
    return _state(process)[1]


def _state(process: int) -> tuple[str, int]:
    """A process's state and when it began, in ticks since the system's start; "" and 0 where that is unknown."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return fields[0].decode("ascii", "replace"), int(fields[19])
    except (OSError, ValueError, IndexError):
        return "", 0


def _is_dead(process: int, start: int) -> bool:
    """Whether a process is surely gone: its number is free, or belongs to one that began at another time."""
    if not _exists(process):
        return True
    state, now = _state(process)
    return state in ("Z", "X") or (bool(start and now) and start != now)


def _exists(process: int) -> bool:
    if sys.platform == "win32":
        return _exists_on_windows(process)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's; or no number that this system has
        return True
    return True


def _exists_on_windows(process: int) -> bool:
    # os.kill would end it. Error 87: there is no such process.
    import ctypes

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined, unused-ignore]
    handle = kernel.OpenProcess(0x1000, False, process)  # to be asked about, no more
    if handle:
        kernel.CloseHandle(handle)
        return True
    return bool(ctypes.get_last_error() != 87)  # type: ignore[attr-defined, unused-ignore]
