"""The folders of compiled kernels: their paths, their trust, and the leftovers of old versions.

They are those of ``NUMBA_LSTM_CACHE_DIR``, one or several, or the user's cache folder of the platform, mode 0700; and
after them one inside the installed package. Kernels are found in any of them and put into the first. Below each base,
every version of the kernels has a folder of its own, named by a hash of their sources and of what compiles them, so
that an edit anywhere in them can never meet a stale result. A folder that was not used for a month is removed when
another is made. A folder that cannot be written is used as it is, if it holds kernels of this version.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from numba_lstm.kernel_cache import trust

VARIABLE = "NUMBA_LSTM_CACHE_DIR"
IN_PACKAGE = Path(__file__).parents[1] / "compiled"
FEATURES = "features"  # the name of a file that is no kernel, see kernel_files.chosen_features
UNUSED_DAYS = 30
_DAY = 86_400.0

# What is removed must look like it was made here: such folders, and in them such files, some of them half-written.
_FOLDER = re.compile(r"[0-9a-f]{20}")
_FILE = re.compile(r".+\.kernel(\.[0-9]+\.[0-9]+)?")


class Kept(NamedTuple):
    """The kernels of one version."""

    path: Path
    kernels: int
    bytes: int
    used: float  # seconds since 1970, right to a day


def base_folder() -> Path:
    """The folder that kernels are put into: the variable's first one, else the platform's.

    Raises RuntimeError where the variable is not set and there is no home.
    """
    chosen = _chosen()
    if chosen:
        return chosen[0]
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "numba_lstm" / "Cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "numba_lstm"
    prescribed = os.environ.get("XDG_CACHE_HOME", "")
    # What is empty or relative is to be ignored, says the specification.
    return (Path(prescribed) if os.path.isabs(prescribed) else home / ".cache") / "numba_lstm"


def further_folders() -> list[Path]:
    """The folders that kernels are looked for in besides: the variable's others, and the one inside the package."""
    return [*_chosen()[1:], IN_PACKAGE]


def _chosen() -> list[Path]:
    return [Path(each) for each in os.environ.get(VARIABLE, "").split(os.pathsep) if each]


@cache
def source_stamp() -> str:
    """A hash of the kernel sources, of what compiles them and of what keeps them, and of the system they are for."""
    from numba_lstm.kernel_cache import loader  # late: it imports llvmlite

    digest = hashlib.sha256(f"{loader.triple()} {_version('numba')} {_version('llvmlite')}".encode())
    package = Path(__file__).parents[1]
    for source in sorted([*package.glob("kernels/*.py"), *package.glob("kernel_cache/*.py")]):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:20]


def _version(package: str) -> str:
    """The version of an installed package; raises ImportError for one that is not there."""
    found = find_spec(package)
    if found is None or found.origin is None:
        raise ImportError(f"{package} is not installed")
    try:  # without importing anything
        return Path(found.origin).with_name("_version.py").read_text(encoding="utf-8")
    except OSError:
        from importlib import metadata  # late: it takes a while

        return metadata.version(package)


def prepared() -> tuple[Path | None, str | None]:
    """The folder for the kernels of these sources, made if necessary; or None and the reason why none can be trusted.

    The path has no links. Only root and this user can replace the folder.
    """
    try:
        base = trust.real_folder(base_folder())
        folder = base / source_stamp()
        there = folder.is_dir()
        trust.real_folder(folder)
        _keep_in_use(folder, there)
        return folder, None
    except trust.UntrustedError as error:
        return None, str(error)
    except OSError as error:  # no space, a file in the way, read-only
        return None, f"{error.filename}: {error.strerror}" if error.strerror else str(error)
    except (RuntimeError, ImportError) as error:  # no home; a numba that cannot be imported
        return None, str(error).rstrip(".")


def found_in(base: Path) -> Path | None:
    """The folder of these kernels below a base, if it is there and can be trusted."""
    try:
        folder = base / source_stamp()
        return trust.real_folder(folder) if folder.is_dir() else None
    except (trust.UntrustedError, OSError, ImportError):
        return None


def _keep_in_use(folder: Path, there: bool) -> None:
    """Mark a folder as used today; where it is new, remove those that were not used for a month."""
    try:
        if not there:
            for old in kept(folder.parent):
                if old.path != folder and time.time() - old.used > UNUSED_DAYS * _DAY:
                    remove(old)
        elif time.time() - folder.stat().st_mtime > _DAY:
            os.utime(folder)
    except OSError:  # one that cannot be written is as good
        pass


def kept(base: Path) -> Iterator[Kept]:
    """The folders of kernels below the base, one entry per version; foreign files and folders are left out."""
    for path in sorted(base.iterdir()):
        try:
            if _FOLDER.fullmatch(path.name) and not path.is_symlink() and path.is_dir():
                files = [entry.stat(follow_symlinks=False) for entry in _files(path)]
                kernels = sum(not entry.name.startswith(f"{FEATURES}-") for entry in _files(path))
                yield Kept(path, kernels, sum(file.st_size for file in files), path.stat().st_mtime)
        except OSError:  # another process removes it at the same time
            continue


def remove(folder: Kept) -> bool:
    """Remove the kernels of a version and its folder; returns whether the folder is gone.

    Foreign files stay, and the folder with them. A process that uses the kernels meanwhile compiles them again.
    """
    try:
        for entry in _files(folder.path):
            Path(entry.path).unlink(missing_ok=True)
        folder.path.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _files(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if _FILE.fullmatch(entry.name) and not entry.is_dir(follow_symlinks=False)]
