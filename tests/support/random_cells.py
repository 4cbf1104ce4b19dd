"""Cells: one with random weights as the backend takes it, states for it, and one that refuses what is done to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from numba_lstm import LSTMCell
from numba_lstm.backends.cpu import packing
from numba_lstm.errors import NumbaLSTMError

FLOATS = ("float32", "float64")


def random_cell(
    rng: np.random.Generator, input_dim: int, units: int, dtype: str, **options: Any
) -> tuple[Any, list[Any]]:
    kernel = (rng.standard_normal((input_dim, 4 * units)) / np.sqrt(input_dim)).astype(dtype)
    recurrent_kernel = (rng.standard_normal((units, 4 * units)) / np.sqrt(units)).astype(dtype)
    bias = rng.standard_normal(4 * units).astype(dtype)
    options = {"activation": "tanh", "recurrent_activation": "sigmoid", "dialect": "keras3", **options}
    weights = [kernel, recurrent_kernel, bias]
    return packing.pack_cell(*weights, dtype=dtype, **options), weights


def random_states(rng: np.random.Generator, batch: int, units: int, dtype: str) -> tuple[Any, Any]:
    return rng.standard_normal((batch, units)).astype(dtype), rng.standard_normal((batch, units)).astype(dtype)


def check_refused(
    action: Callable[[LSTMCell], Any], error: type[Exception], message: str, one_line: Callable[[Any], str]
) -> None:
    """The action raises an error that begins with the message, and leaves the weights alone."""
    cell = LSTMCell(5, name="c")
    cell.build(3)
    weights = cell.get_weights()
    with pytest.raises(NumbaLSTMError) as info:
        action(cell)
    assert info.type is error
    assert one_line(info).startswith(message)
    assert all(np.array_equal(one, other) for one, other in zip(weights, cell.get_weights(), strict=True))
