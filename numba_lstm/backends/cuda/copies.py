"""Arrays on a GPU copied, cast, concatenated and merged there, and copied from and to main memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numba_lstm.backends.cuda import policy
from numba_lstm.backends.cuda.arrays import DeviceArray
from numba_lstm.backends.cuda.caller_stream import CallerStream
from numba_lstm.backends.cuda.dlpack import Description, contiguous_strides
from numba_lstm.backends.cuda.stream import address, use_gpu
from numba_lstm.kernels import cuda_copies as kernels
from numba_lstm.kernels.cuda_copies import Lengths, Strided

NO_MASK = Strided(0, 0, 0, 0, 0)


def describe(memory: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Description:
    """Memory of a GPU as a C-ordered array that begins where the memory does."""
    return Description(address(memory), shape, contiguous_strides(shape, dtype.itemsize), dtype, memory)


def empty(stream: CallerStream, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
    """An array with any content."""
    return DeviceArray(stream, describe(stream.empty(max(int(np.prod(shape)), 3), dtype), shape, dtype))


def upload(stream: CallerStream, array: NDArray[Any]) -> DeviceArray:
    """A copy of an array in main memory."""
    return DeviceArray(stream, describe(stream.upload(array), array.shape, array.dtype))


def download(array: DeviceArray) -> NDArray[Any]:
    """A copy in main memory, once the work that computes the array is done."""
    with use_gpu(array.stream.gpu_number):
        whole = array if _is_whole_memory(array) else copied(array, array.dtype)
        return array.stream.download(whole.owner, np.empty(array.shape, array.dtype))


def _is_whole_memory(array: DeviceArray) -> bool:
    """Whether `Stream.download` can copy it: it is contiguous, and begins where its memory of numba's does."""
    owner = array.owner
    if not getattr(owner, "__cuda_ndarray__", False) or owner.ndim != 1 or owner.dtype != array.dtype:
        return False
    return array.is_contiguous and address(owner) == array.address and bool(owner.is_c_contiguous())


def copied(array: DeviceArray, dtype: np.dtype[Any]) -> DeviceArray:
    """A C-ordered copy, cast to `dtype`."""
    with use_gpu(array.stream.gpu_number):
        target = empty(array.stream, array.shape, dtype)
        copy(array, target)
        return target


def copy(source: DeviceArray, target: DeviceArray) -> None:
    """target = source, of the same shape; cast if need be."""
    _launch(target, kernels.copy_kernel(source.dtype.name, target.dtype.name), _strided(source))


def fill_with_zeros(target: DeviceArray, mask: DeviceArray | None = None) -> None:
    """target = 0 where `mask` is False, which has the shape of target's first axes; everywhere without a mask."""
    kernel = kernels.fill_kernel(target.dtype.name, None if mask is None else True)
    _launch(target, kernel, NO_MASK if mask is None else _strided(mask, target.ndim))


def merge(first: DeviceArray, second: DeviceArray, mode: str) -> Any:
    """Two arrays merged as `Bidirectional` does it: "concat" along the last axis, "sum", "mul", "ave"."""
    if mode == "concat":
        return concatenate([first, second], first.ndim - 1)
    target = empty(first.stream, first.shape, first.dtype)
    _launch(target, kernels.merge_kernel(first.dtype.name, mode), _strided(first), _strided(second))
    return target


def concatenate(arrays: Sequence[DeviceArray], axis: int) -> DeviceArray:
    """The arrays one after the other along an axis."""
    first = arrays[0]
    shape = list(first.shape)
    shape[axis] = sum(array.shape[axis] for array in arrays)
    target = empty(first.stream, tuple(shape), first.dtype)
    start = 0
    for array in arrays:
        stop = start + array.shape[axis]
        copy(array, target[(slice(None),) * axis + (slice(start, stop),)])
        start = stop
    return target


def _strided(array: DeviceArray, ndim: int | None = None) -> Strided:
    """An array as an argument of kernels, broadcast to `ndim` axes by new ones at its end."""
    strides = [stride // array.dtype.itemsize for stride in array.strides]
    strides += [0] * ((array.ndim if ndim is None else ndim) - array.ndim)
    return Strided(array.address, *[0] * (kernels.AXES - len(strides)), *strides)


def _launch(target: DeviceArray, kernel: Any, *sources: Strided) -> None:
    """Launch a kernel for every element of `target`, its last argument."""
    lengths = Lengths(*[1] * (kernels.AXES - target.ndim), *target.shape)
    blocks, threads = policy.copy_grid(target.size, target.stream.warp_size)
    target.stream.launch(kernel, blocks, threads, target.size, lengths, *sources, _strided(target))
