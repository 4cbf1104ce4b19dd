"""Users' arrays, checked and converted once for the kernels, then trusted."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from numba_lstm.backends.cuda.arrays import DeviceArray, lies_on_gpu
from numba_lstm.errors import DeviceError, DTypeError, ShapeError

_REMEDIES = {
    "c": "take .real or .imag, or stack both as features",
    "O": "convert it first, for example with numpy.asarray(rows, dtype=float)",
    "S": "convert it first, with .astype(float)",
    "U": "convert it first, with .astype(float)",
    "T": "convert it first, with .astype(float)",
    "V": "take one field of it, or convert it with numpy.lib.recfunctions.structured_to_unstructured",
    "M": "convert it to numbers first, for example to seconds",
    "m": "convert it to numbers first, for example to seconds",
}


def own_array(array: NDArray[Any], dtype: str, copy: bool = True) -> NDArray[Any]:
    """`array` C-ordered and as `dtype`, for the layer alone: a copy; without `copy` only where it has to be one."""
    return np.array(array, dtype=dtype, order="C", copy=True if copy else None)


def as_array(value: Any, name: str, on_gpu: bool = False) -> NDArray[Any]:
    """Anything with ``__array_interface__``, DLPack or ``__array__``, or nested lists, as a NumPy array.

    No copy is made where none is needed. Raises `DTypeError` for what is not an array of numbers, `ShapeError` for
    ragged lists, `DeviceError` for an array on a GPU; `on_gpu` leaves a `DeviceArray` where it is, for what takes one.
    """
    masked = sys.modules.get("numpy.ma")  # which takes a while to import
    if masked is not None and isinstance(value, masked.MaskedArray):
        raise DTypeError(f"{name} is a masked array; expected a plain array; fill it, and give the mask as mask=")
    if not isinstance(value, np.ndarray) and lies_on_gpu(value):
        if on_gpu and isinstance(value, DeviceArray):
            return cast("NDArray[Any]", value)
        raise DeviceError(
            f"{name} is on a GPU; expected an array in main memory; copy it first, for example with .get() or .cpu()"
        )
    if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
        return _from_dlpack(value, name)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ShapeError(
            f"{name} has rows of unequal length; expected one rectangular array; pad them and give a mask"
        ) from error
    except (TypeError, RuntimeError, BufferError) as error:
        # What PyTorch's tensors raise on a GPU, as part of a gradient, or in bfloat16.
        raise DeviceError(_unreadable(value, name)) from error
    if array.dtype.kind == "O" and array.ndim == 0:
        raise DTypeError(f"{name} is a {type(value).__name__}; expected an array of numbers")
    return array


def as_float_array(
    value: Any,
    name: str,
    dtype: str,
    ndim: int | Sequence[int] | None = None,
    shape: str | None = None,
    *,
    on_gpu: bool = False,
) -> NDArray[Any]:
    """An array of floats, integers or booleans, cast to `dtype` ("float32" or "float64") in native byte order.

    An array that fits already is not copied, even with unusual strides; it may be read-only. `ndim` is the expected
    rank, or several; `shape` describes it in words, such as "(batch, timesteps, input_dim)". Values beyond the range of
    float32 become infinite, as in Keras. Raises `DTypeError` for complex, text, object, structured and time arrays,
    `ShapeError` for another rank, and what `as_array` raises.
    """
    array = as_array(value, name, on_gpu)
    if not _is_real(array.dtype):
        remedy = _REMEDIES.get(array.dtype.kind, "convert it to floats first")
        raise DTypeError(
            f"{name} has dtype {_dtype_name(array.dtype)}; expected floats, integers or booleans; {remedy}"
        )
    if ndim is not None:
        check_ndim(array, name, ndim, shape)
    if isinstance(array, DeviceArray):
        return cast("NDArray[Any]", array.as_kernel_input(np.dtype(dtype)))
    if array.dtype != dtype:
        with np.errstate(over="ignore", invalid="ignore"):
            array = array.astype(dtype)
    return array if array.flags.aligned else array.copy()


def as_mask(value: Any, name: str, shape: tuple[int, ...], words: str | None = None) -> NDArray[np.bool_]:
    """A boolean mask of exactly `shape`; numbers that are not zero count as True, NaN too, as in Keras."""
    array = as_array(value, name, on_gpu=True)
    if not _is_real(array.dtype):
        raise DTypeError(f"{name} has dtype {_dtype_name(array.dtype)}; expected booleans")
    check_shape(array, name, shape, words)
    return array.astype(np.bool_, copy=False)


def check_ndim(array: NDArray[Any], name: str, ndim: int | Sequence[int], shape: str | None = None) -> None:
    """Raise `ShapeError` unless the rank of `array` is `ndim`, or one of them."""
    allowed = (ndim,) if isinstance(ndim, int) else tuple(ndim)
    if array.ndim in allowed:
        return
    expected = shape or " or ".join(f"{n} axes" for n in allowed)
    raise ShapeError(f"{name} has shape {array.shape}; expected {expected}")


def check_shape(array: NDArray[Any], name: str, shape: tuple[int, ...], words: str | None = None) -> None:
    """Raise `ShapeError` unless `array` has `shape`; `words` names the axes, as "(input_dim, 4 * units)"."""
    if array.shape != shape:
        raise ShapeError(f"{name} has shape {array.shape}; expected {shape}" + (f" = {words}" if words else ""))


def _is_real(dtype: np.dtype[Any]) -> bool:
    if dtype.kind == "V" and dtype.names is None and dtype.subdtype is None:
        return np.can_cast(dtype, np.float32)  # bfloat16 and the like, which other packages register
    return dtype.kind in "fiub"


def _dtype_name(dtype: np.dtype[Any]) -> str:
    return {"O": "object", "S": "bytes", "U": "str", "T": "str"}.get(
        dtype.kind, "structured" if dtype.names else str(dtype)
    )


def _from_dlpack(value: Any, name: str) -> NDArray[Any]:
    try:
        return np.from_dlpack(value)
    except (TypeError, RuntimeError, BufferError) as error:
        raise DeviceError(_unreadable(value, name)) from error


def _unreadable(value: Any, name: str) -> str:
    remedy = "convert it first, for example with .detach().cpu().float()"
    return f"{name} is a {type(value).__name__} that NumPy cannot read where it is; {remedy}"
