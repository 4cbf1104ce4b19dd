"""CUDA kernels that copy and cast arrays of any strides, fill them with zeros, and merge two directions.

Arrays have four axes here, missing ones being of length 1. A thread computes elements at equal distances, in C order.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from numba_lstm.kernels.cuda_target import cuda, cuda_kernel, uncontracted
from numba_lstm.kernels.jit import njit_inline
from numba_lstm.kernels.ops import constant
from numba_lstm.kernels.simd import global_memory

AXES = 4
MERGES = ("sum", "mul", "ave")


class Lengths(NamedTuple):
    """The lengths of the axes."""

    first: int
    second: int
    third: int
    fourth: int


class Strided(NamedTuple):
    """The memory of an array, by address, and its strides in numbers."""

    memory: Any
    first: int
    second: int
    third: int
    fourth: int


@njit_inline
def offset_of(n: int, lengths: Lengths, array: Strided) -> int:
    """The offset of element n, in C order, in the memory of an array."""
    rest, fourth = n // lengths.fourth, n % lengths.fourth
    rest, third = rest // lengths.third, rest % lengths.third
    first, second = rest // lengths.second, rest % lengths.second
    return first * array.first + second * array.second + third * array.third + fourth * array.fourth


@cache
def copy_kernel(source_dtype: str, target_dtype: str) -> Any:
    """The kernel ``copy`` between arrays of two dtypes; to "bool" every number but zero becomes 1, NaN too."""
    to_bool = True if target_dtype == "bool" else None
    source_zero, target_zero = _zero(source_dtype), _zero(target_dtype)

    @cuda_kernel
    def copy(count: int, lengths: Lengths, source: Strided, target: Strided) -> None:
        """target = source, for ``count`` elements; the two do not overlap."""
        read, written = global_memory(source.memory, source_zero), global_memory(target.memory, target_zero)
        for n in range(cuda.grid(1), count, cuda.gridsize(1)):
            number = read[offset_of(n, lengths, source)]
            if to_bool is None:
                written[offset_of(n, lengths, target)] = number
            else:
                written[offset_of(n, lengths, target)] = 1 if number != 0 else 0

    return copy


@cache
def fill_kernel(dtype: str, has_mask: Any) -> Any:
    """The kernel ``fill``; has_mask: None if there is no mask."""
    zero, byte = _zero(dtype), np.uint8(0)

    @cuda_kernel
    def fill(count: int, lengths: Lengths, mask: Strided, target: Strided) -> None:
        """target = 0 where the mask is False, and everywhere without one; mask: bytes, read only."""
        counts, written = global_memory(mask.memory, byte), global_memory(target.memory, zero)
        for n in range(cuda.grid(1), count, cuda.gridsize(1)):
            stays = False
            if has_mask is not None:
                stays = counts[offset_of(n, lengths, mask)] != 0
            if not stays:
                written[offset_of(n, lengths, target)] = zero

    return fill


@cache
def merge_kernel(dtype: str, mode: str) -> Any:
    """The kernel ``merge``; mode: of `MERGES`."""
    zero, multiplies, halves = _zero(dtype), mode == "mul", mode == "ave"

    @cuda_kernel
    def merge(count: int, lengths: Lengths, a: Strided, b: Strided, target: Strided) -> None:
        """target = a + b, a * b or (a + b) / 2."""
        uncontracted()
        first, second = global_memory(a.memory, zero), global_memory(b.memory, zero)
        written = global_memory(target.memory, zero)
        for n in range(cuda.grid(1), count, cuda.gridsize(1)):
            x, y = first[offset_of(n, lengths, a)], second[offset_of(n, lengths, b)]
            merged = x * y if multiplies else x + y
            if halves:
                merged = merged / constant(merged, 2.0)
            written[offset_of(n, lengths, target)] = merged

    return merge


def _zero(dtype: str) -> Any:
    return np.dtype("uint8" if dtype == "bool" else dtype).type(0)
