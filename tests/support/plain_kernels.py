"""The CPU kernels as plain Python in this process, as ``NUMBA_DISABLE_JIT=1`` makes them in a process of its own.

So a test calls any function of a kernel module at once, on NumPy's numbers and memory, and nothing is compiled.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from types import ModuleType
from typing import Any

import numba
from numpy.typing import NDArray

import numba_lstm

_PACKAGE = "numba_lstm.kernels"
_SHARED = {
    f"{_PACKAGE}.{name}" for name in ("arguments", "codes", "compile", "target", "undisturbed", "working_time")
}  # which nothing is compiled in
Array = NDArray[Any]


@cache
def _modules() -> dict[str, ModuleType]:
    """A second copy of the package; the first one stays what everybody else imports."""
    compiled = {name: module for name, module in sys.modules.items() if name.split(".")[:2] == _PACKAGE.split(".")}
    importlib.import_module(_PACKAGE)
    package = sys.modules[_PACKAGE]
    for name in compiled.keys() - _SHARED:
        del sys.modules[name]
    before, numba.config.DISABLE_JIT = numba.config.DISABLE_JIT, True
    try:
        for name in ("cpu_pair", "stepping", "dense"):  # these import all others
            importlib.import_module(f"{_PACKAGE}.{name}")
        return {name: module for name, module in sys.modules.items() if name.startswith(f"{_PACKAGE}.")}
    finally:
        numba.config.DISABLE_JIT = before
        for name in [name for name in sys.modules if name.split(".")[:2] == _PACKAGE.split(".")]:
            del sys.modules[name]
        sys.modules.update(compiled)
        numba_lstm.kernels = package  # type: ignore[attr-defined]


def plain(name: str) -> Any:
    """The module of kernels with that name."""
    return _modules()[f"{_PACKAGE}.{name}"]


def memory(array: Array) -> Any:
    """An array as the kernels see it; the caller keeps it alive."""
    assert array.flags.c_contiguous
    return plain("simd").memory_at(array.__array_interface__["data"][0], array.dtype.type(0))
