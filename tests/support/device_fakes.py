"""Stand-ins for arrays of other libraries on a GPU, and for a caller's stream."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_lstm.backends.cuda import dlpack
from numba_lstm.backends.cuda.arrays import DeviceArray
from numba_lstm.backends.cuda.dlpack import Description


class Owner:
    """An owner of an array, for weak references."""

    def __init__(self, array: Any) -> None:
        self.array = array


class FakeStream:
    """A caller's stream that logs its calls."""

    dlpack_device = dlpack.CPU, 0

    def __init__(self, number: int = 0, handle: int = 7) -> None:
        self.gpu_number, self.handle = number, handle
        self.log: list[Any] = []

    def wait_for(self, handle: int) -> None:
        self.log.append(("wait for", handle))

    def make_wait(self, handle: int) -> None:
        self.log.append(("make wait", handle))

    def exclude_from_pool(self, memory: Any) -> None:
        self.log.append(("exclude", type(memory).__name__))

    def borrow(self, owner: Any) -> None:
        self.log.append(("borrow", type(owner).__name__))


class Interface:
    """An array with nothing but ``__cuda_array_interface__``."""

    def __init__(self, array: Any, **entries: Any) -> None:
        self.array = array
        own = array.__array_interface__
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "strides": array.strides,
            "typestr": own["typestr"],
            "data": own["data"],
            "version": 3,
            **entries,
        }


class Tensor:
    """A tensor on a GPU, with DLPack."""

    def __init__(self, array: Any, number: int = 0, old: bool = False, broken: bool = False) -> None:
        self.array, self.device, self.old, self.broken = array, number, old, broken
        self.asked: list[dict[str, Any]] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CUDA, self.device

    def __dlpack__(self, **arguments: Any) -> Any:
        if self.broken:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        if self.old and "max_version" in arguments:
            raise TypeError("unexpected keyword argument")
        self.asked.append(arguments)
        return dlpack.write(described(self.array), (dlpack.CUDA, self.device), not self.old)


def described(array: Any) -> Description:
    return Description(array.ctypes.data, array.shape, array.strides, array.dtype, Owner(array))


def on_gpu(array: Any, of: Any = None) -> DeviceArray:
    return DeviceArray(of or FakeStream(), described(array))


def numbers(*shape: int) -> Any:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
