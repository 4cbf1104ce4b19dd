"""Chunks through a model that gives what the test says, and what it is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numba_lstm.runner.compute import ModelCompute
from numba_lstm.runner.stages import Chunk


class Model:
    """Gives its inputs plus the number of the draw times `step`, and a state for each of two cells of 2 and 1 units."""

    state_units = (2, 1)

    def __init__(self, step: float = 1.0) -> None:
        self.step = step
        self.calls: list[dict[str, Any]] = []

    def run_rows(self, inputs: Any, **arguments: Any) -> tuple[Any, list[Any]]:
        self.calls.append(arguments)
        rows = np.arange(len(inputs), dtype=np.float32)[:, None]
        states = [rows + 10 * n + np.arange(units) for n, units in enumerate((2, 2, 1, 1))]
        return inputs + np.float32(arguments["draw"] * self.step), states


def chunk(states: Any = None, value: float = 1e4) -> Chunk:
    return Chunk(3, 7, np.full((4, 2), value, np.float32), None, states)


def test_rows_go_through_the_model_once() -> None:
    model: Any = Model()
    result = ModelCompute(model, precision="float32", training=True, time_major=True, padded=True)(chunk())
    assert (result.start, result.stop, result.final_state) == (3, 7, None)
    np.testing.assert_array_equal(result.outputs[0], chunk().inputs)
    (call,) = model.calls
    assert (call["first_row"], call["draw"], call["initial_state"], call["mask"]) == (3, 0, None, None)
    assert call["training"] and call["time_major"] and call["padded"] and not call["last_only"]


def test_states_stand_side_by_side() -> None:
    """h and c of each cell, in files as (rows, all of them), and each by itself in the model."""
    model: Any = Model()
    given = np.arange(24.0).reshape(4, 6)
    result = ModelCompute(model, precision="float32", return_state=True)(chunk(given))
    assert result.final_state is not None
    np.testing.assert_array_equal(result.final_state[1], [1, 2, 11, 12, 21, 31])
    parts = model.calls[0]["initial_state"]
    for part, columns in zip(parts, ([0, 1], [2, 3], [4], [5]), strict=True):
        np.testing.assert_array_equal(part, given[:, columns])
        assert part.flags.c_contiguous


@pytest.mark.parametrize("samples", [2, 5])
def test_mean_and_deviation_of_draws(samples: int) -> None:
    """Of large numbers close to each other, where a difference of sums of squares in float32 would keep no digit."""
    model: Any = Model(step=1 / 64)
    result = ModelCompute(model, precision="float32", samples=samples)(chunk())
    draws = 1e4 + np.arange(samples) / 64
    mean, deviation = result.outputs
    assert mean.dtype == deviation.dtype == np.float32
    np.testing.assert_array_equal(mean, np.float32(draws.mean()))
    np.testing.assert_allclose(deviation, draws.std(), rtol=1e-6)
    assert [call["draw"] for call in model.calls] == list(range(samples))
    assert all(call["training"] for call in model.calls)
