"""Shapes, weights and tolerances that the tests of recurrent layers share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# The oracle works in float64. Keras's own float32 error stays below 4e-7 here; this leaves room for longer sums.
CLOSE = {"float32": {"rtol": 2e-6, "atol": 1e-6}, "float64": {"rtol": 1e-12, "atol": 1e-13}}

BATCH, TIMESTEPS, INPUT_DIM, UNITS = 4, 7, 3, 5


def random_weights(rng: np.random.Generator, input_dim: int = INPUT_DIM, units: int = UNITS) -> list[Array]:
    return [
        rng.normal(size=(input_dim, 4 * units)).astype(np.float32),
        rng.normal(size=(units, 4 * units)).astype(np.float32) / 2,
        rng.normal(size=4 * units).astype(np.float32),
    ]
