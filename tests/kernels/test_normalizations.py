"""Activations over a whole row of units."""

from __future__ import annotations

import naive
import numpy as np
import pytest
from support.plain_kernels import memory, plain

from numba_lstm.backends.cpu import stateless
from numba_lstm.kernels.codes import CODES


@pytest.mark.parametrize("units", [1, 7, 16, 33])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normalizations(units: int, dtype: type) -> None:
    x = np.random.default_rng(units).standard_normal((5, units)).astype(dtype) * 4
    wide = x.astype(np.float64)
    e = np.exp(wide - wide.max(-1, keepdims=True))
    tolerance = 4 * np.finfo(dtype).eps
    assert np.allclose(stateless.activate("softmax", "keras2", x), e / e.sum(-1, keepdims=True), rtol=0, atol=tolerance)
    truth = wide - wide.max(-1, keepdims=True) - np.log(e.sum(-1, keepdims=True))
    assert np.allclose(stateless.activate("log_softmax", "keras2", x), truth, rtol=tolerance, atol=tolerance)


def test_sparsemax_of_keras_3() -> None:
    # One number in the support: tau is the published one. Two: Keras 3 adds up their partial sums.
    assert np.array_equal(stateless.activate("sparsemax", "keras3", np.float32([[3.0, 1.0, 0.0]])), [[1, 0, 0]])
    z = np.float64([[1.0, 0.75, -2.0]])
    tau = ((1.0 + 1.75) - 1) / 2
    assert np.allclose(stateless.activate("sparsemax", "keras3", z), [[1 - tau, 0, 0]])


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "sparsemax"])
def test_units_in_vectors_that_are_apart(name: str) -> None:
    """As one gate of a cell lies: what is between its vectors is left alone."""
    rng = np.random.default_rng(1)
    z = rng.standard_normal((3, 4, 4))  # [block][gate][lane] of float64
    row, before = z[:, 1].ravel()[:10].copy(), z.copy()
    module = plain("normalizations")
    code = CODES[name]
    module.normalize(code, True, memory(z), 4, 16, 10)
    np.testing.assert_allclose(
        z[:, 1].ravel()[:10], naive.ACTIVATIONS[name](row[np.newaxis])[0], rtol=1e-13, atol=1e-15
    )
    np.testing.assert_array_equal(np.delete(z, 1, axis=1), np.delete(before, 1, axis=1))


def test_a_nan_is_the_largest_and_equal_numbers_follow_by_number() -> None:
    module, z = plain("normalizations"), np.array([1.0, 3.0, 3.0, -1.0])
    order, last = [], -1
    while (last := module.next_in_order(memory(z), 0, 4, 4, last)) >= 0:
        order.append(last)
    assert order == [1, 2, 0, 3] and module.largest(memory(z), 0, 4, 4) == 3
    for at in range(4):
        z = np.array([1.0, 3.0, 2.0, -1.0])
        z[at] = np.nan
        assert np.isnan(module.largest(memory(z), 0, 4, 4))
