"""Machine code from the cache made callable, by LLVM's own loader: numba is not needed for it.

The code has one symbol to call, ``ENTRY``: a C function for Python, as `simd.add_entry_point` writes it. Python calls
it as one of its own builtin functions, which is quicker than a call through ctypes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import Any

import llvmlite.binding as llvm

ENTRY = "numba_lstm_kernel"
# The functions of Python that such code calls.
OF_PYTHON = ("PyLong_AsLongLong", "PyEval_SaveThread", "PyEval_RestoreThread", "Py_IncRef")

_NO_ARGUMENTS, _ONE_ARGUMENT = 4, 8  # METH_NOARGS and METH_O of Python's methodobject.h


class _Definition(ctypes.Structure):
    """Python's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_new_function = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(
    ("PyCFunction_NewEx", ctypes.pythonapi)
)
# For each function the one without arguments. Functions refer to their definitions, and the memory of their code
# belongs to its engine; all of that stays for as long as the process does.
_bindable: dict[Callable[[int], Any], _Definition] = {}
_kept: list[Any] = []


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
    for name in OF_PYTHON:
        llvm.add_symbol(name, ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value)
    return llvm.Target.from_default_triple()


def load(code: bytes) -> Callable[[int], Any]:
    """The function ENTRY of object code, to be called with an address.

    Nothing is checked: whoever has the code knows where it comes from. Raises ValueError where it has no such function.
    """
    # An engine each, for all of them have one symbol.
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target().create_target_machine(jit=True))
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    address = engine.get_function_address(ENTRY)
    if not address:
        raise ValueError(f"it has no function {ENTRY}")
    plain, bound = (_Definition(b"kernel", address, flags, None) for flags in (_ONE_ARGUMENT, _NO_ARGUMENTS))
    _kept.extend((engine, plain, bound))
    function: Callable[[int], Any] = _new_function(ctypes.addressof(plain), None, None)
    _bindable[function] = bound
    return function


def bound(function: Callable[[int], Any], address: int) -> Callable[[], Any]:
    """The function with the address that it is always called with."""
    definition = _bindable.get(function)
    if definition is None:  # one that numba calls, or plain Python
        return partial(function, address)
    return _new_function(ctypes.addressof(definition), address, None)  # type: ignore[no-any-return]
