"""`DeviceArray`, with NumPy's memory in place of a GPU's, and calls with arrays on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.device_fakes import FakeStream, Interface, numbers, on_gpu

import numba_lstm as nl
from numba_lstm.backends.cuda import selection
from numba_lstm.errors import ConfigError, DeviceError, NumbaLSTMError

OneLine = Callable[[pytest.ExceptionInfo[BaseException]], str]


def test_views_are_those_of_numpy() -> None:
    array = numbers(4, 5, 6)
    there = on_gpu(array)
    keys: list[Any] = [
        0,
        -1,
        slice(1, 3),
        (slice(None), 2),
        (slice(None, None, -1), slice(3, 0, -2)),
        (1, 2),
        slice(9, 9),
    ]
    for key in keys:
        view, found = array[key], there[key]
        assert (found.shape, found.strides) == (view.shape, view.strides)
        assert not view.size or found.address == view.__array_interface__["data"][0]
    with pytest.raises(BufferError, match="has a negative stride and cannot be handed on without a copy"):
        there[::-1].__dlpack__(copy=False)
    swapped = there.swapaxes(0, 2)
    assert np.array_equal(np.from_dlpack(swapped), array.swapaxes(0, 2)) and not swapped.is_contiguous
    assert (len(there), there.ndim, there.size, there.nbytes) == (4, 3, 120, 480)
    assert [each.shape for each in there] == [(5, 6)] * 4
    for key in ((0, 0, 0, 0), "name", (slice(None), [1])):
        with pytest.raises(IndexError, match="takes an integer or a slice for each"):
            there[key]


def test_the_interface_of_a_result() -> None:
    array = numbers(2, 3)
    there = on_gpu(array)
    expected = {"shape": (2, 3), "typestr": "<f4", "data": (array.ctypes.data, False), "version": 3, "stream": 7}
    assert there.__cuda_array_interface__ == {**expected, "strides": None}
    assert there[:, ::-1].__cuda_array_interface__["strides"] == (12, -4)
    assert there[:0].__cuda_array_interface__["data"] == (0, False)
    assert there.astype("float32", copy=False) is there


@pytest.mark.usefixtures("nothing_left")
def test_the_order_that_a_consumer_asks_for(one_line: OneLine) -> None:
    here = FakeStream()
    there = on_gpu(numbers(2), here)
    for stream, log in (
        (7, [("make wait", 7)]),
        (None, [("exclude", "Owner"), ("make wait", 1)]),
        (1, [("exclude", "Owner"), ("make wait", 1)]),
        (4711, [("exclude", "Owner"), ("make wait", 4711)]),
        (-1, [("exclude", "Owner")]),
    ):
        here.log.clear()
        there.__dlpack__(stream=stream)
        assert here.log == log
    for stream in (0, -2):
        with pytest.raises(ConfigError) as info:
            there.__dlpack__(stream=stream)
        assert one_line(info).startswith(f"stream is {stream}; expected None, -1, 1, 2 or the address")
    with pytest.raises(BufferError, match="cannot be handed to device"):
        there.__dlpack__(dl_device=(2, 3))
    with pytest.raises(ValueError, match="NumPy takes nothing without a copy"):
        np.asarray(there, copy=False)


def test_calls_that_compute_on_the_cpu(one_line: OneLine) -> None:
    there, x = Interface(np.zeros((1, 2, 3), np.float32)), np.zeros((1, 2, 3), np.float32)
    lstm = nl.LSTM(2)
    model = nl.Sequential([lstm])
    state = [there, np.zeros((1, 2), np.float32)]
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("lstm: inputs is on a GPU, and device is 'cpu'", lambda: lstm(there)),
        ("sequential: inputs is on a GPU, and device is 'cpu'", lambda: model(there)),
        ("sequential: inputs is on a GPU, and device is 'cpu'", lambda: model.predict(there, device="cpu")),
        ("dense: inputs is on a GPU, and device is 'cpu'", lambda: nl.Dense(2)(there)),
        ("lstm: mask is on a GPU, and device is 'auto'", lambda: lstm(x, mask=there, device="auto")),
        ("lstm: initial_state is on a GPU, and device is 'cpu'", lambda: lstm(x, initial_state=state)),
        ("inputs is on a GPU; expected an array in main memory", lambda: nl.LSTMCell(2)(there, [x[0], x[0]])),
        ("inputs is on a GPU; expected an array in main memory", lambda: nl.LSTMCell(2)(on_gpu(x[0]), [x[0], x[0]])),
        ("kernel is on a GPU; expected an array in main memory", lambda: nl.LSTMCell(2).set_weights([there, x, x])),
    ]
    for message, call in calls:
        with pytest.raises(DeviceError) as info:
            call()
        assert one_line(info).startswith(message)


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_without_the_package(device: str, monkeypatch: pytest.MonkeyPatch, one_line: OneLine) -> None:
    """A missing package raises the same one-line error as for device="cuda"."""
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    monkeypatch.setattr(selection, "_found_working", [])
    monkeypatch.setattr(selection, "find_spec", lambda name: None)
    there, model = Interface(np.zeros((1, 2, 3), np.float32)), nl.Sequential([nl.LSTM(2)])
    for call in (model.predict, model.layers[0], model):
        with pytest.raises(NumbaLSTMError) as info:
            call(there, device=device)
        assert one_line(info).startswith("device is 'cuda', which needs the package numba-cuda; install it with: pip")


@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("length", [1, 2, 4, 9])
def test_windows_of_a_record(length: int, stride: int) -> None:
    for array in (numbers(9, 3), numbers(18, 6)[::2, ::2], numbers(9, 2, 2)):
        found = on_gpu(array).windows(length, stride)
        expected = [array[start : start + length] for start in range(0, 9 - length + 1, stride)]
        np.testing.assert_array_equal(np.from_dlpack(found), np.stack(expected))


def test_contiguous_arrays() -> None:
    base = numbers(4, 1, 6)
    for view, whole in (
        (base, True),
        (base[:, :, :3], False),
        (base[1:3], True),
        (base[::2], False),
        (base[2:3, :, 1:4], True),  # an axis of length 1 has no next entry
        (numbers(1, 6)[:, ::2], False),
        (base[:0, :, ::2], True),
    ):
        array = on_gpu(view)
        assert array.is_contiguous == whole == view.flags.c_contiguous
        assert (array.__cuda_array_interface__["strides"] is None) == whole


def test_a_view_without_numbers_begins_in_its_array() -> None:
    array = on_gpu(numbers(4, 3))
    for key in (slice(9, None), slice(4, 4), slice(0, 0), slice(3, 1)):
        empty = array[key]
        assert empty.shape == (0, 3) and empty.address == array.address
