"""Callable kernels: found in the cache of machine code, or compiled by numba and put there.

Where all that a process needs is in the cache, it never imports numba.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from numba_lstm.kernel_cache import loader
from numba_lstm.kernel_cache.kernel_files import files
from numba_lstm.kernels import target, working_time
from numba_lstm.kernels.codes import COMMON
from numba_lstm.kernels.target import INTERPRETED
from numba_lstm.kernels.undisturbed import load, undisturbed, working

_log = logging.getLogger("numba_lstm")
_Key = tuple[str, tuple[Any, ...], tuple[str, ...]]
# Stored with its variant, which keeps functions of the user's alive: the key has their ids.
_Entry = tuple[Callable[[int], Any], tuple[Any, ...]]
_entries: dict[_Key, _Entry] = {}

# The symbols that cached code may refer to. LLVM would load others too, and a call would crash.
_SYMBOLS = frozenset({"memcpy", "memmove", "memset", *loader.OF_PYTHON})


def entry(kernel: str, dtypes: tuple[Any, ...], variant: tuple[Any, ...] = ()) -> Callable[[int], Any]:
    """A kernel, such as "cpu.sequence", to be called with the address of its record.

    dtypes: a number of each dtype of arguments.py. variant: the kernel's further arguments, each None, True, COMMON
    (see `apply.apply`), a compiled function of the user's, or a tuple of such: what they are chooses the code.
    """
    key = kernel, tuple(map(type, dtypes)), tuple(map(_name, variant))
    found = _entries.get(key) or undisturbed(_new_entry, key, dtypes, variant)
    return found[0]


def bound(kernel: Callable[[int], Any], address: int) -> Callable[[], Any]:
    """A kernel with the address of the record that it is always called with, to be called more quickly."""
    return loader.bound(kernel, address)


def _new_entry(key: _Key, dtypes: tuple[Any, ...], variant: tuple[Any, ...]) -> _Entry:
    with working:
        found = _entries.get(key)  # another thread may have been faster
        if found is None:
            found = _entries[key] = _load_or_compile(key[0], dtypes, variant), variant
        return found


def _load_or_compile(kernel: str, dtypes: tuple[Any, ...], variant: tuple[Any, ...]) -> Callable[[int], Any]:
    if INTERPRETED:
        return partial(_interpreted, _imported(kernel)[1], dtypes, variant)
    own = any(map(callable, _flat(variant)))
    key = " ".join((kernel, *(type(one).__name__ for one in dtypes), *map(_name, variant), str(target.VECTOR_BITS)))
    if "fma" in target.FEATURES:  # without it results have other bits
        key += " fma"
    if not own and (found := _from_cache(kernel, key)):
        return found
    begin = time.monotonic()
    found = None if own else _compiled(kernel, key, dtypes, variant)
    if found is None:
        jit, function = _imported(kernel)
        found = jit.callable_by_numba(function, dtypes, variant)
    seconds = time.monotonic() - begin
    working_time.not_counted(seconds)
    _log.info("compiled %s in %.1f s", kernel, seconds)
    return found


def _compiled(kernel: str, key: str, dtypes: tuple[Any, ...], variant: tuple[Any, ...]) -> Callable[[int], Any] | None:
    """The kernel compiled, put into the cache and loaded; None if its code cannot be used without numba."""
    jit, function = _imported(kernel)
    library = jit.compile_kernel(function, dtypes, variant)
    unknown = [call for call in library.calls() if not call.startswith("llvm.") and call not in _SYMBOLS]
    if unknown:
        _log.info("the code of %s calls %s, and is not kept", kernel, ", ".join(unknown))
        return None
    code = library.object_code()
    try:
        found = loader.load(code)
    except (ValueError, RuntimeError) as error:
        _log.info("the code of %s cannot be loaded (%s), and is not kept", kernel, error)
        return None
    files().keep(kernel, key, library.features(), code)
    return found


def _imported(kernel: str) -> tuple[Any, Any]:
    """The compiler, and the kernel as a function."""
    module, name = kernel.split(".")
    return load("numba_lstm.kernels.jit"), getattr(load(f"numba_lstm.kernels.{module}"), name)


def _from_cache(kernel: str, key: str) -> Callable[[int], Any] | None:
    """The kernel from the cache, or None."""
    code = files().find(kernel, key, target.FEATURES)
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
