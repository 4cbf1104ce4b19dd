"""Layers in a row, one timestep a call: which of them one compiled function takes, and the states between calls."""

from __future__ import annotations

from typing import Any

import naive
import numba
import numpy as np
import pytest

from numba_lstm.backends.cpu.packing import PackedCell, PackedDense, pack_cell
from numba_lstm.backends.cpu.streaming import StreamingPlan, _split
from numba_lstm.kernels.codes import CODES, COMMON, CUSTOM


def cell_of(activation: Any = "tanh", weights: Any = None) -> PackedCell:
    arrays = weights or [np.zeros((3, 20)), np.zeros((5, 20)), np.zeros(20)]
    return pack_cell(*arrays, activation=activation, recurrent_activation="sigmoid", dialect="keras3", dtype="float32")


@numba.njit
def own(x):  # type: ignore[no-untyped-def]
    return x


def head_of(activation: str) -> PackedDense:
    function: Any = {"relu": COMMON, "elu": True, "softmax": True, "own": own}[activation]
    return PackedDense(5, 5, CODES.get(activation, CUSTOM), function, np.dtype("float32"))


@pytest.mark.parametrize(
    ("stages", "parts"),
    [
        (["tanh", "tanh"], [2]),
        (["relu", "elu"], [2]),  # one function with every built-in activation
        (["tanh", "relu"], [1, 1]),  # in registers, and not
        (["relu", own, own, "relu"], [1, 2, 1]),
        ([own, head_of("relu"), own], [3]),
        (["tanh", head_of("softmax"), head_of("relu"), "tanh", head_of("elu")], [5]),
        (["tanh", head_of("own"), head_of("softmax"), head_of("relu")], [3, 1]),
    ],
)
def test_stages_of_one_compiled_function(stages: list[Any], parts: list[int]) -> None:
    made = [stage if isinstance(stage, PackedDense) else cell_of(stage) for stage in stages]
    split = _split(made)
    assert [len(part) for _, part in split] == parts
    assert [stage for _, part in split for stage in part] == made


def test_activations_of_a_part() -> None:
    (functions, _), *rest = _split([cell_of("relu"), head_of("softmax"), cell_of("elu"), head_of("relu")])
    assert rest == [] and functions == {"activation": True, "recurrent_activation": True, "head": COMMON}
    ((functions, _),) = _split([cell_of("elu"), cell_of("relu")])
    assert functions == {"activation": True, "recurrent_activation": True}
    ((functions, _),) = _split([head_of("softmax")])
    assert functions == {"head": None}  # no activation but that one is compiled in


def test_states_take_turns() -> None:
    """Three steps of one row; states that are written to are those of the next step."""
    rng = np.random.default_rng(1)
    weights = [rng.standard_normal(shape).astype("f4") for shape in ((3, 20), (5, 20), (20,))]
    inputs, outputs = np.zeros((1, 3), "f4"), np.zeros((1, 5), "f4")
    stepper = StreamingPlan([cell_of(weights=weights)], inputs, outputs, 1)
    assert stepper.is_one_call and not any(state.any() for state in stepper.states())
    h, c = rng.standard_normal((2, 1, 5)).astype("f4")
    for state, value in zip(stepper.states(), (h, c), strict=True):
        state[...] = value
    for step in range(3):
        inputs[...] = rng.standard_normal((1, 3))
        assert stepper.turn == step % 2
        h, c = naive.cell(inputs, h, c, weights, "tanh", "sigmoid")
        stepper.run()
        for found, expected in zip((outputs, *stepper.states()), (h, h, c), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-5)
    before = outputs.copy()
    stepper.finish(turn=0)  # the last run began with turn 0 and was whole
    np.testing.assert_array_equal(outputs, before)
    stepper.finish(turn=1)  # as if a run after it had been interrupted before it began
    assert stepper.turn == 0 and not np.array_equal(outputs, before)
