"""``__cuda_array_interface__``: which arrays have one, and how it is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.device_fakes import Interface, Tensor, numbers

from numba_lstm.backends.cuda import dlpack, ingest, interface
from numba_lstm.errors import DeviceError

OneLine = Callable[[pytest.ExceptionInfo[BaseException]], str]


class Property:
    """A tensor like PyTorch's: its interface raises where it does not apply."""

    def __init__(self, kind: int, error: type[Exception]) -> None:
        self.kind, self.error = kind, error

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.kind, 0

    @property
    def __cuda_array_interface__(self) -> Any:
        raise self.error("Can't get __cuda_array_interface__ on Variable that requires grad.")


def test_which_arrays_are_on_a_gpu(one_line: OneLine) -> None:
    there = [Interface(numbers(2)), Tensor(numbers(2)), Property(dlpack.CUDA, RuntimeError)]
    here = [numbers(2), 1, [1], None, "x", Property(dlpack.CPU, AttributeError), np.float32(1), object(), Tensor]
    assert all(map(interface.is_on_gpu, there)) and not any(map(interface.is_on_gpu, here))
    with pytest.raises(DeviceError) as info:
        ingest.inspect(there[-1], "x")
    assert one_line(info).startswith("x is a Property on a GPU that cannot be read where it is; convert it first, for")


def test_the_description_of_an_array() -> None:
    array = numbers(4, 6)[::2, ::-3]
    value = Interface(array, stream=7)
    found = interface.interface_of(value, "x")
    assert found is not None and interface.declared_stream(found, "x") == 7
    assert interface.declared_stream({}, "x") is None
    description = interface.read(found, value, "x")
    assert description == (array.ctypes.data, (2, 2), array.strides, array.dtype, value)
    contiguous = interface.read({**found, "strides": None}, value, "x")
    assert contiguous.strides == (8, 4)


def test_the_gpu_of_an_array() -> None:
    assert interface.gpu_number_of(Tensor(numbers(2), 3)) == 3
    assert interface.gpu_number_of(numbers(2)) is None  # NumPy's arrays have DLPack too
    assert interface.gpu_number_of(object()) is None


def test_an_interface_is_a_dict(one_line: OneLine) -> None:
    class Wrong:
        __cuda_array_interface__ = 3

    with pytest.raises(DeviceError) as info:
        interface.interface_of(Wrong(), "x")
    assert one_line(info) == "x has a __cuda_array_interface__ that is a int; expected a dict"
