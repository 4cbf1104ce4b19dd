"""On a real GPU: the CPU's bits, for new random numbers in each run, and nothing left over from what memory held."""

from __future__ import annotations

import secrets
from typing import Any

import cuda_cases
import naive
import numpy as np
import pytest

from numba_lstm import driver

pytestmark = pytest.mark.gpu

# batch, timesteps, input_dim, units: one row, odd ones, several blocks of k, many rows, many units
SHAPES = (
    (1, 50, 3, 5),
    (3, 7, 1, 1),
    (64, 20, 130, 256),
    (129, 5, 300, 17),
    (1000, 9, 33, 65),
    (17, 3, 20, 700),
    (4096, 4, 32, 64),
)
OPTIONS = ("", "mask", "mask zero backwards", "drop recurrent", "drop recurrent shared mask")


@pytest.fixture
def poisoned() -> None:
    """Fills free memory of the card with NaN and gives it back: what a kernel does not write, shows."""
    from numba_lstm.devices.card import Card

    card = Card()
    kept = [card.upload(np.full(1 << 24, np.nan, np.float32)) for _ in range(8)]
    card.wait()
    del kept


def cell_and_arguments(
    shape: tuple[int, ...], dtype: str, kind: str, activation: str, recurrent: str, seed: int
) -> tuple[Any, list[Any], dict[str, Any]]:
    batch, timesteps, input_dim, units = shape
    rng = np.random.default_rng(seed)

    def numbers(*size: int) -> Any:
        return rng.standard_normal(size).astype(dtype)

    weights = [
        numbers(input_dim, 4 * units) / dtype_root(input_dim, dtype),
        numbers(units, 4 * units) / dtype_root(units, dtype),
        numbers(4 * units),
    ]
    cell = driver.pack_cell(
        *weights, activation=activation, recurrent_activation=recurrent, dialect="keras3", dtype=dtype
    )
    given: dict[str, Any] = {
        "inputs": numbers(batch, timesteps, input_dim),
        "h": numbers(batch, units),
        "c": numbers(batch, units),
        "return_sequences": True,
        "go_backwards": "backwards" in kind,
        "zero_output_for_mask": "zero" in kind,
    }
    masks = 1 if "shared" in kind else 4
    if "mask" in kind:
        given["mask"] = rng.random((batch, timesteps)) < 0.7
    if "drop" in kind:
        given["dropout_mask"] = (rng.random((masks, batch, input_dim)) < 0.5).astype(dtype) * 2
        given["recurrent_dropout_mask"] = (rng.random((masks, batch, units)) < 0.5).astype(dtype) * 2
    return cell, weights, given


def dtype_root(number: int, dtype: str) -> Any:
    return np.sqrt(np.dtype(dtype).type(number))


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_bits_of_the_cpu(shape: tuple[int, ...], kind: str, dtype: str) -> None:
    seed = secrets.randbits(32)
    cell, weights, given = cell_and_arguments(shape, dtype, kind, "tanh", "sigmoid", seed)
    y, h, c = driver.sequence_on("cuda")(cell, **given)
    found, expected = (y.fetch(), h, c), driver.sequence(cell, **given)
    truth = naive.sequence(
        given["inputs"],
        weights,
        given["h"],
        given["c"],
        step_mask=given.get("mask"),
        go_backwards=given["go_backwards"],
        zero_output_for_mask=given["zero_output_for_mask"],
        recurrent_activation="sigmoid",
        mask=given.get("dropout_mask"),
        recurrent_mask=given.get("recurrent_dropout_mask"),
    )
    tolerance = 2e-5 if dtype == "float32" else 1e-13
    for array, same, exact in zip(found, expected, truth, strict=True):
        assert np.max(np.abs(array - exact) / np.maximum(1, np.abs(exact))) < tolerance, f"seed {seed}"
        assert array.tobytes() == same.tobytes(), f"seed {seed}: {np.count_nonzero(array != same)} of {array.size}"


@pytest.mark.parametrize("name", cuda_cases.own_cases())
def test_cases_of_the_simulator(name: str) -> None:
    case = cuda_cases.own_cases()[name]
    found, expected = case("cuda"), case("cpu")
    assert found.keys() == expected.keys()
    for part, array in expected.items():
        assert np.array_equal(found[part], array, equal_nan=True), part


@pytest.mark.parametrize("name", cuda_cases.goldens())
def test_stored_cases_of_keras(name: str) -> None:
    case = cuda_cases.goldens()[name]
    found, expected = cuda_cases.of_a_golden(case, "cuda"), cuda_cases.of_a_golden(case, "cpu")
    for part, array in expected.items():
        assert np.array_equal(found[part], array, equal_nan=True), part
