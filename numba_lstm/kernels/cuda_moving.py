"""CUDA kernels that move numbers: copies from any layout to any other, casts, and what two directions are merged by.

Arrays have four axes here, missing ones being of length 1. A thread has numbers at equal distances, in C order.
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
    """How long the axes are."""

    first: int
    second: int
    third: int
    fourth: int


class Strided(NamedTuple):
    """Where the numbers of an array lie: its memory, and the distances between neighbours along each axis."""

    memory: Any
    first: int
    second: int
    third: int
    fourth: int


@njit_inline
def place(n: int, lengths: Lengths, array: Strided) -> int:
    """Where number n of an array lies in its memory."""
    rest, fourth = n // lengths.fourth, n % lengths.fourth
    rest, third = rest // lengths.third, rest % lengths.third
    first, second = rest // lengths.second, rest % lengths.second
    return first * array.first + second * array.second + third * array.third + fourth * array.fourth


@cache
def copy_for(source_dtype: str, target_dtype: str) -> Any:
    """The kernel ``copy`` between arrays of two dtypes; to "bool" every number but zero becomes 1, NaN too."""
    to_bool = True if target_dtype == "bool" else None
    like_source, like_target = _like(source_dtype), _like(target_dtype)

    @cuda_kernel
    def copy(count: int, lengths: Lengths, source: Strided, target: Strided) -> None:
        """target = source, number by number, ``count`` of them; memory by address, neither overlaps the other."""
        here, there = global_memory(source.memory, like_source), global_memory(target.memory, like_target)
        for n in range(cuda.grid(1), count, cuda.gridsize(1)):
            number = here[place(n, lengths, source)]
            if to_bool is None:
                there[place(n, lengths, target)] = number
            else:
                there[place(n, lengths, target)] = 1 if number != 0 else 0

    return copy


@cache
def clear_for(dtype: str, marked: Any) -> Any:
    """The kernel ``clear``; marked: None if there are no marks."""
    like, byte = _like(dtype), np.uint8(0)

    @cuda_kernel
    def clear(count: int, lengths: Lengths, marks: Strided, target: Strided) -> None:
        """target = 0, where there is no mark; marks: bytes, read only."""
        seen, there = global_memory(marks.memory, byte), global_memory(target.memory, like)
        for n in range(cuda.grid(1), count, cuda.gridsize(1)):
            stays = False
            if marked is not None:
                stays = seen[place(n, lengths, marks)] != 0
            if not stays:
                there[place(n, lengths, target)] = like

    return clear


@cache
def merge_for(dtype: str, mode: str) -> Any:
    """The kernel ``merge``; mode: of `MERGES`."""
    like, multiplies, halves = _like(dtype), mode == "mul", mode == "ave"

    @cuda_kernel
    def merge(count: int, lengths: Lengths, a: Strided, b: Strided, target: Strided) -> None:
        """target = a + b, a * b or (a + b) / 2."""
        uncontracted()
        one, other = global_memory(a.memory, like), global_memory(b.memory, like)
        there = global_memory(target.memory, like)
        for n in range(cuda.grid(1), count, cuda.gridsize(1)):
            x, y = one[place(n, lengths, a)], other[place(n, lengths, b)]
            merged = x * y if multiplies else x + y
            if halves:
                merged = merged / constant(merged, 2.0)
            there[place(n, lengths, target)] = merged

    return merge


def _like(dtype: str) -> Any:
    return np.dtype("uint8" if dtype == "bool" else dtype).type(0)
