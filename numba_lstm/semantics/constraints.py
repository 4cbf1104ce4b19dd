"""The constraints of Keras: the projection of a weight.

Source: TensorFlow 1.15, Keras 2.15 and 3.15 `constraints`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numba_lstm.checks import check_int, check_number, shown
from numba_lstm.errors import ConfigError, ShapeError

Axis = int | Sequence[int]

_EPSILON = 1e-7  # keras.backend.epsilon()


@dataclass(frozen=True)
class Constraint:
    """Base of all constraints; called with a weight, it returns a new one of the same shape and dtype."""

    def __call__(self, weight: NDArray[Any]) -> NDArray[Any]:
        """The projected weight."""
        raise NotImplementedError


@dataclass(frozen=True)
class MaxNorm(Constraint):
    """w * clip(norm, 0, max_value) / (1e-7 + norm), norms taken along `axis`."""

    max_value: float = 2
    axis: Axis = 0

    def __post_init__(self) -> None:
        check_number(self.max_value, "max_value of MaxNorm")
        _check_axis(self.axis, self)

    def __call__(self, weight: NDArray[Any]) -> NDArray[Any]:
        """The projected weight; raises `ShapeError` if it lacks the axis."""
        norm = _norm(weight, self.axis, self)
        return _scaled(weight, np.clip(norm, 0, float(self.max_value)), norm)


@dataclass(frozen=True)
class MinMaxNorm(Constraint):
    """w * (rate * clip(norm, min_value, max_value) + (1 - rate) * norm) / (1e-7 + norm), norms taken along `axis`."""

    min_value: float = 0.0
    max_value: float = 1.0
    rate: float = 1.0
    axis: Axis = 0

    def __post_init__(self) -> None:
        for argument in ("min_value", "max_value", "rate"):
            check_number(getattr(self, argument), f"{argument} of MinMaxNorm")
        _check_axis(self.axis, self)

    def __call__(self, weight: NDArray[Any]) -> NDArray[Any]:
        """The projected weight; raises `ShapeError` if it lacks the axis."""
        norm = _norm(weight, self.axis, self)
        rate = float(self.rate)
        desired = rate * np.clip(norm, float(self.min_value), float(self.max_value)) + (1 - rate) * norm
        return _scaled(weight, desired, norm)


@dataclass(frozen=True)
class NonNeg(Constraint):
    """Zero where the weight is negative."""

    def __call__(self, weight: NDArray[Any]) -> NDArray[Any]:
        """The projected weight."""
        return np.asarray(weight * (weight >= 0).astype(weight.dtype))


@dataclass(frozen=True)
class UnitNorm(Constraint):
    """w / (1e-7 + norm), norms taken along `axis`."""

    axis: Axis = 0

    def __post_init__(self) -> None:
        _check_axis(self.axis, self)

    def __call__(self, weight: NDArray[Any]) -> NDArray[Any]:
        """The projected weight; raises `ShapeError` if it lacks the axis."""
        return np.asarray(weight / (weight.dtype.type(_EPSILON) + _norm(weight, self.axis, self)))


@dataclass(frozen=True)
class RadialConstraint(Constraint):
    """Equal values at equal distance from the centre of a convolution kernel: no weight of an LSTM has its 4 axes."""

    def __call__(self, weight: NDArray[Any]) -> NDArray[Any]:
        """Raises `ShapeError`, as Keras does for weights without four axes."""
        raise ShapeError(
            f"radial_constraint is for convolution kernels with 4 axes; the weight has shape {weight.shape}; "
            "choose another constraint, or None"
        )


def _check_axis(axis: Any, constraint: Constraint) -> None:
    name = f"axis of {type(constraint).__name__}"
    if isinstance(axis, list | tuple):
        for one in axis:
            check_int(one, name, -4, 3)
        if len(axis) == 0:
            raise ConfigError(f"{name} is {shown(axis)}; expected an integer or several")
    else:
        check_int(axis, name, -4, 3)


def _norm(weight: NDArray[Any], axis: Axis, constraint: Constraint) -> NDArray[Any]:
    axes = axis if isinstance(axis, int) else tuple(axis)
    try:
        return np.asarray(np.sqrt(np.sum(np.square(weight), axis=axes, keepdims=True)))
    except ValueError as error:  # numpy's AxisError, and its error for an axis given twice
        name = type(constraint).__name__
        raise ShapeError(
            f"{name} has axis {axis}; the weight has shape {weight.shape}; choose one of its axes"
        ) from error


def _scaled(weight: NDArray[Any], desired: NDArray[Any], norm: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(weight * (desired / (weight.dtype.type(_EPSILON) + norm)), dtype=weight.dtype)
