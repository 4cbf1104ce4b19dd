"""Compiled kernels kept across processes, through numba's own cache machinery.

numba's key is the function's own source file, so an edit in a helper it calls would go unnoticed and give a stale
result. Here the folder carries a hash of every kernel source, with the versions of numba and Python; the CPU's name
and features are part of numba's key already. The folder is ``NUMBA_LSTM_CACHE_DIR`` or the user's cache folder of
the platform, mode 0700; where it cannot be written, or belongs to somebody else, kernels are compiled anew.
"""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numba
from numba.core import types
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator


def base_folder() -> Path:
    """Where this user's caches go: the variable, else what the platform prescribes."""
    chosen = os.environ.get("NUMBA_LSTM_CACHE_DIR")
    if chosen:
        return Path(chosen)
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "numba_lstm" / "Cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "numba_lstm"
    return Path(os.environ.get("XDG_CACHE_HOME", home / ".cache")) / "numba_lstm"


def source_stamp() -> str:
    """A hash of the kernel sources and of what compiles them."""
    digest = hashlib.sha256(f"{numba.__version__} {sys.version}".encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:20]


def usable_folder() -> Path | None:
    """The folder for the kernels of these sources, made if need be; None if there is none to be trusted."""
    try:
        base = base_folder()
        folder = base / source_stamp()
        for path in (base, folder):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # What is loaded from here is run: only a folder that nobody else can write to will do.
        if hasattr(os, "getuid"):
            for path in (base, folder):
                status = path.stat()
                if status.st_uid != os.getuid() or status.st_mode & 0o022:
                    return None
        return folder if os.access(folder, os.W_OK | os.R_OK) else None
    except (OSError, RuntimeError):  # no home, no space, a file in the way, read-only
        return None


_FOLDER = None if numba.config.DISABLE_JIT else usable_folder()


class _Locator(_CacheLocator):  # type: ignore[misc]  # numba is untyped
    def __init__(self, py_func: Any, py_file: str) -> None:
        self._name = f"{py_func.__module__}.{py_func.__qualname__}"

    def get_cache_path(self) -> str:
        return str(_FOLDER)

    def get_source_stamp(self) -> str:
        return source_stamp()

    def get_disambiguator(self) -> str:
        return hashlib.sha256(self._name.encode()).hexdigest()[:10]

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> _Locator | None:
        return None if _FOLDER is None else cls(py_func, py_file)


class _Implementation(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (_Locator,)


class KernelCache(FunctionCache):  # type: ignore[misc]
    """numba's function cache, which leaves out kernels made for a user's own activation and shrugs off bad files."""

    _impl_class = _Implementation

    def _cachable(self, sig: Any) -> bool:
        # A compiled function has no identity beyond its process: such an entry would never be found again.
        arguments = sig if isinstance(sig, tuple) else sig.args
        return not any(isinstance(argument, types.Dispatcher) for argument in arguments)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The kept kernel, or None."""
        if not self._cachable(sig):
            return None
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # a damaged file can raise anything at all; compiling anew is the remedy
            warnings.warn(
                f"numba_lstm: compiled kernel in {self.cache_path} cannot be read ({error}); compiling it again",
                stacklevel=2,
            )
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a kernel, if it can be found again."""
        if not self._cachable(sig):
            return
        try:
            super().save_overload(sig, data)
        except Exception as error:  # a full disk, or an index that cannot be read: the kernel itself is good
            warnings.warn(f"numba_lstm: compiled kernel not kept in {self.cache_path} ({error})", stacklevel=2)


def use_cache(dispatcher: Any) -> Any:
    """Give a dispatcher the cache of this module, where there is a folder for it."""
    if _FOLDER is not None:
        dispatcher._cache = KernelCache(dispatcher.py_func)
    return dispatcher
