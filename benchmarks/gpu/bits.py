"""The GPU's results and the CPU's, bit by bit, for new random numbers."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from numba_lstm.backends.cpu import packing
from numba_lstm.backends.cpu import run as cpu
from numba_lstm.backends.cuda import policy
from numba_lstm.backends.cuda import run as cuda
from numba_lstm.bench.problem import PlainWeights

SHAPES = ((1, 100, 16, 16), (1000, 20, 64, 128), (64, 20, 64, 64), (100, 10, 200, 300), (4096, 5, 32, 64))
TINY = ((3, 2, 3, 4),)


def cell_of(shape: tuple[int, ...], dtype: str, seed: int, activations: tuple[str, str] = ("tanh", "sigmoid")) -> Any:
    """A packed cell for (batch, timesteps, input_dim, units)."""
    weights = PlainWeights.random(shape[2], shape[3], seed, dtype)
    return packing.pack_cell(
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


@contextmanager
def forced(tier: str) -> Iterator[None]:
    """Kernels of this tier."""
    os.environ[policy.TIER_VARIABLE] = tier
    try:
        yield
    finally:
        del os.environ[policy.TIER_VARIABLE]


def tiers_of(shape: tuple[int, ...], dtype: str) -> list[str]:
    """Those that take the cell of (batch, timesteps, input_dim, units)."""
    cell = policy.CellShape(shape[3], shape[2], dtype, normalizes_row=False)
    return [tier.name for tier in policy.TIERS if tier.supports(cell)]


def compared(tiny: bool) -> list[dict[str, Any]]:
    """Numbers that differ, for each shape, dtype and tier. Raises `ValueError` if any does."""
    found = []
    for shape in TINY if tiny else SHAPES:
        for dtype in ("float32", "float64"):
            seed = secrets.randbits(32)
            cell, given = cell_of(shape, dtype, seed), inputs_of(shape, dtype, seed)
            expected = cpu.sequence(cell, *given, return_sequences=True)
            for tier in tiers_of(shape, dtype):
                with forced(tier):
                    y, *states = cuda.sequence(cell, *given, return_sequences=True)
                pairs = list(zip((y.copy_to_host(), *states), expected, strict=True))
                differ = sum(int(np.count_nonzero(a.view(np.uint8) != b.view(np.uint8))) for a, b in pairs)
                entry = {"shape": shape, "dtype": dtype, "tier": tier, "seed": seed}
                found.append({**entry, "bytes": sum(b.nbytes for _, b in pairs), "differ": differ})
    if wrong := [entry for entry in found if entry["differ"]]:
        raise ValueError(f"the GPU's bits are not the CPU's: {wrong}")
    return found


if __name__ == "__main__":
    compared(True)
