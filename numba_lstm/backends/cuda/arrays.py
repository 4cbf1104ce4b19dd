"""`DeviceArray`, an array on a GPU, as inputs and results. numba is imported when one is used."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from numba_lstm.backends.cuda import dlpack
from numba_lstm.backends.cuda.dlpack import Description, contiguous_strides
from numba_lstm.backends.cuda.interface import LEGACY, NO_ORDER, is_on_gpu
from numba_lstm.errors import ConfigError

if TYPE_CHECKING:
    from numba_lstm.backends.cuda.caller_stream import CallerStream


class DeviceArray:
    """An array on a GPU, which a model returns for inputs on one.

    Other libraries adopt it in place: ``torch.from_dlpack(y)``, ``cupy.from_dlpack(y)``, and by
    ``__cuda_array_interface__`` (version 3) ``numba.cuda.as_cuda_array(y)``. The kernels that compute it may still be
    running; an event makes work on another stream wait for them. Only copies to main memory wait in the calling
    thread: ``copy_to_host()`` and ``numpy.asarray(y)``.

    ``shape``, ``strides`` in bytes and ``dtype`` are NumPy's. ``y[2:5, ::-1]`` and ``swapaxes`` are views, ``copy`` and
    ``astype`` work on the GPU.
    """

    def __init__(self, stream: CallerStream, array: Description) -> None:
        self.stream = stream
        self.address, self.shape, self.strides, self.dtype, self.owner = array

    @property
    def description(self) -> Description:
        """Its memory and layout."""
        return Description(self.address, self.shape, self.strides, self.dtype, self.owner)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes of the elements."""
        return self.size * self.dtype.itemsize

    @property
    def is_contiguous(self) -> bool:
        """Whether the elements follow one another in C order, without gaps."""
        pairs = zip(self.shape, self.strides, contiguous_strides(self.shape, self.dtype.itemsize), strict=True)
        return not self.size or all(length == 1 or stride == expected for length, stride, expected in pairs)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without axes")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<DeviceArray of shape {self.shape} and dtype {self.dtype} on GPU {self.stream.gpu_number}>"

    def __getitem__(self, key: Any) -> DeviceArray:
        """A view; integers and slices only."""
        keys = key if isinstance(key, tuple) else (key,)
        if len(keys) > self.ndim or not all(isinstance(each, int | slice) for each in keys):
            raise IndexError(f"a DeviceArray of {self.ndim} axes takes an integer or a slice for each; came {key!r}")
        address = self.address
        shape: list[int] = []
        strides: list[int] = []
        for length, stride, each in zip(self.shape, self.strides, (*keys, *[slice(None)] * self.ndim), strict=False):
            chosen = range(length)[each]
            if isinstance(chosen, range):
                address += stride * chosen.start if len(chosen) else 0
                shape.append(len(chosen))
                strides.append(stride * chosen.step)
            else:
                address += stride * chosen
        return self.view(address, tuple(shape), tuple(strides))

    def swapaxes(self, first: int, second: int) -> DeviceArray:
        """A view with two axes exchanged."""
        axes = list(range(self.ndim))
        axes[first], axes[second] = axes[second], axes[first]
        return self.view(
            self.address, tuple(self.shape[axis] for axis in axes), tuple(self.strides[axis] for axis in axes)
        )

    def windows(self, length: int, stride: int) -> DeviceArray:
        """A view (windows, length, ...) of windows of `length` entries of the first axis, `stride` entries apart."""
        count = (self.shape[0] - length) // stride + 1
        step = self.strides[0]
        return self.view(self.address, (count, length, *self.shape[1:]), (stride * step, step, *self.strides[1:]))

    def view(self, address: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> DeviceArray:
        """A view of the same memory."""
        return DeviceArray(self.stream, Description(address, shape, strides, self.dtype, self.owner))

    def copy(self) -> DeviceArray:
        """A C-ordered copy on the GPU."""
        from numba_lstm.backends.cuda import copies

        return copies.copied(self, self.dtype)

    def astype(self, dtype: DTypeLike, copy: bool = True) -> DeviceArray:
        """A copy cast on the GPU; without `copy` the array itself, if it has that dtype."""
        from numba_lstm.backends.cuda import copies

        return self if not copy and self.dtype == dtype else copies.copied(self, np.dtype(dtype))

    def as_kernel_input(self, dtype: np.dtype[Any]) -> DeviceArray:
        """The array in that dtype with a contiguous last axis; a copy only where need be."""
        contiguous = not self.ndim or self.shape[-1] < 2 or self.strides[-1] == self.dtype.itemsize
        return self if contiguous and self.dtype == dtype else self.astype(dtype)

    def copy_to_host(self) -> NDArray[Any]:
        """A copy in main memory; waits until the array is computed."""
        from numba_lstm.backends.cuda import copies

        return copies.download(self)

    def any(self) -> bool:
        """Whether an element is not zero; waits until the array is computed."""
        return bool(self.copy_to_host().any())

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("a DeviceArray lies on a GPU, and NumPy takes nothing without a copy from there")
        host = self.copy_to_host()
        return host if dtype is None else host.astype(dtype, copy=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as a NumPy array."""
        return np.asarray, (self.copy_to_host(),)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        self.stream.exclude_from_pool(self.owner)
        return {
            "shape": self.shape,
            "strides": None if self.is_contiguous else self.strides,
            "typestr": self.dtype.str,
            "data": (self.address if self.size else 0, False),
            "version": 3,
            "stream": self.stream.handle,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.stream.dlpack_device

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule for a consumer on `stream`: None or 1, 2 or an address; -1 if no order is required.

        Source: the Python array API standard. Raises `ConfigError` for stream 0, which the standard forbids, and
        `BufferError` for a device other than this one and main memory. A view with a negative stride is copied.
        """
        if stream is not None and (stream == 0 or stream < NO_ORDER):
            raise ConfigError(f"stream is {stream}; expected None, -1, 1, 2 or the address of a stream of CUDA's")
        if dl_device is not None and tuple(dl_device) != self.__dlpack_device__():
            if dl_device[0] != dlpack.CPU or copy is False:
                raise BufferError(f"{self!r} cannot be handed to device {tuple(dl_device)} where it lies")
            return self.copy_to_host().__dlpack__(max_version=max_version)
        # PyTorch aborts the process at a negative stride.
        negative = min(self.strides, default=0) < 0
        if negative and copy is False:
            raise BufferError(f"{self!r} has a negative stride and cannot be handed on without a copy")
        array = self.copy() if copy or negative else self
        consumer = LEGACY if stream is None else stream
        if consumer != array.stream.handle:
            array.stream.exclude_from_pool(array.owner)
        if consumer != NO_ORDER:
            array.stream.make_wait(consumer)
        versioned = max_version is not None and max_version[0] >= dlpack.VERSION[0]
        return dlpack.write(array.description, self.__dlpack_device__(), versioned)


def lies_on_gpu(value: Any) -> bool:
    """Whether `value` is an array on a GPU, of this or another library."""
    return isinstance(value, DeviceArray) or is_on_gpu(value)


def in_main_memory(value: Any) -> Any:
    """A `DeviceArray` copied to a NumPy array; anything else unchanged."""
    return value.copy_to_host() if isinstance(value, DeviceArray) else value
