"""The functions of ops.py and simd.py in plain Python, which run with ``NUMBA_DISABLE_JIT=1``, for debugging.

A number is a NumPy scalar, a vector a small NumPy array.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_lstm.kernels.arguments import fields_of

# Two modules take these over: ops and simd.
__all__ = [
    "absolute",
    "after",
    "broadcast",
    "constant",
    "copysign",
    "exponent",
    "fma",
    "global_memory",
    "horner",
    "is_single",
    "lanes",
    "load",
    "load_acquire",
    "memory_at",
    "nearest",
    "opened",
    "pause",
    "prefetch",
    "replace",
    "scale",
    "select",
    "sqrt",
    "store",
    "store_release",
    "viewed",
]


class Memory:
    """Numbers around an address. Offsets may be negative: a sequence read backwards starts at its end."""

    def __init__(self, address: int, dtype: np.dtype[Any]) -> None:
        self.address, self.dtype = address, dtype

    def numbers(self, offset: int, count: int) -> Any:
        """A view of ``count`` numbers from an offset on."""
        start, size = self.address + int(offset) * self.dtype.itemsize, count * self.dtype.itemsize
        return np.frombuffer(memoryview((ctypes.c_char * size).from_address(start)), self.dtype)

    def __getitem__(self, offset: int) -> Any:
        return self.numbers(offset, 1)[0]

    def __setitem__(self, offset: int, number: Any) -> None:
        self.numbers(offset, 1)[0] = number


class ScalarMemory(Memory):
    """Memory of a GPU, whose threads compute with single numbers."""


def global_memory(address: int, like: Any) -> Memory:
    """See simd.global_memory; CUDA's simulator keeps what lies there in main memory."""
    return ScalarMemory(address, np.asarray(like).dtype)


def memory_at(address: int, like: Any) -> Memory:
    """See simd.memory_at."""
    return Memory(address, np.asarray(like).dtype)


def opened(address: int, dtypes: Sequence[Any], record: type[Any]) -> Any:
    """See simd.opened."""
    numbers, places = Memory(address, np.dtype(np.int64)), itertools.count()

    def value_of(record: type[Any], inherited: Any) -> Any:
        values: list[Any] = []
        for kind, content in fields_of(record, inherited):
            if hasattr(kind, "_fields"):
                values.append(value_of(kind, content))
                continue
            number = int(numbers[next(places)])
            if content is None:
                values.append(kind(number))
            else:
                values.append(Memory(number, np.dtype(content if isinstance(content, str) else type(dtypes[content]))))
        return record(*values)

    return value_of(record, None)


def after(memory: Memory, offset: int) -> Memory:
    """See simd.after."""
    return type(memory)(memory.address + int(offset) * memory.dtype.itemsize, memory.dtype)


def lanes(memory: Memory) -> int:
    """As many as AVX2 has; 1 on a GPU."""
    if isinstance(memory, ScalarMemory):
        return 1
    return 4 if memory.dtype == np.float64 else 8


def viewed(memory: Memory, like: Any) -> Memory:
    """See simd.viewed."""
    return memory_at(memory.address, like)


def load(memory: Memory, offset: int) -> Any:
    """See simd.load."""
    if isinstance(memory, ScalarMemory):
        return memory[offset]
    numbers = memory.numbers(offset, lanes(memory))
    return _widened(numbers) if memory.dtype == np.uint16 else numbers.copy()


def store(memory: Memory, offset: int, vector: Any) -> None:
    """See simd.store."""
    memory.numbers(offset, lanes(memory))[:] = rounded_to_bf16(vector) if memory.dtype == np.uint16 else vector


def rounded_to_bf16(x: Any) -> Any:
    """The bits of bf16 numbers, uint16: float32 rounded to nearest, halves to even; a NaN stays one."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = (bits + (0x7FFF + (bits >> 16 & 1))) >> 16
    return np.where(np.isnan(x), bits >> 16 | 0x40, rounded).astype(np.uint16)


def _widened(bits: Any) -> Any:
    """float32 from the bits of bf16."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def broadcast(memory: Memory, offset: int) -> Any:
    """See simd.broadcast."""
    return np.full(lanes(memory), memory[offset])


_turn = threading.Lock()


def load_acquire(memory: Memory, offset: int) -> Any:
    """See simd.load_acquire."""
    return memory[offset]


def store_release(memory: Memory, offset: int, number: int) -> None:
    """See simd.store_release."""
    with _turn:
        memory[offset] = number


def replace(memory: Memory, offset: int, expected: int, number: int) -> bool:
    """See simd.replace."""
    with _turn:
        as_expected = bool(memory[offset] == expected)
        if as_expected:
            memory[offset] = number
        return as_expected


def prefetch(memory: Memory, offset: int) -> None:
    """See simd.prefetch."""


def pause() -> None:
    """See simd.pause."""


def constant(x: Any, value: float) -> Any:
    """See ops.constant."""
    return np.full_like(x, value)[()]


def is_single(x: Any) -> bool:
    """See ops.is_single."""
    return bool(x.dtype == np.float32)


def _two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """a + b rounded, and the error (Knuth, The Art of Computer Programming, volume 2, 4.2.2)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _two_product(a: Any, b: Any) -> tuple[Any, Any]:
    """a * b rounded, and the error, from factors of half the digits (Dekker, Numerische Mathematik 18, 1971)."""
    product = a * b
    a_high, b_high = (np.asarray(x * 134217729.0 - (x * 134217729.0 - x)) for x in (a, b))
    a_low, b_low = a - a_high, b - b_high
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _odd_sum(a: Any, b: Any) -> Any:
    """a + b in float64; of the two neighbours of an inexact sum the one that ends in an odd digit.

    Such a sum can be rounded once more as if it were exact (Boldo and Melquiond, Emulation of a FMA and correctly
    rounded sums, IEEE Transactions on Computers 57(4), 2008).
    """
    total, error = _two_sum(a, b)
    bits = np.asarray(total).view(np.int64)
    inexact = np.isfinite(error) & (error != 0) & (bits & 1 == 0)
    return (bits + np.where(inexact, np.where((error > 0) == (total > 0), 1, -1), 0)).view(np.float64)[()]


def fma(a: Any, b: Any, c: Any) -> Any:
    """See ops.fma; float64 beyond 1e150 or below 1e-140 may be rounded twice."""
    if np.asarray(a).dtype == np.uint32:
        c = fma(_widened(a >> 16), _widened(b >> 16), c)
        return fma(_widened(a & 0xFFFF), _widened(b & 0xFFFF), c)
    x, y, z = np.float64(a), np.float64(b), np.float64(c)
    with np.errstate(all="ignore"):
        if is_single(c):
            return np.asarray(_odd_sum(x * y, z)).astype(np.float32)[()]
        high, low = _two_product(x, y)
        total, error = _two_sum(high, z)
        rest = _odd_sum(low, error)
        # A rest of zero would take the sign from a zero.
        return np.where(np.isfinite(rest) & (rest != 0), total + rest, x * y + z)[()]


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
