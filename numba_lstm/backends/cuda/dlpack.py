"""DLPack's capsules, read and made with ctypes, by which libraries exchange arrays without a copy.

Source: DLPack 1.1, ``dlpack.h``, and "Data interchange mechanisms" of the Python array API standard.
"""

from __future__ import annotations

import ctypes
import weakref
from typing import Any, NamedTuple

import numpy as np

from numba_lstm.errors import DeviceError, DTypeError

# Types of devices: main memory and CUDA.
CPU, CUDA = 1, 2
VERSION = (1, 0)

# Type codes of numbers, and NumPy's letters for them.
_KINDS = {0: "i", 1: "u", 2: "f", 5: "c", 6: "b"}
_CODES = {kind: code for code, kind in _KINDS.items()}
_BFLOAT = 4

# A capsule stores the address of its name, so these must live as long as the process.
_NEW, _OLD = b"dltensor_versioned", b"dltensor"
_USED = {_NEW: b"used_dltensor_versioned", _OLD: b"used_dltensor"}


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))


class _ManagedVersioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", _Deleter),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


# Capsules by address: the destructor must not create references to one.
_new_capsule = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", ctypes.pythonapi))
_pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_set_name = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_SetName", ctypes.pythonapi))


class Description(NamedTuple):
    """The memory and the layout of an array."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in bytes
    dtype: np.dtype[Any]
    owner: Any  # keeps the memory alive


def contiguous_strides(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    """The strides in bytes of a C-ordered array of numbers of `size` bytes."""
    strides = []
    for length in reversed(shape):
        strides.append(size)
        size *= max(length, 1)
    return tuple(reversed(strides))


class _CapsuleOwner:
    """The owner of a capsule's memory: calls its deleter when no array refers to it any more."""

    def __init__(self, managed: _Managed | _ManagedVersioned, address: int) -> None:
        if managed.deleter:
            weakref.finalize(self, managed.deleter, address).atexit = False


def read(capsule: Any, name: str) -> Description:
    """The array in a capsule, which can be read once. name: of the array, in messages.

    Raises `DTypeError` for numbers that NumPy has no dtype for, `DeviceError` for another object or a used capsule.
    """
    kind = next((kind for kind in (_NEW, _OLD) if _is_valid(id(capsule), kind)), None)
    if kind is None:
        raise DeviceError(f"{name} gave no new DLPack capsule; expected one; call its __dlpack__ once for each use")
    address = _pointer_of(id(capsule), kind)
    managed = (_ManagedVersioned if kind == _NEW else _Managed).from_address(address)
    _set_name(capsule, _USED[kind])
    owner = _CapsuleOwner(managed, address)
    if isinstance(managed, _ManagedVersioned) and managed.major > VERSION[0]:
        raise DeviceError(
            f"{name} came as DLPack {managed.major}.{managed.minor}; expected version 1; copy it, "
            "for example to main memory"
        )
    tensor = managed.tensor
    if tensor.lanes != 1 or tensor.code not in _KINDS or tensor.bits % 8:
        numbers = f"bfloat{tensor.bits}" if tensor.code == _BFLOAT else f"numbers of DLPack's kind {tensor.code}"
        raise DTypeError(f"{name} has {numbers}; expected floats, integers or booleans; convert it first to float32")
    dtype = np.dtype(f"{_KINDS[tensor.code]}{tensor.bits // 8}")
    shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
    strides = contiguous_strides(shape, dtype.itemsize)
    if tensor.strides:
        strides = tuple(tensor.strides[axis] * dtype.itemsize for axis in range(tensor.ndim))
    return Description((tensor.data or 0) + tensor.byte_offset, shape, strides, dtype, owner)


# Exported arrays that are still in use, by the address that their deleter is called with.
_handed_out: dict[int, Any] = {}


def write(array: Description, device: tuple[int, int], versioned: bool) -> Any:
    """A capsule with an array on ``device``, a type and a number; it keeps the array's owner alive while it is used."""
    ndim, size = len(array.shape), array.dtype.itemsize
    numbers = (ctypes.c_int64 * (2 * ndim))(*array.shape, *(stride // size for stride in array.strides))
    start = ctypes.addressof(numbers)
    managed = (_ManagedVersioned if versioned else _Managed)()
    managed.tensor = _Tensor(
        data=array.address,
        device_type=device[0],
        device_id=device[1],
        ndim=ndim,
        code=_CODES[array.dtype.kind],
        bits=8 * size,
        lanes=1,
        shape=ctypes.cast(start, ctypes.POINTER(ctypes.c_int64)),
        strides=ctypes.cast(start + 8 * ndim, ctypes.POINTER(ctypes.c_int64)),
    )
    if isinstance(managed, _ManagedVersioned):
        managed.major, managed.minor = VERSION
    managed.deleter = _deleter
    address = ctypes.addressof(managed)
    _handed_out[address] = managed, numbers, array.owner
    return _new_capsule(address, _NEW if versioned else _OLD, ctypes.cast(_destructor, ctypes.c_void_p))


def _delete(address: int, handed_out: dict[int, Any] = _handed_out) -> None:
    """The deleter, which the last user calls."""
    handed_out.pop(address, None)


def _destruct(capsule: int, handed_out: dict[int, Any] = _handed_out) -> None:
    """The destructor of a capsule, which releases its array if the capsule was not read."""
    for kind in (_NEW, _OLD):
        if _is_valid(capsule, kind):
            handed_out.pop(_pointer_of(capsule, kind), None)


_deleter, _destructor = _Deleter(_delete), _Deleter(_destruct)
# Other libraries call these by address at the end of the interpreter, after this module is gone.
for _function in (_deleter, _destructor):
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_function))
