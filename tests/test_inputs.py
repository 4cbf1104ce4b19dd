"""inputs.py: what comes from outside, taken or refused with the remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from numba_lstm.errors import DeviceError, DTypeError, NumbaLSTMError, ShapeError
from numba_lstm.inputs import as_array, as_float_array, as_mask, check_shape


class Interface:
    """Has nothing but ``__array_interface__``."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self.__array_interface__ = array.__array_interface__


class Capsule:
    """Has nothing but DLPack."""

    def __init__(self, array: Any, broken: bool = False) -> None:
        self.array, self.broken = array, broken

    def __dlpack__(self, **arguments: Any) -> Any:
        if self.broken:
            raise BufferError("on another device")
        return self.array.__dlpack__(**arguments)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()


class OnGpu:
    """Pretends to lie on a GPU."""

    __cuda_array_interface__ = {"shape": (1,)}  # noqa: RUF012


class Tensor:
    """Refuses NumPy, as a tensor that takes part in a gradient does."""

    def __array__(self, *arguments: Any, **more: Any) -> Any:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("source", ["?", "i1", "u1", "<i8", ">i4", "u8", "e", "<f4", ">f4", ">f8", "g"])
def test_numbers_are_cast(source: str, dtype: str) -> None:
    array = np.array([[0, 1], [1, 1]], source)
    result = as_float_array(array, "x", dtype, 2)
    assert result.dtype == np.dtype(dtype) and result.dtype.isnative
    assert np.array_equal(result, [[0, 1], [1, 1]])


def test_what_fits_is_not_copied() -> None:
    array = np.zeros((4, 3, 2), np.float32)
    for view in (array, array[::2], array.transpose(1, 0, 2), array[:, ::-1], np.asfortranarray(array)):
        assert np.shares_memory(as_float_array(view, "x", "float32"), view)
    read_only = array.copy()
    read_only.flags.writeable = False
    assert np.shares_memory(as_float_array(read_only, "x", "float32"), read_only)


def test_unaligned_arrays_are_copied() -> None:
    array = np.zeros(17, np.uint8)[1:].view("f4")
    assert not array.flags.aligned
    assert as_float_array(array, "x", "float32").flags.aligned


def test_protocols() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    for value in (Interface(array), Capsule(array), memoryview(array)):
        result = as_float_array(value, "x", "float32", 2)
        assert np.array_equal(result, array) and np.shares_memory(result, array)
    assert np.array_equal(as_float_array([[0, 1, 2], (3, 4.0, True)], "x", "float32"), [[0, 1, 2], [3, 4, 1]])


def test_overflow_becomes_infinite_as_in_keras() -> None:
    assert np.array_equal(as_float_array([1e300, -1e300], "x", "float32"), [np.inf, -np.inf])


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (
            np.zeros(2, complex),
            DTypeError,
            "x has dtype complex128; expected floats, integers or booleans; take .real or .imag, or stack both",
        ),
        (
            np.array(["a"]),
            DTypeError,
            "x has dtype str; expected floats, integers or booleans; convert it first, with .astype",
        ),
        (
            np.array([b"a"]),
            DTypeError,
            "x has dtype bytes; expected floats, integers or booleans; convert it first, with",
        ),
        (
            np.array([None, 1]),
            DTypeError,
            "x has dtype object; expected floats, integers or booleans; convert it first, for",
        ),
        (
            np.zeros(2, "f4,f4"),
            DTypeError,
            "x has dtype structured; expected floats, integers or booleans; take one field",
        ),
        (np.zeros(2, "V8"), DTypeError, "x has dtype |V8; expected floats, integers or booleans"),
        (
            np.zeros(2, "M8[s]"),
            DTypeError,
            "x has dtype datetime64[s]; expected floats, integers or booleans; convert it to",
        ),
        (None, DTypeError, "x is a NoneType; expected an array of numbers"),
        (object(), DTypeError, "x is a object; expected an array of numbers"),
        (
            [[1, 2], [3]],
            ShapeError,
            "x has rows of unequal length; expected one rectangular array; pad them and give a mask",
        ),
        (
            np.ma.masked_array([1.0, 2.0], [True, False]),
            DTypeError,
            "x is a masked array; expected a plain array; fill it, and give the mask as mask=",
        ),
        (
            OnGpu(),
            DeviceError,
            "x is on a GPU; expected an array in main memory; copy it first, for example with .get() or .cpu()",
        ),
        (
            Tensor(),
            DeviceError,
            "x is a Tensor that NumPy cannot read where it is; convert it first, for example with .detach()",
        ),
        (
            Capsule(np.zeros(2), broken=True),
            DeviceError,
            "x is a Capsule that NumPy cannot read where it is; convert it first, for example with .detach()",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_refused(value: Any, error: type[Exception], message: str, one_line: Callable[[Any], str]) -> None:
    with pytest.raises(error) as info:
        as_float_array(value, "x", "float32")
    assert one_line(info).startswith(message)


def test_ranks_and_shapes(one_line: Callable[[Any], str]) -> None:
    with pytest.raises(ShapeError) as info:
        as_float_array(np.zeros((2, 3)), "inputs", "float32", 3, "(batch, timesteps, input_dim)")
    assert one_line(info) == "inputs has shape (2, 3); expected (batch, timesteps, input_dim)"
    with pytest.raises(ShapeError, match=r"^inputs has shape \(3,\); expected 2 axes or 3 axes$"):
        as_float_array(np.zeros(3), "inputs", "float32", (2, 3))
    with pytest.raises(
        ShapeError, match=r"^kernel has shape \(64, 500\); expected \(64, 512\) = \(input_dim, 4 \* units\)$"
    ):
        check_shape(np.zeros((64, 500)), "kernel", (64, 512), "(input_dim, 4 * units)")


def test_masks() -> None:
    assert np.array_equal(as_mask([[0.0, 0.5], [np.nan, -1]], "mask", (2, 2)), [[False, True], [True, True]])
    already = np.array([True, False])
    assert np.shares_memory(as_mask(already, "mask", (2,)), already)
    with pytest.raises(ShapeError, match=r"^mask has shape \(2,\); expected \(2, 3\) = \(batch, timesteps\)$"):
        as_mask(already, "mask", (2, 3), "(batch, timesteps)")
    with pytest.raises(DTypeError, match=r"^mask has dtype complex128; expected booleans$"):
        as_mask(np.zeros(2, complex), "mask", (2,))


@given(hnp.arrays(hnp.scalar_dtypes() | hnp.nested_dtypes(), hnp.array_shapes(min_side=0, max_side=3)), st.data())
def test_any_array_is_taken_or_refused(array: Any, data: Any) -> None:
    try:
        result = as_float_array(array, "x", data.draw(st.sampled_from(["float32", "float64"])))
    except NumbaLSTMError as error:
        assert "\n" not in str(error)
    else:
        assert result.shape == array.shape and as_array(array, "x") is array
