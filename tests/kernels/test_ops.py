"""The operations as they are compiled, beside plain Python's and NumPy's, which are exact.

Numbers by themselves are compared with vectors in test_activations.py, in functions that use all operations.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from numba_lstm.kernels import ops, pack, plain, simd


@numba.njit
def results(x: int, y: int, z: int, to: int, size: int, like: Any) -> None:
    """Every operation, of vectors, [operation][number]."""
    xs, ys, zs, found = (
        simd.memory_at(x, like),
        simd.memory_at(y, like),
        simd.memory_at(z, like),
        simd.memory_at(to, like),
    )
    for i in range(0, size, simd.lanes(xs)):
        a, b, c = simd.load(xs, i), simd.load(ys, i), simd.load(zs, i)
        simd.store(found, i, ops.fma(a, b, c))
        simd.store(found, i + size, ops.horner(a, (2.0, -3.0, 0.1)))
        simd.store(found, i + 2 * size, ops.select(a < b, a, c))
        simd.store(found, i + 3 * size, ops.absolute(a))
        simd.store(found, i + 4 * size, ops.copysign(a, b))
        simd.store(found, i + 5 * size, ops.sqrt(ops.absolute(a)))
        simd.store(found, i + 6 * size, ops.nearest(a))
        simd.store(found, i + 7 * size, ops.scale(a, ops.nearest(b)))
        simd.store(found, i + 8 * size, ops.exponent(ops.absolute(a)))
        simd.store(found, i + 9 * size, ops.constant(a, 0.1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_vectors(dtype: Any) -> None:
    rng = np.random.default_rng(1)
    x, y, z = (pack.aligned_zeros(64, np.dtype(dtype)) for _ in range(3))
    for array in (x, y, z):
        array[:] = rng.uniform(-9, 9, 64)
    y[:4] = [-0.0, 0.5, 1.5, 2.5]
    x[:4] = [2.5, -0.5, 3.5, 1.0]
    z[4:20] = -(x * y)[4:20]
    expected = [
        plain.fma(x, y, z),
        plain.horner(x, (2.0, -3.0, 0.1)),
        np.where(x < y, x, z),
        np.abs(x),
        np.copysign(x, y),
        np.sqrt(np.abs(x)),
        np.rint(x),
        np.ldexp(x, np.rint(y).astype(int)),
        np.floor(np.log2(np.abs(x.astype(np.longdouble)))),
        np.full(64, 0.1, dtype),
    ]
    found = np.zeros((len(expected), 64), dtype)
    results(*map(pack.address, (x, y, z, found)), 64, dtype(0))
    for number, (one, truth) in enumerate(zip(found, expected, strict=True)):
        np.testing.assert_array_equal(one, np.asarray(truth, dtype), err_msg=str(number))
