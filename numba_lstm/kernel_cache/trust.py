"""Whether a folder can hold code that will be run: nobody but root and this user may be able to change what it holds.

That takes more than the folder's own mode. Whoever can write to a folder above it, or to one that a link on the way is
in, can put another folder in its place. So every part of the path is looked at, from the root down: each folder and
each link belongs to root or to this user, and no folder can be written by others. One with the sticky bit, such as
/tmp, may be written by others, for there nobody can rename or remove what belongs to root or to this user; but the
folder itself may not. What was found to be safe cannot be swapped by others afterwards, because they cannot write to
any of the folders that it was reached through.

A group counts as others, but for the one that many systems make for each user: of the user's name, and without other
members. POSIX access control lists that let somebody write show as the group's bits, and are looked for; those of NFSv4
and macOS are not. A system without owners, such as Windows, has no such check.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from functools import cache
from pathlib import Path

_MOST_LINKS = 40  # as Linux has it
_ROOT = 0


class UntrustedError(Exception):
    """Somebody else could change the content of the folder; the message names who, where, and the remedy."""


def real_folder(path: Path) -> Path:
    """The folder without links, if every part of its path is safe; missing folders are made.

    The folder is made with mode 0700, those above it with 0755 (less what the umask takes away). Raises UntrustedError,
    and OSError for a path that cannot be made or is no folder.
    """
    if not hasattr(os, "geteuid"):
        path.mkdir(parents=True, exist_ok=True)
        return path.absolute()
    todo = list(reversed(path.absolute().parts))
    here = Path(todo.pop())
    check(here, os.lstat(here), parent=bool(todo))
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            here = here.parent
            continue
        step = here / part
        status = _found_or_made(step, 0o755 if todo else 0o700)
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(step))
            _check_owner(step, status)
            target = Path(os.readlink(step)).parts
            if target and os.path.isabs(target[0]):
                here, target = Path(target[0]), target[1:]
            todo.extend(reversed(target))
            continue
        check(step, status, parent=bool(todo))
        here = step
    check(here, os.lstat(here))  # once more, for a path that ends in a link or in ".."
    return here


def check(path: Path, status: os.stat_result, *, parent: bool = False) -> None:
    """Raise UntrustedError if others can change the content of a folder, OSError if it is none.

    ``parent``: raise only if they can change entries that belong to root or to this user.
    """
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    if not (parent and status.st_mode & stat.S_ISVTX):
        _check_mode(path, status)
    _check_owner(path, status)


def check_file(path: Path, status: os.stat_result) -> None:
    """Raise UntrustedError if others can change an open file, or it is no ordinary one."""
    if not stat.S_ISREG(status.st_mode):
        raise UntrustedError(f"{path} is no ordinary file")
    _check_mode(path, status)
    _check_owner(path, status)


def _check_owner(path: Path, status: os.stat_result) -> None:
    if hasattr(os, "geteuid") and status.st_uid not in (_ROOT, os.geteuid()):
        raise UntrustedError(f"{path} belongs to user {status.st_uid}, not to you ({os.geteuid()}) or root")


def _check_mode(path: Path, status: os.stat_result) -> None:
    others = stat.S_IWGRP | stat.S_IWOTH
    if stat.S_ISDIR(status.st_mode) and status.st_mode & others == stat.S_IWGRP and _is_private(path, status.st_gid):
        return
    if hasattr(os, "geteuid") and status.st_mode & others:
        # A folder such as /tmp is for all to write to.
        mine = status.st_uid == os.geteuid() and not status.st_mode & stat.S_ISVTX
        remedy = "; chmod go-w makes it usable" if mine else ""
        raise UntrustedError(f"others can write to {path} (mode {stat.S_IMODE(status.st_mode):04o}){remedy}")


def _is_private(path: Path, group: int) -> bool:
    """Whether the group's bits of a mode concern this user alone."""
    if not hasattr(os, "geteuid") or not _is_of_one_user(group, os.geteuid()):
        return False
    if not hasattr(os, "listxattr"):
        return True
    try:
        return "system.posix_acl_access" not in os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        return error.errno == errno.ENOTSUP


@cache
def _is_of_one_user(group: int, user: int) -> bool:
    """Whether a group is the one made for this user: of the same name, and without other members."""
    import grp  # where there are no owners there are no such modules
    import pwd

    try:
        own, name = pwd.getpwuid(user), grp.getgrgid(group)
    except KeyError:
        return False
    if own.pw_gid != group or name.gr_name != own.pw_name or set(name.gr_mem) - {own.pw_name}:
        return False
    return all(other.pw_uid == user for other in pwd.getpwall() if other.pw_gid == group)


def _found_or_made(path: Path, mode: int) -> os.stat_result:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        with suppress(FileExistsError):  # another process was faster; who owns it is looked at next
            os.mkdir(path, mode)
        return os.lstat(path)
