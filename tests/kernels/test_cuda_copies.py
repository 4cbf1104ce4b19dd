"""The CUDA kernels that copy arrays, run as plain Python by one thread on NumPy's memory."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from numba_lstm.kernels import cuda_copies
from numba_lstm.kernels.cuda_copies import AXES, Lengths, Strided


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def memory(address: int, zero: Any) -> Any:
        return Pointer(address, np.dtype(type(zero)))

    monkeypatch.setattr(cuda_copies, "cuda", SimpleNamespace(grid=lambda axes: 0, gridsize=lambda axes: 1))
    monkeypatch.setattr(cuda_copies, "global_memory", memory)
    monkeypatch.setattr(cuda_copies, "offset_of", cuda_copies.offset_of.py_func)
    monkeypatch.setattr(cuda_copies, "constant", lambda like, number: type(like)(number))
    monkeypatch.setattr(cuda_copies, "uncontracted", lambda: None)


class Pointer:
    """Memory from an address on, also before it."""

    def __init__(self, address: int, dtype: Any) -> None:
        self.address, self.dtype = address, dtype

    def _at(self, index: int) -> Any:
        memory = (ctypes.c_uint8 * self.dtype.itemsize).from_address(self.address + index * self.dtype.itemsize)
        return np.frombuffer(memory, self.dtype)

    def __getitem__(self, index: int) -> Any:
        return self._at(index)[0]

    def __setitem__(self, index: int, number: Any) -> None:
        self._at(index)[0] = number


def strided(array: Any) -> Strided:
    strides = [stride // array.itemsize for stride in array.strides]
    return Strided(array.__array_interface__["data"][0], *[0] * (AXES - array.ndim), *strides)


def run(kernel: Any, target: Any, *sources: Any) -> None:
    lengths = Lengths(*[1] * (AXES - target.ndim), *target.shape)
    kernel.py_func(target.size, lengths, *map(strided, sources), strided(target))


def numbers(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_copies_of_any_strides() -> None:
    for source in (numbers(1, 3), numbers(2, 4, 6)[::2, ::-3], numbers(3, 2, 3, 4, 2).transpose(3, 0, 2, 1)):
        target = np.zeros(source.shape[::-1], np.float32).T
        run(cuda_copies.copy_kernel("float32", "float32"), target, source)
        np.testing.assert_array_equal(target, source)


@pytest.mark.parametrize("dtype", ["int32", "float64", "float16", "bool"])
def test_casts(dtype: str) -> None:
    source = np.array(
        [0.0, -0.0, 1.0, 2.5, -3.0, np.inf if dtype.startswith("f") or dtype == "bool" else 7.0], "float32"
    )
    target = np.zeros(source.shape, dtype)
    run(cuda_copies.copy_kernel("float32", dtype), target, source)
    np.testing.assert_array_equal(target, source.astype(dtype))


def test_zeros_where_the_mask_is_false() -> None:
    target, mask = numbers(1, 2, 3, 4), np.array([[1, 0, 1], [0, 0, 1]], bool)
    expected = np.where(mask[..., np.newaxis], target, 0)
    run(cuda_copies.fill_kernel("float32", True), target, np.broadcast_to(mask[..., np.newaxis], target.shape))
    np.testing.assert_array_equal(target, expected)
    run(cuda_copies.fill_kernel("float32", None), target[:, ::2], np.zeros(1, bool))
    assert not target[:, ::2].any() and target[:, 1].any() == expected[:, 1].any()


@pytest.mark.parametrize(("mode", "expected"), [("sum", [4, -1]), ("mul", [3, -6]), ("ave", [2, -0.5])])
def test_merges(mode: str, expected: list[float]) -> None:
    assert mode in cuda_copies.MERGES
    target = np.zeros(2, np.float32)
    run(cuda_copies.merge_kernel("float32", mode), target, *np.array([[1, 2], [3, -3]], np.float32))
    np.testing.assert_array_equal(target, expected)
