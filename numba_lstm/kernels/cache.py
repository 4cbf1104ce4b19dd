"""Compiled kernels kept across processes, through numba's own cache machinery.

numba's key is the function's own source file, so an edit in a helper it calls would go unnoticed and give a stale
result. Here the folder carries a hash of every kernel source, with the versions of numba and Python; the CPU's name
and features are part of numba's key already. Where there is no folder to be trusted, kernels are compiled anew.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import numba
from numba.core import types
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.core.runtime.nrt import rtsys
from numba.core.serialize import dumps

from numba_lstm import cache_folder

_log = logging.getLogger("numba_lstm")

_FOLDER = None if numba.config.DISABLE_JIT else cache_folder.prepared()[0]


class _Locator(_CacheLocator):  # type: ignore[misc]  # numba is untyped
    """Tells numba where and under which stamp; every kernel goes to the one folder."""

    def get_cache_path(self) -> str:
        return str(_FOLDER)

    def get_source_stamp(self) -> str:
        return _FOLDER.name if _FOLDER else ""

    def get_disambiguator(self) -> str | None:
        return None

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> _Locator:
        return cls()


class _Implementation(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (_Locator,)


class _Files:
    """One file a kernel and signature, named by a hash of its key.

    numba's own files are numbered through an index, and two processes that start at once can give one number to two
    kernels; with a name from the key, whoever comes last writes the same thing again.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name

    def _path(self, key: Any) -> tuple[Path, str]:
        text = f"{self._name} {key!r}"
        return self._folder / f"{self._name}-{hashlib.sha256(text.encode()).hexdigest()[:24]}.kernel", text

    def load(self, key: Any) -> Any:
        path, text = self._path(key)
        try:
            written_for, data = pickle.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        return data if written_for == text else None

    def save(self, key: Any, data: Any) -> None:
        path, text = self._path(key)
        beside = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            beside.write_bytes(dumps((text, data)))
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)


class KernelCache(FunctionCache):  # type: ignore[misc]
    """numba's function cache over those files; it leaves out kernels for a user's own activation."""

    _impl_class = _Implementation

    def __init__(self, py_func: Any, folder: Path) -> None:
        super().__init__(py_func)
        self._cache_file = _Files(folder, py_func.__qualname__)

    def _cachable(self, sig: Any) -> bool:
        # A compiled function has no identity beyond its process: such an entry would never be found again.
        arguments = sig if isinstance(sig, tuple) else sig.args
        return not any(isinstance(argument, types.Dispatcher) for argument in arguments)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The kept kernel, or None."""
        if not self._cachable(sig):
            return None
        try:
            # numba would first load all that it can compile, a tenth of a second that a kept kernel has no use for.
            rtsys.initialize(target_context)
            return self._load_overload(sig, target_context)
        except Exception as error:  # a damaged file can raise anything at all; compiling anew is the remedy
            _log.warning("a compiled kernel in %s cannot be read (%s) and is compiled again", self.cache_path, error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a kernel, if it can be found again."""
        if not self._cachable(sig):
            return
        try:
            super().save_overload(sig, data)
        except OSError as error:  # a full disk, a folder that is gone: the kernel itself is good
            _log.warning("a compiled kernel is not kept in %s (%s)", self.cache_path, error)


def use_cache(dispatcher: Any) -> Any:
    """Give a dispatcher the cache of this module, where there is a folder for it."""
    if _FOLDER is not None:
        dispatcher._cache = KernelCache(dispatcher.py_func, _FOLDER)
    return dispatcher
