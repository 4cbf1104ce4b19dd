"""The GPU's results and the CPU's, bit by bit, for new random numbers."""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np

from numba_lstm import driver
from numba_lstm.bench.problem import Weights

SHAPES = ((1, 100, 16, 16), (64, 20, 64, 64), (100, 10, 200, 300), (4096, 5, 32, 64))
TINY = ((3, 2, 3, 4),)


def cell_of(shape: tuple[int, ...], dtype: str, seed: int, activations: tuple[str, str] = ("tanh", "sigmoid")) -> Any:
    """A packed cell for (batch, timesteps, input_dim, units)."""
    weights = Weights.random(shape[2], shape[3], seed, dtype)
    return driver.pack_cell(
        weights.kernel,
        weights.recurrent_kernel,
        weights.bias,
        activation=activations[0],
        recurrent_activation=activations[1],
        dialect="keras2",
        dtype=dtype,
    )


def inputs_of(shape: tuple[int, ...], dtype: str, seed: int) -> tuple[Any, Any, Any]:
    """Inputs (batch, timesteps, input_dim) and states of zeros."""
    batch, timesteps, input_dim, units = shape
    x = np.random.default_rng(seed).standard_normal((batch, timesteps, input_dim)).astype(dtype)
    return x, np.zeros((batch, units), dtype), np.zeros((batch, units), dtype)


def compared(tiny: bool) -> list[dict[str, Any]]:
    """Numbers that differ, for each shape and dtype. Raises `ValueError` if any does."""
    found = []
    for shape in TINY if tiny else SHAPES:
        for dtype in ("float32", "float64"):
            seed = secrets.randbits(32)
            cell, given = cell_of(shape, dtype, seed), inputs_of(shape, dtype, seed)
            y, *states = driver.sequence_on("cuda")(cell, *given, return_sequences=True)
            expected = driver.sequence(cell, *given, return_sequences=True)
            pairs = list(zip((y.fetch(), *states), expected, strict=True))
            differ = sum(int(np.count_nonzero(a.view(np.uint8) != b.view(np.uint8))) for a, b in pairs)
            entry = {"shape": shape, "dtype": dtype, "seed": seed, "bytes": sum(b.nbytes for _, b in pairs)}
            found.append({**entry, "differ": differ})
    if wrong := [entry for entry in found if entry["differ"]]:
        raise ValueError(f"the GPU's bits are not the CPU's: {wrong}")
    return found


if __name__ == "__main__":
    compared(True)
