"""The activations that each dialect has, beside the names that the real Keras knows."""

from __future__ import annotations

import naive
import numpy as np
import pytest
from support.keras_objects import KERAS

from numba_lstm.semantics.dialects import ACTIVATIONS, DIALECTS, ROW_ACTIVATIONS, SYSTEM_NAMES, Dialect

NOT_OF_KERAS = {"hard_sigmoid_keras3"}  # for models from ONNX
NOT_HERE = {"glu", "threshold"}  # of half the width, and without a default


@pytest.mark.parametrize("dialect", ["keras2", "keras3"])
def test_names_are_those_of_keras(dialect: Dialect) -> None:
    of_keras = {name for name, _ in KERAS[dialect]["activations"]}
    assert set(ACTIVATIONS[dialect]) - NOT_OF_KERAS == of_keras - NOT_HERE


def test_dialects_differ_in_these_functions() -> None:
    assert DIALECTS == tuple(ACTIVATIONS) == tuple(SYSTEM_NAMES)
    assert {d: table["hard_sigmoid"] for d, table in ACTIVATIONS.items()} == {
        "tf1": "hard_sigmoid",
        "keras2": "hard_sigmoid",
        "keras3": "hard_sigmoid_keras3",
    }
    others = {name: {table[name] for table in ACTIVATIONS.values() if name in table} for name in ACTIVATIONS["keras3"]}
    assert {name for name, functions in others.items() if len(functions) > 1} == {"hard_sigmoid"}
    synonyms = {name: next(iter(functions)) for name, functions in others.items() if functions != {name}}
    synonyms.pop("hard_sigmoid")
    assert synonyms == {"swish": "silu", "hard_swish": "hard_silu", "celu": "elu"}


def test_activations_over_the_whole_axis() -> None:
    """Those whose first number changes with the second one."""
    one, other = np.array([[0.3, -0.2, 0.5]]), np.array([[0.3, 0.9, 0.5]])
    functions = {function for table in ACTIVATIONS.values() for function in table.values()}
    spanning = {f for f in functions if naive.ACTIVATIONS[f](one)[0, 0] != naive.ACTIVATIONS[f](other)[0, 0]}
    assert spanning == ROW_ACTIVATIONS
