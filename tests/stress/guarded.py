"""Memory for kernels that tells who writes to it when nobody may: around it, and after it was given back."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

POISON, GUARD = 0xA5, 64  # the byte, and how many of them on either side


class Memory:
    """Arrays made for the package while it is in use: counts of them, and what was damaged."""

    def __init__(self) -> None:
        self.made = 0
        self.damages: list[str] = []
        self._given_back: list[tuple[Any, str]] = []

    def array(self, shape: Any, dtype: Any) -> Any:
        """An array of zeros, its first byte at a multiple of 64."""
        self.made += 1
        return np.asarray(_Block(self, shape, np.dtype(dtype)))

    def give_back(self, raw: Any, name: str) -> None:
        """Nobody refers to the array any more: fill it with poison, and keep it to look at it later."""
        if not ((raw[:GUARD] == POISON).all() and (raw[-GUARD:] == POISON).all()):
            self.damages.append(f"{name}: somebody wrote beside it")
        raw[...] = POISON
        self._given_back.append((raw, name))

    def look(self) -> None:
        """Note whose memory was written to after it was given back."""
        given_back, self._given_back = self._given_back, []
        for raw, name in given_back:
            if not (raw == POISON).all():
                self.damages.append(f"{name}: somebody wrote to it after it was given back")


class _Block:
    """What an array is a view of, and all views of it: NumPy keeps it alive as long as there is one."""

    def __init__(self, memory: Memory, shape: Any, dtype: np.dtype[Any]) -> None:
        shape = (int(shape),) if np.ndim(shape) == 0 else tuple(map(int, shape))
        size = int(np.prod(shape)) * dtype.itemsize
        raw = np.full(size + 2 * GUARD + 64, POISON, np.uint8)
        at = raw.__array_interface__["data"][0] + GUARD
        start = GUARD + -at % 64
        self._memory, self._name = memory, f"{dtype} {shape}"
        self._raw = raw[start - GUARD : start + size + GUARD]
        self._raw[GUARD : GUARD + size] = 0
        self.__array_interface__ = {
            "shape": shape,
            "typestr": dtype.str,
            "data": (at + -at % 64, False),
            "version": 3,
        }

    def __del__(self) -> None:
        self._memory.give_back(self._raw, self._name)


class _NumPy:
    """numpy, with new arrays from a `Memory`."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def empty(self, shape: Any, dtype: Any = float) -> Any:
        return self._memory.array(shape, dtype)

    zeros = empty

    def empty_like(self, like: Any, dtype: Any = None, **_: Any) -> Any:
        return self._memory.array(like.shape, dtype or like.dtype)

    def full(self, shape: Any, value: Any, dtype: Any) -> Any:
        array = self._memory.array(shape, dtype)
        array[...] = value
        return array


@contextlib.contextmanager
def memory() -> Iterator[Memory]:
    """All that the driver allocates meanwhile comes from a `Memory`."""
    found = Memory()
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith("numba_lstm.") and hasattr(module, "aligned_zeros"):
                patch.setattr(module, "aligned_zeros", found.array)
        for name in ("driver", "operands", "ragged", "stack", "stepper", "session"):
            patch.setattr(sys.modules[f"numba_lstm.{name}"], "np", _NumPy(found))
        yield found
