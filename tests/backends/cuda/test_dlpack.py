"""DLPack's capsules: arrays are read in place, and released once, by their last user."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.device_fakes import described, numbers, on_gpu

from numba_lstm.backends.cuda import dlpack
from numba_lstm.errors import DeviceError, DTypeError

OneLine = Callable[[pytest.ExceptionInfo[BaseException]], str]
VIEWS = numbers(2, 3, 4), numbers(4, 6, 4)[::2, ::2, 1:], numbers(2, 0, 3), np.array(5.0), numbers(3).astype("?")


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("view", VIEWS, ids=lambda view: f"{view.dtype}{view.shape}{view.strides}")
def test_a_consumer_reads_in_place_and_lets_go(view: Any) -> None:
    array = on_gpu(view)
    owner = weakref.ref(array.owner)
    adopted = np.from_dlpack(array)
    assert np.array_equal(adopted, view) and adopted.dtype == view.dtype
    assert not view.size or (adopted.ctypes.data == view.ctypes.data and adopted.strides == view.strides)
    del array
    assert owner() is not None
    del adopted
    assert owner() is None


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("version", [None, (0, 8), (1, 0), (1, 3)])
def test_a_consumer_gets_the_version_that_it_knows(version: Any) -> None:
    array = on_gpu(numbers(2, 3))
    capsule = array.__dlpack__(max_version=version)
    assert ("dltensor_versioned" in repr(capsule)) == (version is not None and version >= (1, 0))
    assert dlpack.read(capsule, "x")[:4] == array.description[:4]


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("versioned", [False, True])
def test_an_unread_capsule_releases_its_array(versioned: bool) -> None:
    array = numbers(3)
    capsule = dlpack.write(described(array), (dlpack.CPU, 0), versioned)
    assert len(dlpack._handed_out) == 1
    del capsule


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("versioned", [False, True])
def test_a_capsule_is_read_once(versioned: bool, one_line: OneLine) -> None:
    array = numbers(4, 3)[:, ::-1]
    description = described(array)
    owner = weakref.ref(description.owner)
    capsule = dlpack.write(description, (dlpack.CUDA, 0), versioned)
    found = dlpack.read(capsule, "x")
    assert found[:4] == description[:4]
    with pytest.raises(DeviceError) as info:
        dlpack.read(capsule, "x")
    assert one_line(info) == "x gave no new DLPack capsule; expected one; call its __dlpack__ once for each use"
    del capsule, description
    assert owner() is not None
    del found
    assert owner() is None


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("versioned", [False, True])
def test_arrays_that_begin_behind_their_memory(versioned: bool) -> None:
    array = numbers(2, 6)
    capsule = dlpack.write(described(array[:, :4]), (dlpack.CUDA, 0), versioned)
    tensor = next(reversed(dlpack._handed_out.values()))[0].tensor
    tensor.byte_offset = 8
    found = dlpack.read(capsule, "x")
    assert found[:4] == (array.ctypes.data + 8, (2, 4), (24, 4), np.dtype(np.float32))
    capsule = dlpack.write(described(array), (dlpack.CUDA, 0), versioned)
    tensor = next(reversed(dlpack._handed_out.values()))[0].tensor
    tensor.strides = None  # C order
    tensor.data = None
    assert dlpack.read(capsule, "x")[:4] == (0, (2, 6), (24, 4), np.dtype(np.float32))


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"code": 4, "bits": 16},
            DTypeError,
            "x has bfloat16; expected floats, integers or booleans; convert it first",
        ),
        ({"bits": 12}, DTypeError, "x has numbers of DLPack's kind 2; expected floats"),
        ({"lanes": 4}, DTypeError, "x has numbers of DLPack's kind 2; expected floats"),
        ({"major": 2}, DeviceError, "x came as DLPack 2.0; expected version 1; copy it"),
    ],
)
def test_capsules_that_are_refused(change: dict[str, int], error: Any, message: str, one_line: OneLine) -> None:
    capsule = dlpack.write(described(numbers(3)), (dlpack.CUDA, 0), True)
    managed = next(reversed(dlpack._handed_out.values()))[0]
    for name, value in change.items():
        setattr(managed if name == "major" else managed.tensor, name, value)
    with pytest.raises(error) as info:
        dlpack.read(capsule, "x")
    assert one_line(info).startswith(message)
