"""A kernel made callable: found in the cache of machine code, or compiled by numba and put there.

Where all that a process needs is in the cache, it never imports numba.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

from numba_lstm.kernel_cache import loader
from numba_lstm.kernel_cache.kernel_files import files
from numba_lstm.kernels.codes import COMMON
from numba_lstm.kernels.target import FEATURES, INTERPRETED, VECTOR_BITS
from numba_lstm.kernels.undisturbed import load, undisturbed

_log = logging.getLogger("numba_lstm")
_entries: dict[Any, Callable[[int], None]] = {}

# What code in the cache may call. LLVM would load a call of anything else too, to end in a crash.
_SYMBOLS = frozenset({"memcpy", "memmove", "memset"})


def entry(kernel: str, dtypes: tuple[Any, ...], variant: tuple[Any, ...] = ()) -> Callable[[int], None]:
    """A kernel, such as "cpu.sequence", to be called with the address of its record.

    dtypes: a number of each dtype of arguments.py. variant: the kernel's further arguments, each None, True, COMMON
    (see `apply.apply`), a compiled function of the user's, or a tuple of such: what they are chooses the code.
    """
    key = kernel, tuple(map(type, dtypes)), tuple(map(_name, variant))
    found = _entries.get(key)
    if found is None:
        found = undisturbed(_new_entry, kernel, dtypes, variant)
        if not any(map(callable, _flat(variant))):  # one of the user's has no name but its own
            _entries[key] = found
    return found


def _new_entry(kernel: str, dtypes: tuple[Any, ...], variant: tuple[Any, ...]) -> Callable[[int], None]:
    module, name = kernel.split(".")
    if INTERPRETED:
        function = getattr(import_module(f"numba_lstm.kernels.{module}"), name)
        return partial(_interpreted, function, dtypes, variant)
    own = any(map(callable, _flat(variant)))
    key = " ".join((kernel, *(type(one).__name__ for one in dtypes), *map(_name, variant), str(VECTOR_BITS)))
    if "fma" in FEATURES:  # without it results have other bits
        key += " fma"
    if not own and (found := _kept(kernel, key)):
        return found
    begin = time.perf_counter()
    jit = load("numba_lstm.kernels.jit")
    function = getattr(load(f"numba_lstm.kernels.{module}"), name)
    if own:
        found = jit.callable_by_numba(function, dtypes, variant)
    else:
        library = jit.compiled(function, dtypes, variant)
        unknown = [call for call in library.calls() if not call.startswith("llvm.") and call not in _SYMBOLS]
        if unknown:
            found = jit.callable_by_numba(function, dtypes, variant)
            _log.info("compiled code of %s calls %s, and is not kept", kernel, ", ".join(unknown))
        else:
            code = library.object_code()
            found = loader.load(code)
            files().keep(kernel, key, library.features(), code)
    _log.info("compiled %s in %.1f s", kernel, time.perf_counter() - begin)
    return found


def _kept(kernel: str, key: str) -> Callable[[int], None] | None:
    """The kernel from the cache, or None."""
    code = files().find(kernel, key, FEATURES)
    if code is None:
        return None
    try:
        return loader.load(bytes(code))
    except (ValueError, RuntimeError) as error:
        files().cannot_be_read(error)
        return None


def _interpreted(function: Any, dtypes: tuple[Any, ...], variant: tuple[Any, ...], address: int) -> None:
    function(address, dtypes, *variant)


def _flat(values: tuple[Any, ...]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, tuple):
            yield from _flat(value)
        else:
            yield value


def _name(value: Any) -> str:
    """A part of a variant as text."""
    if isinstance(value, tuple):
        return f"({','.join(map(_name, value))})"
    if value is None or value is True:
        return str(value)
    return "common" if value is COMMON else f"function {id(value)}"
