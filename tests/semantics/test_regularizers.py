"""regularizers.py: the penalties of Keras."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numba_lstm.cell import LSTMCell
from numba_lstm.errors import ConfigError, ShapeError
from numba_lstm.semantics.dialects import Dialect
from numba_lstm.semantics.regularizers import L1, L1L2, L2, OrthogonalRegularizer
from numba_lstm.semantics.serialization import deserialize_object

SYSTEMS: dict[str, Dialect] = {"tf115": "tf1", "tf215": "keras2", "k3": "keras3"}
MADE = {"l1": L1, "l2": L2, "l1_l2": L1L2, "OrthogonalRegularizer": OrthogonalRegularizer}

numbers = st.floats(-4, 4, width=32)


def made(spec: Any) -> Any:
    return MADE[spec[0]](*spec[1]) if isinstance(spec, list) else spec


@pytest.mark.goldens
@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-7), ("float64", 1e-14)])
def test_penalties_are_those_of_keras(goldens: Any, system: str, dtype: str, tolerance: float) -> None:
    arrays, count = goldens.arrays("weightops_inputs.npz"), 0
    for row in goldens.json(f"regularizers__{system}.json")["cases"]:
        if "error" in row or row["activity"]:
            continue
        specs = [row["kernel"], row["recurrent"], row["bias"]]
        parts = zip(("kernel", "recurrent", "bias"), specs, strict=True)
        arguments = {f"{part}_regularizer": made(spec) for part, spec in parts}
        cell = LSTMCell(4, **arguments, dtype=dtype, dialect=SYSTEMS[system])
        assert cell.losses == []
        cell.set_weights([arrays["kernel"], arrays["recurrent_kernel"], arrays["bias"]])
        losses = cell.losses
        assert all(isinstance(loss, float) for loss in losses)
        assert losses == pytest.approx(row[f"losses_{dtype}"], rel=tolerance)
        count += 1
    assert count >= 3


@given(st.lists(numbers, min_size=1, max_size=12), st.floats(0, 2), st.floats(0, 2))
def test_the_formulas(values: list[float], l1: float, l2: float) -> None:
    weight = np.array(values)
    absolute, square = math.fsum(abs(value) for value in values), math.fsum(value**2 for value in values)
    assert L1(l1)(weight) == pytest.approx(l1 * absolute)
    assert L2(l2)(weight) == pytest.approx(l2 * square)
    assert L1L2(l1, l2)(weight) == pytest.approx(l1 * absolute + l2 * square)


def test_orthogonality() -> None:
    weight = np.array([[1.0, 0, 0], [0, 2, 0]])
    assert OrthogonalRegularizer()(weight) == 0 and OrthogonalRegularizer(mode="columns")(weight) == 0
    parallel = np.array([[1.0, 1], [3, 3]], np.float32)
    assert OrthogonalRegularizer(0.5)(parallel) == pytest.approx(0.5)
    assert OrthogonalRegularizer(0.5, mode="columns")(np.array([[1.0, 1, 0], [3, 3, 0]])) == pytest.approx(0.5 / 3)
    assert math.isnan(OrthogonalRegularizer()(np.ones((1, 4))))


def test_a_coefficient_has_the_precision_of_the_weight() -> None:
    assert L1(0.1)(np.ones(1, np.float32)) == float(np.float32(0.1))
    assert L1(0.1)(np.ones(1)) == 0.1


def test_sums_are_those_of_float64() -> None:
    """Where a sum in float32 would lose its last terms, or a square its last bits."""
    weight = np.array([2**24, 1, -1, 1], np.float32)
    assert L1(1.0)(weight) == L1L2(l1=1.0)(weight) == 2**24 + 3
    assert L2(1.0)(np.array([4097, 4095], np.float32)) == L1L2(l2=1.0)(np.array([4097, 4095], np.float32)) == 33554434
    assert L2(1.0)(np.array([3e30], np.float32)) == float(np.float32(3e30)) ** 2
    near = np.array([[1, 1e-3, 0], [0, 1, 1e-3], [1, 0, 1e4]], np.float32)
    rows = near.astype(np.float64) / np.sqrt((near.astype(np.float64) ** 2).sum(1, keepdims=True))
    total = math.fsum(abs(float(rows[i] @ rows[j])) for i in range(3) for j in range(i))
    assert OrthogonalRegularizer(1.0)(near) == pytest.approx(total / 3, rel=1e-12)


def test_rows_of_zeros_are_no_danger() -> None:
    assert OrthogonalRegularizer(1.0)(np.array([[0.0, 0], [1, 1]])) == 0
    tiny = np.array([[1e-7, 0], [1e-7, 0]])  # below the bound, TensorFlow's: |cosine| is 1e-14 / 1e-12
    assert OrthogonalRegularizer(1.0)(tiny) == pytest.approx(0.01, rel=1e-9)


def test_none_is_the_default() -> None:
    assert L1(None) == L1(0.01) and L2(None) == L2(0.01) and L1L2(None, None) == L1L2(0.0, 0.0)  # type: ignore[arg-type]
    assert deserialize_object({"class_name": "l1", "config": {"l": None}}, "tf1", "regularizer") == L1L2(l1=0.01)
    assert deserialize_object({"class_name": "l2", "config": {"l": 0.5}}, "keras2", "regularizer") == L2(0.5)


def test_a_function_is_a_regularizer_and_losses_keep_their_order() -> None:
    cell = LSTMCell(2, kernel_regularizer=lambda weight: 7, bias_regularizer=L1L2(1.0), bias_initializer="ones")
    cell.build(3)
    assert cell.losses == [7.0, 8.0]
    plain = LSTMCell(2, use_bias=False, bias_regularizer="l1")
    plain.build(3)
    assert plain.losses == []


def test_errors(one_line: Callable[[Any], str]) -> None:
    cell = LSTMCell(2, bias_regularizer=OrthogonalRegularizer(), dialect="keras2")
    cell.build(3)
    with pytest.raises(ShapeError) as info:
        _ = cell.losses
    assert one_line(info) == (
        "the regularizer of bias: OrthogonalRegularizer needs a matrix; the weight has shape (8,); remove it there"
    )
    with pytest.raises(
        ConfigError, match=r"^mode of OrthogonalRegularizer is 'all'; expected one of 'rows', 'columns'$"
    ):
        OrthogonalRegularizer(mode="all")
    with pytest.raises(ConfigError, match=r"^l2 of L1L2 is inf; expected a finite number$"):
        L1L2(l2=math.inf)
