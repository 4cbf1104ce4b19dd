"""Arrays on a GPU copied, cast, joined and merged there, and brought to main memory and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numba_lstm.backends.cuda import policy
from numba_lstm.backends.cuda.arrays import DeviceArray
from numba_lstm.backends.cuda.caller import Caller, on
from numba_lstm.backends.cuda.card import address
from numba_lstm.backends.cuda.dlpack import Description, contiguous_strides
from numba_lstm.kernels import cuda_copies as kernels
from numba_lstm.kernels.cuda_copies import Lengths, Strided

NO_MARKS = Strided(0, 0, 0, 0, 0)


def described(memory: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Description:
    """Memory of a card as a C-ordered array from its beginning."""
    return Description(address(memory), shape, contiguous_strides(shape, dtype.itemsize), dtype, memory)


def empty(card: Caller, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
    """Room for an array."""
    return DeviceArray(card, described(card.empty(max(int(np.prod(shape)), 3), dtype), shape, dtype))


def zeros(card: Caller, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
    """An array of zeros."""
    array = empty(card, shape, dtype)
    clear(array, None)
    return array


def put(card: Caller, array: NDArray[Any]) -> DeviceArray:
    """A copy of an array of main memory."""
    return DeviceArray(card, described(card.upload(array), array.shape, array.dtype))


def fetched(array: DeviceArray) -> NDArray[Any]:
    """A copy in main memory, once the numbers are there."""
    with on(array.card.number):
        there = array if _is_all_of_it(array) else copied(array, array.dtype)
        return array.card.download(there.owner, np.empty(array.shape, array.dtype))


def _is_all_of_it(array: DeviceArray) -> bool:
    """Whether the array is memory of numba's from its beginning, which is what a card downloads."""
    owner = array.owner
    if not getattr(owner, "__cuda_ndarray__", False) or owner.ndim != 1 or owner.dtype != array.dtype:
        return False
    return array.is_contiguous and address(owner) == array.address and bool(owner.is_c_contiguous())


def copied(array: DeviceArray, dtype: np.dtype[Any]) -> DeviceArray:
    """A C-ordered copy of its own, cast to `dtype`."""
    with on(array.card.number):
        target = empty(array.card, array.shape, dtype)
        copy(array, target)
        return target


def copy(source: DeviceArray, target: DeviceArray) -> None:
    """target = source, of the same shape; cast if need be."""
    _launch(target, kernels.copy_kernel(source.dtype.name, target.dtype.name), _strided(source))


def clear(target: DeviceArray, marks: DeviceArray | None) -> None:
    """target = 0, where `marks` is False; those are booleans of the shape of target's first axes."""
    kernel = kernels.fill_kernel(target.dtype.name, None if marks is None else True)
    _launch(target, kernel, NO_MARKS if marks is None else _strided(marks, target.ndim))


def merged(first: DeviceArray, second: DeviceArray, mode: str) -> Any:
    """Two arrays merged as `Bidirectional` does it: "concat" along the last axis, "sum", "mul", "ave"."""
    if mode == "concat":
        return joined([first, second], first.ndim - 1)
    target = empty(first.card, first.shape, first.dtype)
    _launch(target, kernels.merge_kernel(first.dtype.name, mode), _strided(first), _strided(second))
    return target


def joined(parts: Sequence[DeviceArray], axis: int) -> DeviceArray:
    """The arrays one after the other along an axis."""
    first = parts[0]
    shape = list(first.shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    target = empty(first.card, tuple(shape), first.dtype)
    start = 0
    for part in parts:
        stop = start + part.shape[axis]
        copy(part, target[(slice(None),) * axis + (slice(start, stop),)])
        start = stop
    return target


def _strided(array: DeviceArray, ndim: int | None = None) -> Strided:
    """An array as kernels take it; with `ndim` it has more axes at its end, along which it repeats itself."""
    strides = [stride // array.dtype.itemsize for stride in array.strides]
    strides += [0] * ((array.ndim if ndim is None else ndim) - array.ndim)
    return Strided(array.address, *[0] * (kernels.AXES - len(strides)), *strides)


def _launch(target: DeviceArray, kernel: Any, *sources: Strided) -> None:
    """Start a kernel for every number of an array, which comes last."""
    lengths = Lengths(*[1] * (kernels.AXES - target.ndim), *target.shape)
    blocks, threads = policy.moving_grid(target.size, target.card.threads)
    target.card.launch(kernel, blocks, threads, target.size, lengths, *sources, _strided(target))
