"""The regularizers of Keras: the penalty of a weight as a number.

Source: TensorFlow 1.15, Keras 2.15 and 3.15 `regularizers`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numba_lstm.checks import check_choice, check_number
from numba_lstm.errors import ShapeError


@dataclass(frozen=True)
class Regularizer:
    """Base of all regularizers; called with a weight of float32 or float64, it returns the penalty.

    As in Keras, a coefficient has the precision of the weight; the sum itself is exact to float64.
    """

    def __call__(self, weight: NDArray[Any]) -> float:
        """The penalty of one weight."""
        raise NotImplementedError


@dataclass(frozen=True)
class L1L2(Regularizer):
    """l1 * sum |w| + l2 * sum w**2."""

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        _settle(self, "l1", 0.0)
        _settle(self, "l2", 0.0)

    def __call__(self, weight: NDArray[Any]) -> float:
        """The penalty of one weight."""
        return _absolute(self.l1, weight) + _square(self.l2, weight)


@dataclass(frozen=True)
class L1(Regularizer):
    """l1 * sum |w|."""

    l1: float = 0.01

    def __post_init__(self) -> None:
        _settle(self, "l1", 0.01)

    def __call__(self, weight: NDArray[Any]) -> float:
        """The penalty of one weight."""
        return _absolute(self.l1, weight)


@dataclass(frozen=True)
class L2(Regularizer):
    """l2 * sum w**2."""

    l2: float = 0.01

    def __post_init__(self) -> None:
        _settle(self, "l2", 0.01)

    def __call__(self, weight: NDArray[Any]) -> float:
        """The penalty of one weight."""
        return _square(self.l2, weight)


@dataclass(frozen=True)
class OrthogonalRegularizer(Regularizer):
    """`factor` times the mean |cosine| between the rows of a matrix, or between its columns; not in TensorFlow 1.15."""

    factor: float = 0.01
    mode: str = "rows"

    def __post_init__(self) -> None:
        _settle(self, "factor", 0.01)
        check_choice(self.mode, "mode of OrthogonalRegularizer", ("rows", "columns"))

    def __call__(self, weight: NDArray[Any]) -> float:
        """The penalty of one weight; raises `ShapeError` unless it is a matrix."""
        if weight.ndim != 2:
            raise ShapeError(
                f"OrthogonalRegularizer needs a matrix; the weight has shape {weight.shape}; remove it there"
            )
        vectors = (weight if self.mode == "rows" else weight.T).astype(np.float64)
        # TensorFlow's bound from below; Keras 3's, 1e-7, differs for vectors that are all but zero.
        vectors /= np.sqrt(np.maximum(np.sum(vectors**2, axis=1, keepdims=True), 1e-12))
        cosines = vectors @ vectors.T
        np.fill_diagonal(cosines, 0.0)
        pairs = len(vectors) * (len(vectors) - 1) / 2
        if pairs == 0:
            return math.nan  # as in Keras, which divides by zero
        return _coefficient(self.factor, weight) * 0.5 * float(np.abs(cosines).sum()) / pairs


def _settle(regularizer: Regularizer, argument: str, default: float) -> None:
    value = getattr(regularizer, argument)
    if value is None:
        object.__setattr__(regularizer, argument, default)
    else:
        check_number(value, f"{argument} of {type(regularizer).__name__}")


def _coefficient(value: float, weight: NDArray[Any]) -> float:
    return float(weight.dtype.type(value))


def _absolute(coefficient: float, weight: NDArray[Any]) -> float:
    return _coefficient(coefficient, weight) * float(np.abs(weight).sum(dtype=np.float64))


def _square(coefficient: float, weight: NDArray[Any]) -> float:
    return _coefficient(coefficient, weight) * float(np.square(weight, dtype=np.float64).sum())
