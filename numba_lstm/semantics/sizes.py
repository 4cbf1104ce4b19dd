"""The bytes that a model's shapes ask for, counted before anything is allocated and refused where absurd.

A configuration of a few hundred bytes can ask for more memory than there is, or for years. The limit is the memory of
the machine, or the smaller one that the process has.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from numba_lstm.checks import MAX_WEIGHT_ELEMENTS
from numba_lstm.errors import ConfigError, NumbaLSTMError

# The name of a weight that a layer would make, its shape, and the names of the axes.
NewWeight = tuple[str, tuple[int, ...], str]
LONGEST_REPEAT = 1_000_000  # timesteps that a layer makes of a vector
_UNKNOWN = 64 * 2**30
# A weight is drawn in float64, with an intermediate result beside it; an orthogonal one takes a decomposition more.
_DRAWING = 24


@cache
def memory() -> int:
    """Bytes of memory that this process may take at most."""
    limits = [_physical()]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # of a container: cgroups 2 and 1
        with suppress(OSError, ValueError):
            limits.append(int(Path("/sys/fs/cgroup", name).read_text(encoding="ascii")))
    with suppress(ImportError, OSError):
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        limits += [soft] if soft != resource.RLIM_INFINITY else []
    return min(limits)


def _physical() -> int:
    if sys.platform == "win32":
        import ctypes

        # MEMORYSTATUSEX: its own size, the load, then seven numbers of 64 bits, the first of them the physical memory.
        status = (ctypes.c_uint64 * 8)(64)
        with suppress(OSError, AttributeError):
            if ctypes.windll.kernel32.GlobalMemoryStatusEx(status):
                return status[1]
        return _UNKNOWN
    with suppress(OSError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return _UNKNOWN


def check_weight(name: str, shape: tuple[int, ...], words: str, dtype: str) -> None:
    """Raise `ConfigError` for a weight that is too large to be drawn; `words` names the axes of `shape`."""
    for most, why in (MAX_WEIGHT_ELEMENTS, ""), (memory() // _DRAWING, " with the memory there is"):
        if prod(shape) > most:
            size = _gigabytes(np.dtype(dtype).itemsize * prod(shape))
            raise ConfigError(
                f"{name} would have shape {shape} = {words} and {size}; expected at most {most} elements{why}; "
                "make the layer smaller"
            )


def check_weights(layer: Any, shape: Any, dtype: str, before: int = 0) -> int:
    """Raise `ConfigError` where the weights that `layer` would make for inputs of `shape` take too much memory.

    `shape` is the argument of its `new_weights`. The layers before it would make `before` elements; returns the sum.
    """
    elements = before
    for name, weight_shape, words in layer.new_weights(shape):
        check_weight(name, weight_shape, words, layer.dtype)
        elements += prod(weight_shape)
    size = elements * np.dtype(dtype).itemsize
    if elements > before and size > memory() // 2:
        raise ConfigError(
            f"{layer.name}: the new weights up to this layer take {_gigabytes(size)}; expected at most "
            f"{_gigabytes(memory() // 2)}, half of the memory; make the layers smaller"
        )
    return elements


def check_outputs(layers: Iterable[Any], shape: Sequence[int | None], dtype: str, share: float = 1.0) -> None:
    """Raise `ConfigError` where inputs of `shape` and a layer's outputs for them are more than `share` of the memory.

    An axis that is None is open, and counted as 1.
    """
    size, limit = np.dtype(dtype).itemsize, int(share * memory())
    for layer, before, after in walk(layers, shape):
        if len(before) == 2 and len(after) == 3 and (after[1] or 0) > LONGEST_REPEAT and after[1] != before[1]:
            raise ConfigError(
                f"{layer.name} makes {after[1]:,} timesteps of a vector; expected at most {LONGEST_REPEAT:,}"
            )
        taken = size * (_elements(before) + _elements(after))
        if taken > limit:
            raise ConfigError(
                f"{layer.name} makes outputs of shape {_shown(after)} of inputs of shape {_shown(before)}, "
                f"{_gigabytes(taken)} together; expected at most {_gigabytes(limit)}, for which there is memory; "
                "run fewer rows at a time, or make the layer smaller"
            )


def walk(layers: Iterable[Any], shape: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Each layer with the shapes of its inputs and outputs, up to the first misfit, which other checks report."""
    for layer in layers:
        try:
            after = layer.output_shape(shape)
        except NumbaLSTMError:
            return
        after = after[0] if isinstance(after, list) else after
        yield layer, shape, after
        shape = after


def _elements(shape: Sequence[int | None]) -> int:
    return prod(1 if n is None else n for n in shape)


def _shown(shape: Sequence[int | None]) -> str:
    return f"({', '.join('any' if n is None else str(n) for n in shape)})"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.3g} GB"
