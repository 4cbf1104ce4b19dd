"""The inner product of a CUDA thread, compiled for the CPU, with whole numbers: their sums are exact in any order."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from numba_lstm.kernels.arguments import Masks
from numba_lstm.kernels.cuda_products import Rows, UnitWeights, multiply

BATCH, DEPTH, UNITS = 5, 21, 3


@numba.njit
def multiplied(total: Any, block: Any, has_dropout: Any, x: Any, masks: Any, first_row: int, weights: Any) -> None:
    multiply(total, block, np.float32(0), has_dropout, x, masks, first_row, weights)


def whole(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(np.float32)


@pytest.mark.parametrize("masks", [None, 0, 1, 4])
@pytest.mark.parametrize("rows", [2, 4])
def test_rows_times_the_columns_of_a_unit(rows: int, masks: int | None) -> None:
    """The last row of the batch is repeated; dropout masks are those of the rows, one for all gates or one per gate."""
    x, weights, factors = whole(1, BATCH, DEPTH), whole(2, DEPTH, 4 * UNITS), whole(3, masks or 1, BATCH, DEPTH)
    first, unit = 2, 1
    existing = np.minimum(np.arange(first, first + rows), min(first + rows, BATCH) - 1)
    gates = np.stack([x[existing] * (factors[gate % len(factors), existing] if masks else 1) for gate in range(4)])
    expected = np.einsum("grk,kg->rg", gates, weights[:, unit::UNITS])
    total, block = np.full((2, 4 * rows), np.nan, np.float32)
    arrays = (
        Rows(x.reshape(-1), first * DEPTH, DEPTH, min(rows, BATCH - first)),
        Masks(factors.reshape(-1), masks or 0, BATCH),
        first,
        UnitWeights(weights.reshape(-1), unit, 4 * UNITS, UNITS, DEPTH, 8),
    )
    multiplied(total, block, None if masks is None else True, *arrays)
    np.testing.assert_array_equal(total.reshape(rows, 4), expected)
