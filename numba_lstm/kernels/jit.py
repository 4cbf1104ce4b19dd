"""How the kernels are compiled: ``njit_helper`` for functions that compiled code calls, ``njit_kernel`` for entries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numba
import numpy as np

from numba_lstm.kernel_cache.hook import use_cache
from numba_lstm.kernels.undisturbed import undisturbed

_INNER = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def njit_helper(function: Callable[..., Any]) -> Any:
    """Compile a function for the types it is called with, on the CPU or from a CUDA kernel.

    Division follows IEEE 754 rather than raising, which would keep loops from being vectorised, and nothing is
    reassociated or contracted: the order of operations in the source is the order of operations. (forceinline is
    stated explicitly because a function would inherit it from the caller that it was first compiled for.)
    """
    return numba.njit(forceinline=False, **_INNER)(function)


def njit_inline(function: Callable[..., Any]) -> Any:
    """Like njit_helper, and always made part of its callers, so that what it returns stays in registers."""
    return numba.njit(forceinline=True, **_INNER)(function)


def njit_merged(function: Callable[..., Any]) -> Any:
    """Like njit_inline, but written into its callers before they are compiled, and not compiled by itself.

    For small functions around a large one that they call: that one would be optimised once more within each.
    """
    return numba.njit(inline="always", **_INNER)(function)


def njit_kernel(function: Callable[..., Any]) -> Any:
    """Compile an entry point: the GIL is released while it runs, and the machine code is kept across processes."""
    if numba.config.DISABLE_JIT:
        # As silent about overflow and NaN as compiled code.
        return np.errstate(all="ignore")(function)
    dispatcher = use_cache(numba.njit(error_model="numpy", nogil=True, no_cfunc_wrapper=True)(function))
    compile = dispatcher.compile

    def compile_undisturbed(signature: Any) -> Any:
        known = dispatcher.overloads.get(tuple(signature)) if isinstance(signature, tuple | list) else None
        return undisturbed(compile, signature) if known is None else known.entry_point

    dispatcher.compile = compile_undisturbed
    return dispatcher


def entry(kernel: Any, like: Any, flags: Sequence[Any]) -> Callable[[int], Any]:
    """A kernel for `like` (a number, or several) and `flags`, called with the address of a record alone.

    It is compiled, or found among what is, for their types, and numba need not look at them again at every call.
    """
    if numba.config.DISABLE_JIT:
        return partial(kernel, like, *flags)
    types = (*map(numba.typeof, (like, *flags)), numba.int64)
    return partial(kernel.compile(types), like, *flags)


@njit_inline
def smaller(a: int, b: int) -> int:
    """min(a, b) of two numbers; numba compiles min itself anew for every function that calls it."""
    return a if a < b else b


@njit_inline
def larger(a: int, b: int) -> int:
    """max(a, b), see smaller."""
    return a if a > b else b
