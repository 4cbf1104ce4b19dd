"""Copies on a GPU: the arguments of their kernels, with a stream that only logs launches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.device_fakes import FakeStream, numbers, on_gpu

from numba_lstm.backends.cuda import copies, policy
from numba_lstm.kernels.cuda_copies import Lengths


class LaunchLog(FakeStream):
    """A stream whose memory is NumPy's, and whose launches are logged by the kernel's name."""

    warp_size = 32

    def empty(self, size: int, dtype: Any) -> Any:
        return Memory(np.zeros(size, dtype))

    def launch(self, kernel: Any, blocks: int, threads: int, *arguments: Any) -> None:
        assert (blocks, threads) == policy.copy_grid(arguments[0], 32)
        self.log.append((kernel.py_func.__name__, *arguments))


class Memory:
    def __init__(self, array: Any) -> None:
        self.array = array
        self.__cuda_array_interface__ = array.__array_interface__


@pytest.fixture
def stream() -> LaunchLog:
    return LaunchLog()


def test_a_copy_of_strides(stream: LaunchLog) -> None:
    array = numbers(4, 6)[::2, ::-3]
    source, target = on_gpu(array, stream), on_gpu(numbers(2, 2), stream)
    copies.copy(source, target)
    expected = ("copy", 4, Lengths(1, 1, 2, 2), (source.address, 0, 0, 12, -3), (target.address, 0, 0, 2, 1))
    assert stream.log == [expected]


def test_a_mask_is_repeated_along_the_last_axes(stream: LaunchLog) -> None:
    target, mask = on_gpu(numbers(2, 3, 4), stream), on_gpu(np.ones((2, 3), bool), stream)
    copies.fill_with_zeros(target, mask)
    copies.fill_with_zeros(target)
    to = (target.address, 0, 12, 4, 1)
    lengths = Lengths(1, 2, 3, 4)
    assert stream.log == [
        ("fill", 24, lengths, (mask.address, 0, 3, 1, 0), to),
        ("fill", 24, lengths, copies.NO_MASK, to),
    ]


def test_arrays_one_after_the_other(stream: LaunchLog) -> None:
    arrays = [on_gpu(numbers(2, 3), stream), on_gpu(numbers(2, 1), stream)]
    found = copies.concatenate(arrays, 1)
    assert found.shape == (2, 4) and found.is_contiguous and found.stream is stream
    targets = [entry[-1] for entry in stream.log]
    assert targets == [(found.address, 0, 0, 4, 1), (found.address + 12, 0, 0, 4, 1)]
    stream.log.clear()
    assert copies.merge(arrays[0], arrays[0], "concat").shape == (2, 6) and len(stream.log) == 2


@pytest.mark.parametrize("mode", ["sum", "mul", "ave"])
def test_merges_have_the_shape_of_their_parts(mode: str, stream: LaunchLog) -> None:
    first, second = on_gpu(numbers(2, 3), stream), on_gpu(numbers(4, 3)[::2], stream)
    found = copies.merge(first, second, mode)
    assert found.shape == (2, 3)
    arguments = (first.address, 0, 0, 3, 1), (second.address, 0, 0, 6, 1), (found.address, 0, 0, 3, 1)
    assert stream.log == [("merge", 6, Lengths(1, 1, 2, 3), *arguments)]
