"""constraints.py: the projections of Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numba_lstm.cell import LSTMCell
from numba_lstm.errors import ConfigError, ShapeError
from numba_lstm.semantics.constraints import Constraint, MaxNorm, MinMaxNorm, NonNeg, RadialConstraint, UnitNorm
from numba_lstm.semantics.dialects import Dialect
from numba_lstm.semantics.serialization import deserialize_object

SYSTEMS: dict[str, Dialect] = {"tf115": "tf1", "tf215": "keras2", "k3": "keras3"}
MADE: dict[str, type[Constraint]] = {"MaxNorm": MaxNorm, "MinMaxNorm": MinMaxNorm}


@pytest.mark.goldens
@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(("dtype", "suffix", "ulps"), [("float32", "f32", 4), ("float64", "f64", 4)])
def test_projections_are_those_of_keras(goldens: Any, system: str, dtype: str, suffix: str, ulps: int) -> None:
    inputs, outputs = goldens.arrays("weightops_inputs.npz"), goldens.arrays(f"constraints__{system}.npz")
    count = 0
    for row in goldens.json(f"constraints__{system}.json")["cases"]:
        if row["id"] == "radial4d":
            continue
        spec = row["constraint"]
        if isinstance(spec, list):
            constraint = MADE[spec[0]](*spec[1])
        else:
            constraint = deserialize_object(spec, SYSTEMS[system], "constraint")
        weight = inputs[row["weight"]].astype(dtype)
        if "error" in row:
            with pytest.raises(ShapeError):
                constraint(weight)
            continue
        expected, result = outputs[f"{row['id']}/{suffix}"], constraint(weight)
        assert result.dtype == dtype and result.shape == weight.shape
        assert np.abs(result - expected).max() <= ulps * np.finfo(dtype).eps * np.abs(expected).max(), row["id"]
        count += 1
    assert count == 23


@given(
    st.lists(st.lists(st.floats(-8, 8), min_size=3, max_size=3), min_size=1, max_size=5),
    st.floats(0.25, 2),
    st.floats(0, 0.25),
)
def test_the_promises_of_the_constraints(rows: list[list[float]], high: float, low: float) -> None:
    weight = np.array(rows)
    norm = np.sqrt((weight**2).sum(axis=0))
    slack = 1e-6
    limited = MaxNorm(high)(weight)
    assert np.all(np.sqrt((limited**2).sum(axis=0)) <= high + slack)
    assert np.allclose(limited[:, norm <= high], weight[:, norm <= high], atol=1e-6)
    between = np.sqrt((MinMaxNorm(low, high)(weight) ** 2).sum(axis=0))
    usual = norm > 1e-3
    assert np.all(between[usual] <= high + slack) and np.all(between[usual] >= low - 1e-3)
    assert np.allclose(np.sqrt((UnitNorm()(weight) ** 2).sum(axis=0))[usual], 1, atol=1e-3)
    assert np.array_equal(NonNeg()(weight), np.maximum(weight, 0))


def test_axes() -> None:
    weight = np.arange(1.0, 7.0).reshape(2, 3)
    assert np.allclose((UnitNorm(axis=1)(weight) ** 2).sum(axis=1), 1)
    assert np.allclose((UnitNorm(axis=-1)(weight) ** 2).sum(axis=1), 1)
    assert (UnitNorm(axis=[0, 1])(weight) ** 2).sum() == pytest.approx(1, abs=1e-6)
    half = MinMaxNorm(0.0, 1.0, rate=0.5)(weight)
    norm = np.sqrt((weight**2).sum(axis=0))
    assert np.allclose(np.sqrt((half**2).sum(axis=0)), (norm + 1) / 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("constraint", "norms"),
    [
        (MaxNorm(), [1.0, 2.0, 2.0]),
        (MaxNorm(3), [1.0, 2.0, 3.0]),
        (MinMaxNorm(), [1.0, 1.0, 1.0]),
        (MinMaxNorm(1.5, 3.0), [1.5, 2.0, 3.0]),
        (MinMaxNorm(1.5, 3.0, 0.25), [1.125, 2.0, 3.75]),
        (UnitNorm(), [1.0, 1.0, 1.0]),
    ],
)
def test_norms(constraint: Constraint, norms: list[float], dtype: str) -> None:
    """Columns of the norms 1, 2 and 4, and the 1e-7 that Keras adds to a norm that it divides by."""
    own = np.array([1.0, 2.0, 4.0])
    weight = (np.array([[0.6], [-0.8]]) * own).astype(dtype)
    expected = weight * (np.array(norms) / (own + 1e-7))
    assert np.abs(constraint(weight) - expected).max() <= 4 * np.finfo(dtype).eps * 4
    assert constraint(weight).dtype == dtype
    assert not constraint(np.zeros((2, 3), dtype)).any()
    if not isinstance(constraint, MaxNorm):  # where the 1e-7 is most of it
        tiny = np.full((1, 1), 1e-7, dtype)
        share = {1.0: 1.0, 0.25: 0.25}[getattr(constraint, "rate", 1.0)]
        low = getattr(constraint, "min_value", 1.0)
        assert constraint(tiny)[0, 0] == pytest.approx((share * max(low, 1e-7) + (1 - share) * 1e-7) / 2, rel=1e-5)


def test_no_negative_weight_is_left() -> None:
    found = NonNeg()(np.array([-1.0, -0.0, 0.0, 2.0, np.inf], np.float32))
    assert found.tolist() == [0, 0, 0, 2, np.inf] and found.dtype == np.float32


def test_apply_constraints_changes_weights_and_outputs(rng: np.random.Generator) -> None:
    cell = LSTMCell(
        3, kernel_constraint="max_norm", recurrent_constraint="non_neg", bias_constraint="unit_norm", seed=1
    )
    weights = [4 * rng.standard_normal(shape).astype(np.float32) for shape in ((5, 12), (3, 12), (12,))]
    cell.set_weights(weights)
    x, states = rng.standard_normal((2, 5)), [rng.standard_normal((2, 3)), np.zeros((2, 3))]
    before, _ = cell(x, states)
    cell.apply_constraints()
    expected = [MaxNorm()(weights[0]), NonNeg()(weights[1]), UnitNorm()(weights[2])]
    assert all(np.array_equal(one, other) for one, other in zip(cell.get_weights(), expected, strict=True))
    after, _ = cell(x, states)
    twin = LSTMCell(3)
    twin.set_weights(expected)
    assert not np.array_equal(before, after) and np.array_equal(after, twin(x, states)[0])


def test_a_function_is_a_constraint() -> None:
    cell = LSTMCell(2, kernel_constraint=lambda weight: weight * 0, recurrent_constraint=lambda weight: weight[:1])
    cell.build(3)
    before = cell.get_weights()
    with pytest.raises(ShapeError, match=r"^the constraint of recurrent_kernel has shape \(1, 8\); expected \(2, 8\)$"):
        cell.apply_constraints()
    assert all(np.array_equal(one, other) for one, other in zip(cell.get_weights(), before, strict=True))


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        (
            RadialConstraint(),
            "the constraint of bias: radial_constraint is for convolution kernels with 4 axes; the weight has shape "
            "(8,); choose another constraint, or None",
        ),
        (
            MaxNorm(axis=1),
            "the constraint of bias: MaxNorm has axis 1; the weight has shape (8,); choose one of its axes",
        ),
        (
            UnitNorm(axis=[0, 0]),
            "the constraint of bias: UnitNorm has axis [0, 0]; the weight has shape (8,); choose one of its axes",
        ),
    ],
)
def test_a_constraint_that_does_not_fit(constraint: Any, message: str, one_line: Callable[[Any], str]) -> None:
    cell = LSTMCell(2, bias_constraint=constraint)
    cell.build(3)
    with pytest.raises(ShapeError) as info:
        cell.apply_constraints()
    assert one_line(info) == message


def test_radial_constraint_is_read_and_refuses_matrices() -> None:
    cell = LSTMCell(2, kernel_constraint="radial_constraint")
    assert cell.get_config()["kernel_constraint"] == {"class_name": "RadialConstraint", "config": {}}
    cell.build(3)
    with pytest.raises(
        ShapeError, match=r"^the constraint of kernel: radial_constraint is for convolution kernels with 4"
    ):
        cell.apply_constraints()


def test_arguments_that_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^max_value of MaxNorm is 'a'; expected a finite number$"):
        MaxNorm("a")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^axis of UnitNorm is 9; expected an integer from -4 to 3$"):
        UnitNorm(axis=9)
    for wrong in (4, -5, [0, 4], True, 0.5):
        with pytest.raises(ConfigError, match=r"^axis of MaxNorm is .*; expected an integer from -4 to 3$"):
            MaxNorm(axis=wrong)  # type: ignore[arg-type]
    for argument in ("min_value", "max_value", "rate"):
        with pytest.raises(ConfigError, match=f"^{argument} of MinMaxNorm is None; expected a finite number$"):
            MinMaxNorm(**{argument: None})  # type: ignore[arg-type]
    assert MaxNorm(axis=-4).axis == -4 and MaxNorm(axis=3).axis == 3
    with pytest.raises(ConfigError, match=r"^axis of MinMaxNorm is \[\]; expected an integer or several$"):
        MinMaxNorm(axis=[])
    with pytest.raises(ConfigError, match="lstm_cell has no weights yet; call build"):
        LSTMCell(2).apply_constraints()
