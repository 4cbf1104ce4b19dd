"""Memory for kernels that tells who writes to it when nobody may, around it and after it was given back; and who reads.

What nobody has written yet, what lies around it and what was given back is NaN in every dtype of floats.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from numba_lstm import session
from numba_lstm.backends.cpu import call_plan, operands, ragged, run, stacked, stateless, streaming
from numba_lstm.kernels.arguments import Scratch
from numba_lstm.kernels.pack import address

# NaN as one float64, as two float32, and as the bfloat16 that an odd address finds; no number that threads meet by.
POISON = np.array([0x7FF8A5A57FC0A5A5], np.uint64).view(np.uint8)
GUARD = 64  # bytes on either side


def poison(size: int) -> Any:
    """`size` bytes of the poison pattern."""
    return np.resize(POISON, size) if size > _SOME.size else _SOME[:size]


_SOME = np.resize(POISON, 1 << 20)


class Memory:
    """Arrays made for the package while it is in use: counts of them, and what was damaged."""

    def __init__(self) -> None:
        self.made = 0
        self.damages: list[str] = []
        self._given_back: list[tuple[Any, str]] = []

    def array(self, shape: Any, dtype: Any) -> Any:
        """An array of zeros, its first byte at a multiple of 64."""
        array = self.fresh(shape, dtype)
        array[...] = 0
        return array

    def fresh(self, shape: Any, dtype: Any, guard: int = GUARD) -> Any:
        """An array that nobody has written to. guard: bytes on either side."""
        self.made += 1
        return np.asarray(_Block(self, shape, np.dtype(dtype), guard))

    def give_back(self, raw: Any, name: str, guard: int) -> None:
        """Nobody refers to the array any more: fill it with poison, and keep it to look at it later."""
        untouched = poison(raw.size)
        for side in (slice(guard), slice(-guard, None)):
            if not np.array_equal(raw[side], untouched[side]):
                self.damages.append(f"{name}: somebody wrote beside it")
        raw[...] = untouched
        self._given_back.append((raw, name))

    def look(self) -> None:
        """Note whose memory was written to after it was given back."""
        given_back, self._given_back = self._given_back, []
        for raw, name in given_back:
            if not np.array_equal(raw, poison(raw.size)):
                self.damages.append(f"{name}: somebody wrote to it after it was given back")


class _Block:
    """The memory behind an array and all its views: NumPy keeps it alive as long as one of them is."""

    def __init__(self, memory: Memory, shape: Any, dtype: np.dtype[Any], guard: int) -> None:
        shape = (int(shape),) if np.ndim(shape) == 0 else tuple(map(int, shape))
        size = int(np.prod(shape)) * dtype.itemsize
        raw = np.empty(size + 2 * guard + 64, np.uint8)
        at = raw.__array_interface__["data"][0] + guard
        start = guard + -at % 64
        self._memory, self._name, self._guard = memory, f"{dtype} {shape}", guard
        self._raw = raw[start - guard : start + size + guard]
        self._raw[...] = poison(self._raw.size)
        self.__array_interface__ = {
            "shape": shape,
            "typestr": dtype.str,
            "data": (at + -at % 64, False),
            "version": 3,
        }

    def __del__(self) -> None:
        self._memory.give_back(self._raw, self._name, self._guard)


class _NumPy:
    """numpy, with new arrays from a `Memory`."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def empty(self, shape: Any, dtype: Any = float) -> Any:
        return self._memory.fresh(shape, dtype)

    def zeros(self, shape: Any, dtype: Any = float) -> Any:
        return self._memory.array(shape, dtype)

    def empty_like(self, like: Any, dtype: Any = None, **_: Any) -> Any:
        return self._memory.fresh(like.shape, dtype or like.dtype)

    def full(self, shape: Any, value: Any, dtype: Any) -> Any:
        array = self._memory.array(shape, dtype)
        array[...] = value
        return array


def _apart(memory: Memory, made: Any, guard: int) -> Any:
    """`scratch_of`, each part of its memory an array of its own, as large as what was made for it."""

    def scratch_of(*arguments: Any, **options: Any) -> tuple[Scratch, Any]:
        scratch, whole = made(*arguments, **options)
        starts = scratch[2:]  # behind two counts stand the addresses, in order
        stops = *starts[1:], address(whole) + whole.nbytes
        sizes = [stop - start for start, stop in zip(starts, stops, strict=True)]
        parts = [memory.fresh(size, np.uint8, guard) for size in sizes]
        parts[-1][...] = 0  # skip
        return Scratch(*scratch[:2], *map(address, parts)), parts

    return scratch_of


@contextlib.contextmanager
def memory(guard: int = GUARD) -> Iterator[Memory]:
    """All that the driver allocates meanwhile comes from a `Memory`. guard: bytes beside each part of scratch."""
    found = Memory()
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith("numba_lstm.") and hasattr(module, "aligned_zeros"):
                patch.setattr(module, "aligned_zeros", found.array)
        patch.setattr(operands, "scratch_of", _apart(found, operands.scratch_of, guard))
        for module in (run, operands, ragged, stacked, stateless, call_plan, streaming, session):
            patch.setattr(module, "np", _NumPy(found))
        yield found
