"""Arrays of other libraries, adopted in place on their GPU, ordered after the work that computes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from numba_lstm.backends.cuda import dlpack, interface, nvidia
from numba_lstm.backends.cuda.arrays import DeviceArray
from numba_lstm.backends.cuda.caller_stream import CallerStream
from numba_lstm.backends.cuda.dlpack import Description
from numba_lstm.errors import DeviceError, DTypeError, ShapeError
from numba_lstm.kernels.cuda_copies import AXES
from numba_lstm.kernels.cuda_target import SIMULATED

# The dtypes that the kernels cast from.
_NUMBERS = frozenset(
    ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64")
)


class ForeignArray(NamedTuple):
    """An array on a GPU and the facts that are known before it is adopted."""

    value: Any
    name: str  # in messages
    gpu_number: int
    stream: int | None  # on which its library computes it; None if unknown
    interface: Mapping[str, Any] | None  # None: to be read by DLPack, or a `DeviceArray`


def inspect(value: Any, name: str) -> ForeignArray:
    """The facts about an array on a GPU. Raises `DeviceError` and `DTypeError`.

    Version 3 of the interface names the stream. Without it DLPack is preferred where there is one, since the library
    then makes our stream wait. PyTorch is asked for its current stream, so that nothing has to wait.
    """
    if isinstance(value, DeviceArray):
        return ForeignArray(value, name, value.stream.gpu_number, value.stream.handle, None)
    found = interface.interface_of(value, name)
    stream = None if found is None else interface.declared_stream(found, name)
    gpu_number = interface.gpu_number_of(value)
    if stream is None and (gpu_number is not None or hasattr(value, "__dlpack__")):
        return ForeignArray(value, name, gpu_number or 0, interface.torch_stream(value), None)
    if found is None:
        raise interface.unreadable(value, name)
    address = interface.read(found, value, name).address
    if gpu_number is None:
        gpu_number = nvidia.gpu_number_of(address) if address and not SIMULATED else 0
    return ForeignArray(value, name, gpu_number, stream, found)


def adopt(array: ForeignArray, stream: CallerStream) -> DeviceArray:
    """The array in place on the GPU of `stream`, which waits for the work that computes it on another stream.

    Raises `DeviceError` for memory of another GPU and for unaligned memory; `DTypeError` and `ShapeError` for other
    things than an array of numbers with at most four axes.
    """
    value, name = array.value, array.name
    if array.gpu_number != stream.gpu_number:
        raise DeviceError(
            f"{name} is on GPU {array.gpu_number}; expected GPU {stream.gpu_number}, where the first of the call's "
            "arrays is; copy it there first"
        )
    if isinstance(value, DeviceArray):
        description = value.description
    elif array.interface is not None:
        description = interface.read(array.interface, value, name)
    else:
        consumer = interface.NO_ORDER if array.stream == stream.handle else stream.handle
        description = dlpack.read(_capsule(value, name, consumer), name)
    if isinstance(value, DeviceArray) or array.interface is not None:
        stream.wait_for(interface.LEGACY if array.stream is None else array.stream)
    if array.stream != stream.handle:
        stream.borrow(description.owner)
    return DeviceArray(stream, _checked(description, name))


def _capsule(value: Any, name: str, stream: int) -> Any:
    """The DLPack capsule of `value` for a consumer on `stream`, which its library makes wait."""
    try:
        try:
            return value.__dlpack__(stream=stream, max_version=dlpack.VERSION)
        except TypeError:
            return value.__dlpack__(stream=stream)  # before DLPack 1.0 there were no versions
    except (TypeError, RuntimeError, BufferError) as error:
        raise interface.unreadable(value, name) from error


def _checked(array: Description, name: str) -> Description:
    size = array.dtype.itemsize
    if not array.dtype.isnative:
        raise DTypeError(f"{name} has dtype {array.dtype.str} on a GPU; expected the GPU's order of bytes")
    if array.dtype.name not in _NUMBERS:
        raise DTypeError(
            f"{name} has dtype {array.dtype} on a GPU; expected floats of 16 to 64 bits, integers or booleans; convert "
            "it first, for example to float32"
        )
    if len(array.shape) > AXES:
        raise ShapeError(f"{name} has shape {array.shape}; expected at most {AXES} axes on a GPU")
    if array.address % size or any(stride % size for stride in array.strides):
        raise DeviceError(
            f"{name} lies across the GPU's words: address {array.address}, strides {array.strides}, dtype "
            f"{array.dtype}; expected multiples of {size}; copy it first"
        )
    return array
