"""Small calls: which are small, and what a plan computes again and again in the same memory."""

from __future__ import annotations

from typing import Any

import naive
import numpy as np

from numba_lstm.backends.cpu import call_plan, policy
from numba_lstm.backends.cpu.packing import PackedCell, pack_cell, pack_dense


def cell_of(weights: list[Any]) -> PackedCell:
    names = {"activation": "tanh", "recurrent_activation": "sigmoid", "dialect": "keras3", "dtype": "float64"}
    return pack_cell(*weights, **names)  # type: ignore[arg-type]


def weights_of(rng: np.random.Generator, input_dim: int, units: int) -> list[Any]:
    return [rng.standard_normal(shape) / 2 for shape in ((input_dim, 4 * units), (units, 4 * units), (4 * units,))]


def test_what_is_small() -> None:
    stage = call_plan.CellStage(cell_of(weights_of(np.random.default_rng(0), 3, 5)))
    rows = (2 * policy.WORK_PER_THREAD - 1) // policy.work_of_step(stage.cell.cell)
    assert call_plan.is_small([stage], rows, 1) and not call_plan.is_small([stage], rows + 1, 1)
    assert call_plan.is_small([stage], 1, rows) and not call_plan.is_small([stage], 1, rows + 1)
    assert not call_plan.is_small([stage], 0, 5) and not call_plan.is_small([stage], 5, 0)


def test_every_run_begins_anew_and_gives_memory_of_its_own() -> None:
    rng = np.random.default_rng(1)
    cell, head = weights_of(rng, 3, 6), (rng.standard_normal((6, 2)), rng.standard_normal(2))
    dense = pack_dense(*head, activation="softmax", dialect="keras3", dtype="float64")
    plan = call_plan.CallPlan([call_plan.CellStage(cell_of(cell), go_backwards=True), dense], 2, 4)
    before, kept = None, None
    for _ in range(3):
        x = rng.standard_normal((2, 4, 3))
        found = plan.run(x)
        outputs, _, _ = naive.sequence(x, cell, go_backwards=True, recurrent_activation="sigmoid")
        expected = naive.dense(outputs[:, -1], *head, "softmax")
        np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-12)
        if before is not None:
            np.testing.assert_array_equal(before, kept)
        before, kept = found, found.copy()


def test_steps_from_states_that_are_given() -> None:
    rng = np.random.default_rng(2)
    weights = weights_of(rng, 3, 6)
    steps = call_plan.CellStepPlan(cell_of(weights), 2)
    for _ in range(2):
        x, h, c = rng.standard_normal((2, 3)), rng.standard_normal((2, 6)), rng.standard_normal((2, 6))
        for found, expected in zip(steps.step(x, h, c), naive.cell(x, h, c, weights, "tanh", "sigmoid"), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12)
