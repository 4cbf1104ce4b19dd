"""``__cuda_array_interface__``, read and checked, and the test whether an array lies on a GPU.

Source: numba's "CUDA Array Interface", version 3, and "Data interchange mechanisms" of the Python array API standard.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from numba_lstm.backends.cuda.dlpack import CPU, CUDA, Description, contiguous_strides
from numba_lstm.errors import DeviceError, DTypeError

# Streams by number, in both protocols: these two, and the addresses of others. In DLPack, -1 stands for "any order".
LEGACY, PER_THREAD, NO_ORDER = 1, 2, -1


def is_on_gpu(value: Any) -> bool:
    """Whether `value` is an array of another library on an NVIDIA GPU."""
    if isinstance(value, np.ndarray | np.generic | int | float | list | tuple | str | None):
        return False
    if hasattr(type(value), "__cuda_array_interface__"):
        # PyTorch's property raises for a tensor in main memory and for one that requires a gradient.
        return _device(value)[0] == CUDA if hasattr(value, "__dlpack_device__") else True
    return hasattr(value, "__cuda_array_interface__") or _device(value)[0] == CUDA


def gpu_number_of(value: Any) -> int | None:
    """The number of the GPU of `value` by DLPack; None if unknown."""
    kind, number = _device(value)
    return number if kind == CUDA else None


def _device(value: Any) -> tuple[int, int]:
    if not hasattr(value, "__dlpack_device__"):
        return CPU, 0
    try:
        kind, number = value.__dlpack_device__()
        return int(kind), int(number)
    except (TypeError, ValueError, RuntimeError, BufferError):
        return CPU, 0  # reading it raises the error


def interface_of(value: Any, name: str) -> Mapping[str, Any] | None:
    """The interface of `value`, None if it has none; raises `DeviceError` where its library refuses."""
    try:
        found = getattr(value, "__cuda_array_interface__", None)
    except (TypeError, RuntimeError, BufferError) as error:
        raise unreadable(value, name) from error
    if found is not None and not isinstance(found, Mapping):
        raise DeviceError(f"{name} has a __cuda_array_interface__ that is a {type(found).__name__}; expected a dict")
    return found


def declared_stream(interface: Mapping[str, Any], name: str) -> int | None:
    """The stream that the interface names; None if it names none, or does not require an order."""
    stream = interface.get("stream")
    if stream is None:
        return None
    if not isinstance(stream, int) or isinstance(stream, bool) or stream <= 0:
        raise DeviceError(
            f"{name} has stream {stream!r} in its __cuda_array_interface__; expected None, 1, 2 or the address of one"
        )
    return stream


def torch_stream(value: Any) -> int | None:
    """PyTorch's current stream for one of its tensors, which no protocol names; None for anything else."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.Tensor):
        return None
    return int(torch.cuda.current_stream(value.device).cuda_stream) or LEGACY


def read(interface: Mapping[str, Any], owner: Any, name: str) -> Description:
    """The array that an interface describes; raises `DTypeError` and `DeviceError`."""
    if interface.get("mask") is not None:
        raise DTypeError(f"{name} is a masked array; expected a plain array; fill it, and give the mask as mask=")
    try:
        shape = tuple(int(length) for length in interface["shape"])
        if not isinstance(kind := interface["typestr"], str):
            raise TypeError(f"typestr is {kind!r}")
        dtype = np.dtype(kind)
        address = int(interface["data"][0] or 0)
        declared = interface.get("strides")
        strides = contiguous_strides(shape, dtype.itemsize) if declared is None else tuple(int(n) for n in declared)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DeviceError(f"{name} has a __cuda_array_interface__ that cannot be read: {error!r}") from error
    if len(strides) != len(shape) or min(shape, default=0) < 0 or (address <= 0 and 0 not in shape):
        raise DeviceError(
            f"{name} has a __cuda_array_interface__ of shape {shape}, strides {strides} and address {address}; "
            "expected a stride for each axis and memory"
        )
    return Description(address, shape, strides, dtype, owner)


def unreadable(value: Any, name: str) -> DeviceError:
    """The error for an array that its library does not export."""
    remedy = "convert it first, for example with .detach(), or copy it to main memory with .detach().cpu()"
    return DeviceError(f"{name} is a {type(value).__name__} on a GPU that cannot be read where it is; {remedy}")
