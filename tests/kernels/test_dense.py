"""The kernels of layers without a state: dense, activations and rows with mean and variance."""

from __future__ import annotations

from typing import Any

import naive
import numpy as np
from support.plain_kernels import memory, plain

from numba_lstm.kernels.codes import SOFTMAX

FLOATS = ("float32", "float64")


DTYPES = (np.float64(0),) * 3


def record(*numbers: int) -> tuple[Any, int]:
    made = np.array(numbers)
    return made, int(made.ctypes.data)


def test_rows_that_are_asked_for() -> None:
    """Rows 1 and 2 of five are standardized, or normalized, and no other."""
    rng = np.random.default_rng(1)
    x, gamma, beta, epsilon = (
        rng.standard_normal((5, 6)),
        rng.standard_normal(6),
        rng.standard_normal(6),
        np.array([0.5]),
    )
    outputs, z = np.full((5, 6), 9.0), np.zeros(8)
    at = [memory(array).address for array in (epsilon, gamma, beta, x, outputs)]
    kept, address = record(1, 3, 6, *at)
    plain("dense").standardize_rows(address, DTYPES)
    distance = x - x.mean(axis=1, keepdims=True)
    truth = distance / np.sqrt((distance**2).mean(axis=1, keepdims=True) + 0.5) * gamma + beta
    np.testing.assert_allclose(outputs[1:3], truth[1:3], rtol=1e-12)
    assert (outputs[[0, 3, 4]] == 9).all()
    kept, address = record(SOFTMAX, 1, 3, 6, memory(z).address, memory(x).address, memory(outputs).address)
    plain("dense").normalize_rows(address, DTYPES, None)
    np.testing.assert_allclose(outputs[1:3], naive.ACTIVATIONS["softmax"](x[1:3]), rtol=1e-12)
    assert (outputs[[0, 3, 4]] == 9).all() and kept is not None


def test_numbers_that_are_asked_for() -> None:
    """Whole vectors from a number on, and nothing around them."""
    x, outputs = np.linspace(-2, 2, 24), np.full(24, 9.0)
    kept, address = record(1, 8, 16, 0, 0, memory(x).address, memory(outputs).address)
    plain("dense").activate(address, DTYPES, True)
    np.testing.assert_allclose(outputs[8:16], np.tanh(x[8:16]), rtol=1e-14)
    assert (outputs[:8] == 9).all() and (outputs[16:] == 9).all() and kept is not None
