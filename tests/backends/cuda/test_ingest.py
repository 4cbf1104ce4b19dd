"""Arrays of other libraries on a GPU: adopted in place and in order, or refused in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.device_fakes import FakeStream, Interface, Tensor, numbers, on_gpu

from numba_lstm.backends.cuda import ingest, nvidia
from numba_lstm.backends.cuda.arrays import DeviceArray
from numba_lstm.errors import DeviceError, DTypeError, ShapeError

OneLine = Callable[[pytest.ExceptionInfo[BaseException]], str]


@pytest.fixture(autouse=True)
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver would know the GPU of an address."""
    monkeypatch.setattr(nvidia, "gpu_number_of", lambda address: 0)


@pytest.mark.parametrize(
    ("entries", "error", "message"),
    [
        ({"mask": Interface(numbers(2))}, DTypeError, "x is a masked array; expected a plain array; fill it, and give"),
        ({"typestr": None}, DeviceError, "x has a __cuda_array_interface__ that cannot be read: TypeError"),
        ({"typestr": "nonsense"}, DeviceError, "x has a __cuda_array_interface__ that cannot be read: TypeError"),
        ({"shape": 4}, DeviceError, "x has a __cuda_array_interface__ that cannot be read: TypeError"),
        ({"data": None}, DeviceError, "x has a __cuda_array_interface__ that cannot be read: TypeError"),
        ({"strides": (4,)}, DeviceError, "x has a __cuda_array_interface__ of shape (2, 3), strides (4,) and address"),
        (
            {"data": (0, True)},
            DeviceError,
            "x has a __cuda_array_interface__ of shape (2, 3), strides (12, 4) and addr",
        ),
        ({"stream": 0}, DeviceError, "x has stream 0 in its __cuda_array_interface__; expected None, 1, 2 or the addr"),
        ({"stream": "7"}, DeviceError, "x has stream '7' in its __cuda_array_interface__; expected None, 1, 2 or the"),
        ({"typestr": ">f4"}, DTypeError, "x has dtype >f4 on a GPU; expected the GPU's order of bytes"),
        ({"typestr": "<c8"}, DTypeError, "x has dtype complex64 on a GPU; expected floats of 16 to 64 bits, integers"),
        ({"typestr": "|V0"}, DTypeError, "x has dtype |V0 on a GPU; expected floats of 16 to 64 bits, integers"),
        ({"strides": (10, 4)}, DeviceError, "x lies across the GPU's words: address"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else None,  # the same in every process
)
def test_interfaces_that_are_refused(entries: Any, error: Any, message: str, one_line: OneLine) -> None:
    value = Interface(numbers(2, 3), **entries)
    with pytest.raises(error) as info:
        adopt(value, FakeStream(handle=1))
    assert one_line(info).startswith(message)


def adopt(value: Any, stream: Any) -> DeviceArray:
    return ingest.adopt(ingest.inspect(value, "x"), stream)


def test_interfaces_are_read_in_place_and_in_order() -> None:
    array = numbers(4, 6)[::2, ::2]
    for stream, log in (
        (7, [("wait for", 7)]),
        (9, [("wait for", 9), ("borrow", "Interface")]),
        (None, [("wait for", 1), ("borrow", "Interface")]),
    ):
        here = FakeStream(handle=7)
        there = adopt(Interface(array, stream=stream), here)
        assert here.log == log
        assert np.array_equal(np.from_dlpack(there), array) and there.address == array.ctypes.data
    assert adopt(Interface(numbers(2, 1, 3, 2)), FakeStream()).shape == (2, 1, 3, 2)
    plain = Interface(numbers(2, 3), strides=None, version=2)
    assert adopt(plain, FakeStream()).strides == (12, 4)
    assert adopt(Interface(np.zeros((0, 3)), data=(0, False)), FakeStream()).shape == (0, 3)


@pytest.mark.usefixtures("nothing_left")
def test_dlpack_is_asked_to_let_our_stream_wait() -> None:
    for old in (False, True):
        tensor, here = Tensor(numbers(2, 3), old=old), FakeStream()
        there = adopt(tensor, here)
        assert here.log == [("borrow", "_CapsuleOwner")] and [each["stream"] for each in tensor.asked] == [7]
        assert np.array_equal(np.from_dlpack(there), tensor.array)
        del there


@pytest.mark.usefixtures("nothing_left")
def test_pytorch_is_asked_for_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = {0: SimpleNamespace(cuda_stream=0), 1: SimpleNamespace(cuda_stream=4711)}
    fake = SimpleNamespace(Tensor=Tensor, cuda=SimpleNamespace(current_stream=streams.__getitem__))
    monkeypatch.setitem(sys.modules, "torch", fake)
    for number, stream in ((0, 1), (1, 4711)):
        tensor, here = Tensor(numbers(2, 3), number), FakeStream(number, stream)
        assert ingest.inspect(tensor, "x").stream == stream
        adopt(tensor, here)
        # It is the same stream: there is nothing to wait for.
        assert [each["stream"] for each in tensor.asked] == [-1] and here.log == []


def test_numbers_lie_on_words() -> None:
    """Addresses and strides have to be multiples of the size of a number."""
    memory = np.zeros(64, np.uint8)
    start = memory.ctypes.data
    for dtype, size in (("<f8", 8), ("<f4", 4), ("<f2", 2), ("|i1", 1)):
        for offset in range(9):
            for stride in range(1, 9):
                value = Interface(memory, typestr=dtype, shape=(2, 1), strides=(stride, size))
                value.__cuda_array_interface__["data"] = (start + offset, False)
                turned = Interface(memory, **{**value.__cuda_array_interface__, "strides": (size, stride)})
                for each in (value, turned):
                    if offset % size or stride % size:
                        with pytest.raises(DeviceError, match=f"lies across .* expected multiples of {size}; copy it"):
                            adopt(each, FakeStream())
                    else:
                        assert adopt(each, FakeStream()).address == start + offset


def test_arrays_that_are_refused(one_line: OneLine) -> None:
    cases: list[tuple[Any, type[Exception], str]] = [
        (
            Tensor(numbers(2), broken=True),
            DeviceError,
            "x is a Tensor on a GPU that cannot be read where it is; convert",
        ),
        (Tensor(numbers(2), 3), DeviceError, "x is on GPU 3; expected GPU 0, where the first of the call's arrays is;"),
        (
            Interface(numbers(1, 1, 1, 1, 1)),
            ShapeError,
            "x has shape (1, 1, 1, 1, 1); expected at most 4 axes on a GPU",
        ),
        (Interface(np.zeros(2, np.longdouble)), DTypeError, "x has dtype"),
        (on_gpu(numbers(2), FakeStream(1)), DeviceError, "x is on GPU 1; expected GPU 0"),
    ]
    for value, error, message in cases:
        with pytest.raises(error) as info:
            adopt(value, FakeStream())
        assert one_line(info).startswith(message)
