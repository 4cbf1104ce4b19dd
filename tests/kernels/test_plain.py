"""The operations in plain Python, beside exact arithmetic: every one is exact or rounded once."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from numba_lstm.kernels import plain

DTYPES = [np.float32, np.float64]


def rounded(exact: Fraction, dtype: Any) -> Any:
    """The number nearest to it, halves to even."""
    near = dtype(float(exact))
    some = [np.nextafter(near, dtype(-np.inf)), near, np.nextafter(near, dtype(np.inf))]
    bits = np.uint32 if dtype is np.float32 else np.uint64
    return min(some, key=lambda one: (abs(Fraction(float(one)) - exact), int(one.view(bits)) % 2))


@pytest.mark.parametrize("dtype", DTYPES)
def test_fma_is_rounded_once(dtype: Any) -> None:
    rng = np.random.default_rng(1)
    a, b, c = (rng.standard_normal((3, 300)) * 2.0 ** rng.integers(-12, 12, (3, 300))).astype(dtype)
    c[:100] = -(a * b)[:100]  # what is left is the error of the product
    eps = np.finfo(dtype).eps
    a[100], b[100], c[100] = 1 + eps, 1 - eps, -1  # and a half way between two numbers
    found = plain.fma(a, b, c)
    for i in range(300):
        exact = Fraction(float(a[i])) * Fraction(float(b[i])) + Fraction(float(c[i]))
        assert found[i] == rounded(exact, dtype), (a[i], b[i], c[i])
    assert np.isnan(plain.fma(dtype(np.inf), dtype(0), dtype(1))) and plain.fma(dtype(2), dtype(3), dtype(4)) == 10


@pytest.mark.parametrize("dtype", DTYPES)
def test_small_operations(dtype: Any) -> None:
    x = np.array([0.5, 1.5, 2.5, -2.5, -0.2, 3.0], dtype)
    np.testing.assert_array_equal(plain.nearest(x), [0, 2, 2, -2, 0, 3])
    np.testing.assert_array_equal(
        plain.scale(x, np.array([1, 2, 3, -1, 0, 100], dtype)), np.ldexp(x, [1, 2, 3, -1, 0, 100])
    )
    np.testing.assert_array_equal(plain.exponent(np.array([1, 1.99, 2, 0.5, 3e-5], dtype)), [0, 0, 1, -1, -16])
    np.testing.assert_array_equal(
        plain.select(x > 1, x, -x), [-0.5, 1.5, 2.5, 2.5, 0.2 if dtype is np.float64 else dtype(0.2), 3]
    )
    assert plain.constant(x, 0.1).dtype == dtype and (plain.constant(x, 0.1) == dtype(0.1)).all()
    assert plain.is_single(x) == (dtype is np.float32)
    at = dtype(0.75)
    assert plain.horner(at, (2.0, -3.0, 5.0)) == plain.fma(plain.fma(dtype(2), at, dtype(-3)), at, dtype(5))


def test_memory_around_an_address() -> None:
    numbers = np.arange(24, dtype=np.float32)
    memory = plain.memory_at(numbers[8:].ctypes.data, np.float32(0))
    assert memory[-3] == 5 and plain.after(memory, 4)[0] == 12 and plain.lanes(memory) == 8
    np.testing.assert_array_equal(plain.load(memory, 2), numbers[10:18])
    np.testing.assert_array_equal(plain.broadcast(memory, 1), [9] * 8)
    plain.store(memory, -8, np.full(8, -1, np.float32))
    assert (numbers[:8] == -1).all() and numbers[8] == 8
    words = plain.viewed(memory, np.uint32(0))
    assert words[0] == np.float32(8).view(np.uint32)
    assert (
        plain.lanes(plain.memory_at(0, np.float64(0))) == 4 and plain.lanes(plain.global_memory(0, np.float32(0))) == 1
    )


def test_numbers_that_threads_meet_at() -> None:
    numbers = np.zeros(2, np.int64)
    memory = plain.memory_at(numbers.ctypes.data, np.int64(0))
    plain.store_release(memory, 1, 7)
    assert plain.load_acquire(memory, 1) == 7
    assert not plain.replace(memory, 1, 6, 8) and numbers[1] == 7
    assert plain.replace(memory, 1, 7, 8) and numbers[1] == 8
