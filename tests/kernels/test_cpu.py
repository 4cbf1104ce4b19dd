"""The order of operations of the kernels, emulated, and what does not change a bit."""

from __future__ import annotations

from typing import Any

import naive
import numba
import numpy as np
import pytest
from support.random_cells import FLOATS, random_cell, random_states

from numba_lstm.backends.cpu import packing
from numba_lstm.backends.cpu import run as cpu


def fma(a: Any, b: Any, c: Any) -> Any:
    """a * b + c of float32 rounded once: the product is exact in the wider type, and so nearly is the sum."""
    return (np.longdouble(a) * np.longdouble(b) + np.longdouble(c)).astype(np.float32)


def chain(x: Any, kernel: Any, block_length: int) -> Any:
    """sum of x[k] * kernel[k]: ascending within blocks, from zero; the blocks added in order."""
    total = None
    for first in range(0, len(x), block_length):
        block = np.zeros(kernel.shape[1], np.float32)
        for k in range(first, min(first + block_length, len(x))):
            block = fma(x[k], kernel[k], block)
        total = block if total is None else total + block
    return total


@pytest.mark.parametrize(
    ("input_dim", "units", "block_length"),
    [(3, 4, 8), (19, 16, 8), (5, 17, 128), (300, 20, 128), (128, 130, 128)],
)
def test_the_order_of_operations(input_dim: int, units: int, block_length: int) -> None:
    """docs/reliability.md, step by step. With linear activations nothing but sums and products is left."""
    if np.finfo(np.longdouble).nmant < 63:
        pytest.skip("this platform's long double cannot emulate an fma of float32 closely enough")
    rng = np.random.default_rng(units)
    cell, (kernel, recurrent_kernel, bias) = random_cell(
        rng, input_dim, units, "float32", activation=None, recurrent_activation=None
    )
    h, c = random_states(rng, 1, units, "float32")
    x = rng.standard_normal((1, 1, input_dim)).astype(np.float32)
    _, new_h, new_c = cpu.sequence(cell, x, h, c)
    z = (chain(x[0, 0], kernel, block_length) + bias) + chain(h[0], recurrent_kernel, block_length)
    i, f, candidate, o = np.split(z, 4)
    expected_c = fma(f, c[0], i * candidate)
    assert np.array_equal(new_c[0], expected_c)
    assert np.array_equal(new_h[0], o * expected_c)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("masks", [0, 1, 4])
def test_against_the_oracle(dtype: str, go_backwards: bool, masks: int) -> None:
    rng = np.random.default_rng(masks)
    batch, timesteps, input_dim, units = 7, 9, 11, 21
    cell, weights = random_cell(rng, input_dim, units, dtype)
    h, c = random_states(rng, batch, units, dtype)
    x = rng.standard_normal((batch, timesteps, input_dim)).astype(dtype)
    mask = rng.random((batch, timesteps)) < 0.7
    dropout = (rng.random((masks, batch, input_dim)) < 0.5) * np.dtype(dtype).type(2) if masks else None
    recurrent = (rng.random((masks, batch, units)) < 0.5) * np.dtype(dtype).type(2) if masks else None
    outputs, new_h, new_c = cpu.sequence(
        cell,
        x,
        h,
        c,
        mask=mask,
        dropout_mask=dropout,
        recurrent_dropout_mask=recurrent,
        go_backwards=go_backwards,
        return_sequences=True,
    )
    expected = naive.sequence(
        x,
        weights,
        h,
        c,
        step_mask=mask,
        go_backwards=go_backwards,
        recurrent_activation="sigmoid",
        mask=dropout,
        recurrent_mask=recurrent,
    )
    tolerance = 4e-6 if dtype == "float32" else 1e-14
    for value, truth in zip((outputs, new_h, new_c), expected, strict=True):
        assert np.max(np.abs(value - truth) / np.maximum(1, np.abs(truth))) < tolerance


@pytest.mark.parametrize("activation", ["softmax", "log_softmax", "sparsemax", "gelu"])
def test_activations_over_all_units(activation: str) -> None:
    rng = np.random.default_rng(3)
    cell, weights = random_cell(rng, 5, 37, "float64", recurrent_activation=activation, activation="softmax")
    h, c = random_states(rng, 4, 37, "float64")
    x = rng.standard_normal((4, 3, 5))
    outputs, _, _ = cpu.sequence(cell, x, h, c, return_sequences=True)
    expected, _, _ = naive.sequence(x, weights, h, c, activation="softmax", recurrent_activation=activation)
    assert np.allclose(outputs, expected, rtol=1e-12, atol=1e-13)


def test_a_nan_stays_in_its_row() -> None:
    rng = np.random.default_rng(5)
    cell, _ = random_cell(rng, 6, 18, "float32")
    h, c = random_states(rng, 9, 18, "float32")
    x = rng.standard_normal((9, 4, 6)).astype(np.float32)
    clean, _, _ = cpu.sequence(cell, x, h, c, return_sequences=True)
    x[4, 1, 2] = np.nan
    outputs, _, _ = cpu.sequence(cell, x, h, c, return_sequences=True)
    assert np.isnan(outputs[4, 1:]).all()
    others = np.arange(9) != 4
    assert np.array_equal(outputs[others], clean[others])
    assert np.array_equal(outputs[4, 0], clean[4, 0])


def test_a_masked_nan_does_not_leak() -> None:
    rng = np.random.default_rng(6)
    cell, _ = random_cell(rng, 6, 18, "float32")
    h, c = random_states(rng, 3, 18, "float32")
    x = rng.standard_normal((3, 4, 6)).astype(np.float32)
    mask = np.ones((3, 4), bool)
    mask[1, 2] = False
    x[1, 2] = np.nan
    outputs, _, _ = cpu.sequence(cell, x, h, c, mask=mask, return_sequences=True)
    assert np.isfinite(outputs).all()
    assert np.array_equal(outputs[1, 2], outputs[1, 1])


def test_a_function_of_ones_own_gives_the_bits_of_the_built_in_one() -> None:
    @numba.njit
    def rectify(x):  # type: ignore[no-untyped-def]
        return x if x > 0 else x * 0

    rng = np.random.default_rng(9)
    built_in, weights = random_cell(rng, 5, 19, "float32", activation="relu")
    own = packing.pack_cell(
        *weights, activation=rectify, recurrent_activation="sigmoid", dialect="keras3", dtype="float32"
    )
    h, c = random_states(rng, 4, 19, "float32")
    x = rng.standard_normal((4, 3, 5)).astype(np.float32)
    assert np.array_equal(cpu.sequence(own, x, h, c)[0], cpu.sequence(built_in, x, h, c)[0])
