"""Arrays of other libraries, taken over where they lie on a GPU, behind the work that makes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from numba_lstm.backends.cuda import dlpack, interface, nvidia
from numba_lstm.backends.cuda.arrays import DeviceArray
from numba_lstm.backends.cuda.caller import Caller
from numba_lstm.backends.cuda.dlpack import Description
from numba_lstm.errors import DeviceError, DTypeError, ShapeError
from numba_lstm.kernels.cuda_copies import AXES
from numba_lstm.kernels.cuda_target import SIMULATED

# What the kernels cast from.
_NUMBERS = frozenset(
    ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64")
)


class Offer(NamedTuple):
    """An array on a GPU, as it was given, and what is known before it is taken over."""

    value: Any
    name: str  # what messages call it
    number: int  # of its GPU
    stream: int | None  # on which its library works with it; None if nothing tells
    interface: Mapping[str, Any] | None  # None: it is to be taken by DLPack, or is ours


def offered(value: Any, name: str) -> Offer:
    """The description of an array. Raises `DeviceError` and `DTypeError`.

    The stream is told by the third version of the interface. Without, DLPack is better where there is one: the library
    then lets our stream wait. PyTorch's own stream is asked for, so that there is nothing to wait for.
    """
    if isinstance(value, DeviceArray):
        return Offer(value, name, value.card.number, value.card.handle, None)
    found = interface.interface_of(value, name)
    stream = None if found is None else interface.stream_of(found, name)
    number = interface.number_of_device(value)
    if stream is None and (number is not None or hasattr(value, "__dlpack__")):
        return Offer(value, name, number or 0, interface.stream_of_tensor(value), None)
    if found is None:
        raise interface.unreadable(value, name)
    address = interface.read(found, value, name).address
    if number is None:
        number = nvidia.device_of(address) if address and not SIMULATED else 0
    return Offer(value, name, number, stream, found)


def taken(offer: Offer, card: Caller) -> DeviceArray:
    """The array as it lies on the GPU of `card`, whose stream waits for whoever makes it, if that is on another one.

    Raises `DeviceError` for memory of another GPU, or that no kernel can read; `DTypeError` and `ShapeError` for what
    is no array of numbers of at most four axes.
    """
    value, name = offer.value, offer.name
    if offer.number != card.number:
        raise DeviceError(
            f"{name} is on GPU {offer.number}; expected GPU {card.number}, where the first of the call's arrays is; "
            "copy it there first"
        )
    if isinstance(value, DeviceArray):
        described = value.described
    elif offer.interface is not None:
        described = interface.read(offer.interface, value, name)
    else:
        stream = interface.NO_ORDER if offer.stream == card.handle else card.handle
        described = dlpack.read(_capsule(value, name, stream), name)
    if isinstance(value, DeviceArray) or offer.interface is not None:
        card.follow(interface.LEGACY if offer.stream is None else offer.stream)
    if offer.stream != card.handle:
        card.borrow(described.owner)
    return DeviceArray(card, _checked(described, name))


def _capsule(value: Any, name: str, stream: int) -> Any:
    """The array that `value` hands out to a user of a stream, which it makes wait."""
    try:
        try:
            return value.__dlpack__(stream=stream, max_version=dlpack.VERSION)
        except TypeError:
            return value.__dlpack__(stream=stream)  # as libraries did before DLPack had versions
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
