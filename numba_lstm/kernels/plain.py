"""What ops.py and simd.py do, in plain Python: these run with ``NUMBA_DISABLE_JIT=1``, for debugging.

A number is a NumPy scalar, a vector a small NumPy array. fma on float64 is rounded twice here.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np


def memory_at(address: int, like: Any) -> Any:
    """See simd.memory_at. The array is longer than its memory, of which nobody reads or writes the rest."""
    dtype = np.asarray(like).dtype
    endless = (ctypes.c_char * 2**40).from_address(address)
    return np.frombuffer(memoryview(endless), dtype)


def after(array: Any, offset: int) -> Any:
    """See simd.after."""
    return array[offset:]


def lanes(array: Any) -> int:
    """As many as AVX2 has."""
    return 8 if array.dtype == np.float32 else 4


def load(array: Any, offset: int) -> Any:
    """See simd.load."""
    return array[offset : offset + lanes(array)].copy()


def store(array: Any, offset: int, vector: Any) -> None:
    """See simd.store."""
    array[offset : offset + lanes(array)] = vector


def broadcast(array: Any, offset: int) -> Any:
    """See simd.broadcast."""
    return np.full(lanes(array), array[offset])


def constant(x: Any, value: float) -> Any:
    """See ops.constant."""
    return np.full_like(x, value)[()]


def is_single(x: Any) -> bool:
    """See ops.is_single."""
    return bool(x.dtype == np.float32)


def fma(a: Any, b: Any, c: Any) -> Any:
    """See ops.fma."""
    if not is_single(c):
        return a * b + c
    return np.asarray(np.float64(a) * np.float64(b) + np.float64(c)).astype(np.float32)[()]


def horner(x: Any, coefficients: tuple[float, ...]) -> Any:
    """See ops.horner."""
    y = constant(x, coefficients[0])
    for coefficient in coefficients[1:]:
        y = fma(y, x, constant(x, coefficient))
    return y


def select(condition: Any, a: Any, b: Any) -> Any:
    """See ops.select."""
    return np.where(condition, a, b)[()]


def absolute(x: Any) -> Any:
    """See ops.absolute."""
    return np.abs(x)


def copysign(x: Any, sign: Any) -> Any:
    """See ops.copysign."""
    return np.copysign(x, sign)


def sqrt(x: Any) -> Any:
    """See ops.sqrt."""
    return np.sqrt(x)


def nearest(x: Any) -> Any:
    """See ops.nearest."""
    return np.rint(x)


def scale(x: Any, n: Any) -> Any:
    """See ops.scale."""
    with np.errstate(over="ignore", under="ignore"):
        return np.ldexp(x, np.nan_to_num(n).astype(np.int32))


def exponent(x: Any) -> Any:
    """See ops.exponent."""
    return (np.frexp(x)[1] - 1).astype(np.asarray(x).dtype)[()]
