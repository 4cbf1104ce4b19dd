"""Machine code from the cache made callable, by LLVM's own loader: numba is not needed for it.

The code has one symbol to call, ``ENTRY``: a C function that takes one 64-bit integer and returns nothing.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import llvmlite.binding as llvm

ENTRY = "numba_lstm_kernel"
_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_int64)  # a call releases the GIL

# Engines own the memory that their code is in; it stays for as long as the process does.
_engines: list[Any] = []


@cache
def host_features() -> frozenset[str]:
    """The features of this machine's CPU by LLVM's names, such as "avx2"; none where LLVM does not know it."""
    try:
        return frozenset(name for name, there in llvm.get_host_cpu_features().items() if there)
    except RuntimeError:
        return frozenset()


def triple() -> str:
    """The architecture and system that code here is for, by LLVM's name."""
    return str(llvm.get_default_triple())


@cache
def _target() -> Any:
    with suppress(RuntimeError):  # newer ones do it by themselves, and say so
        llvm.initialize()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple()


def load(code: bytes) -> Callable[[int], None]:
    """The function ENTRY of object code; symbols that it needs must be there, which LLVM does not check."""
    # An engine each, for all of them have one symbol.
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target().create_target_machine(jit=True))
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    function = engine.get_function_address(ENTRY)
    if not function:
        raise ValueError(f"it has no function {ENTRY}")
    _engines.append(engine)
    return _FUNCTION(function)
