"""Layers without a state: beside the oracle, and the same bits for a row alone."""

from __future__ import annotations

import naive
import numpy as np
import pytest

from numba_lstm.backends.cpu import packing, stateless

FLOATS = ("float32", "float64")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("rows", "input_dim", "units"), [(1, 1, 1), (50, 300, 70), (7, 16, 64)])
def test_dense(dtype: str, rows: int, input_dim: int, units: int) -> None:
    rng = np.random.default_rng(units)
    kernel = (rng.standard_normal((input_dim, units)) / np.sqrt(input_dim)).astype(dtype)
    bias = rng.standard_normal(units).astype(dtype)
    x = rng.standard_normal((rows, input_dim)).astype(dtype)
    layer = packing.pack_dense(kernel, bias, activation="tanh", dialect="tf1", dtype=dtype)
    outputs = stateless.dense(layer, x)
    assert np.max(np.abs(outputs - naive.dense(x, kernel, bias, "tanh"))) < (2e-6 if dtype == "float32" else 1e-14)
    assert np.array_equal(stateless.dense(layer, x[rows // 2 : rows // 2 + 1]), outputs[rows // 2 : rows // 2 + 1])


@pytest.mark.parametrize("dtype", FLOATS)
def test_normalized_rows(dtype: str) -> None:
    rng = np.random.default_rng(3)
    x, gamma, beta = rng.standard_normal((5, 9)).astype(dtype), rng.standard_normal(9), rng.standard_normal(9)
    wide = x.astype(np.float64)
    centred = wide - wide.mean(-1, keepdims=True)
    truth = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-3)
    tolerance = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(stateless.normalize_rows(x, None, None, 1e-3), truth, rtol=tolerance, atol=tolerance)
    scaled = stateless.normalize_rows(x, gamma, beta, 1e-3)
    np.testing.assert_allclose(scaled, truth * gamma + beta, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(stateless.normalize_rows(x[2:3], gamma, beta, 1e-3), scaled[2:3])
