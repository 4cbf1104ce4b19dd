"""The findings of ``numba-lstm cache info`` and what ``cache clear`` removes, as plain data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from numba_lstm.kernel_cache import cache_folder


def info() -> dict[str, Any]:
    """The folder of compiled kernels, and the number of kernels of this version and of others.

    "problem": why no kernels can be kept; "writable": whether new ones are kept; "removable": whether `clear` can
    remove those of other versions; "further": the other folders that kernels are found in.
    """
    folder, problem = cache_folder.prepared()
    found: dict[str, Any] = {"folder": None, "variable": cache_folder.VARIABLE in os.environ, "problem": problem}
    found |= {"mode": None, "owner": None, "writable": False, "removable": False}
    found |= {"kernels": 0, "bytes": 0, "others": [], "further": []}
    try:
        current = cache_folder.source_stamp()
        for base in cache_folder.further_folders():
            if (path := cache_folder.found_in(base)) is not None:
                found["further"] += [
                    {"folder": str(base), "kernels": one.kernels, "bytes": one.bytes}
                    for one in cache_folder.kept(path.parent)
                    if one.path.name == current
                ]
        base = cache_folder.base_folder()
        found["folder"] = str(base)
        status = base.stat()
        found |= {"mode": f"{status.st_mode & 0o7777:04o}", "owner": _owner(base)}
        if folder:
            found |= {"writable": os.access(folder, os.W_OK), "removable": os.access(base, os.W_OK)}
        for one in cache_folder.kept(base):
            if one.path.name == current:  # never one of the others, whether or not it can be used
                found |= {"kernels": one.kernels, "bytes": one.bytes}
            else:
                entry = {"name": one.path.name, "kernels": one.kernels, "bytes": one.bytes, "used": one.used}
                found["others"].append(entry)
    except (OSError, RuntimeError, ImportError):  # there is no such folder or no numba, and "problem" says why
        pass
    return found


def _owner(path: Path) -> str | None:
    """The owner's name, or number where it has none."""
    try:
        return path.owner()
    except KeyError:
        return str(path.stat().st_uid)
    except (NotImplementedError, OSError):  # a system without owners
        return None


def clear(others_only: bool = False) -> dict[str, Any]:
    """Remove kernels from the folder, those of this version too unless ``others_only``.

    Returns the number of folders and bytes, and the folders that stayed.
    """
    folder, problem = cache_folder.prepared()
    found: dict[str, Any] = {"folders": 0, "bytes": 0, "left": [], "problem": problem}
    if folder is None:
        return found
    for one in cache_folder.kept(folder.parent):
        if others_only and one.path.name == folder.name:
            continue
        if cache_folder.remove(one):
            found["folders"] += 1
            found["bytes"] += one.bytes
        else:
            found["left"].append(str(one.path))
    return found
