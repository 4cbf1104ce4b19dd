"""Compiled kernels kept across processes, in place of numba's own cache files.

numba's key is the function's own source file, so an edit in a helper it calls would go unnoticed and give a stale
result. Here the folder carries a hash of every kernel source, with the versions of numba and Python; the CPU's name
and features are part of numba's key already. numba's own files are numbered through an index, and two processes that
start at once can give one number to two kernels; here a file is named by a hash of its key, and whoever comes last
writes the same thing again.
"""

from __future__ import annotations

import hashlib
import pickle
from typing import Any

import numba
from numba.core import types
from numba.core.caching import FunctionCache
from numba.core.compiler import CompileResult
from numba.core.runtime.nrt import rtsys
from numba.core.serialize import dumps

from numba_lstm.kernel_cache.kernel_files import KernelFiles

_FILES = None if numba.config.DISABLE_JIT else KernelFiles()


class KernelCache(FunctionCache):  # type: ignore[misc]  # numba is untyped
    """numba's function cache over those files; it leaves out kernels for a user's own activation."""

    def __init__(self, py_func: Any, files: KernelFiles) -> None:
        # Not numba's own constructor, which looks for a folder of its own.
        self._py_func, self._files = py_func, files

    @property
    def cache_path(self) -> str | None:
        """The folder, or None."""
        return None if self._files.path is None else str(self._files.path)

    def flush(self) -> None:
        """Keep all kernels: their names identify their sources."""

    def _place(self, sig: Any, codegen: Any) -> tuple[str, bytes]:
        """The file's name and its key."""
        name = self._py_func.__qualname__
        key = f"{name} {self._index_key(sig, codegen)!r}".encode()
        return f"{name}-{hashlib.sha256(key).hexdigest()[:24]}.kernel", key

    @staticmethod
    def _cachable(sig: Any) -> bool:
        # A compiled function has no identity beyond its process: such an entry would never be found again.
        arguments = sig if isinstance(sig, tuple) else sig.args
        parts = (part for argument in arguments for part in getattr(argument, "types", (argument,)))
        return not any(isinstance(part, types.Dispatcher) for part in parts)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The kept kernel, or None."""
        if not self._cachable(sig):
            return None
        payload = self._files.read(*self._place(sig, target_context.codegen()))
        if payload is None:
            return None
        try:
            # numba would first load all that it can compile, a tenth of a second that a kept kernel has no use for.
            rtsys.initialize(target_context)
            return CompileResult._rebuild(target_context, *pickle.loads(payload))
        except Exception as error:  # written by a numba that was changed since; compiling anew is the remedy
            self._files.cannot_be_read(error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a kernel, if it can be found again."""
        if self._cachable(sig) and not data.library.has_dynamic_globals:
            self._files.write(*self._place(sig, data.codegen), dumps(data._reduce()))


def use_cache(dispatcher: Any) -> Any:
    """Give a dispatcher the cache of this module."""
    if _FILES is not None:
        dispatcher._cache = KernelCache(dispatcher.py_func, _FILES)
    return dispatcher
