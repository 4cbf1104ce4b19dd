"""The problems to compute: random weights and inputs of a shape, and the float64 truth in plain NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class PlainWeights:
    """One cell: kernel (input_dim, 4 * units), recurrent_kernel (units, 4 * units), bias (4 * units,); i f c o."""

    kernel: Array
    recurrent_kernel: Array
    bias: Array

    @classmethod
    def random(cls, input_dim: int, units: int, seed: int, dtype: str = "float32") -> PlainWeights:
        """PlainWeights whose pre-activations have the size of trained ones."""
        rng = np.random.default_rng(seed)
        return cls(
            (rng.standard_normal((input_dim, 4 * units)) / np.sqrt(input_dim)).astype(dtype),
            (rng.standard_normal((units, 4 * units)) / np.sqrt(units)).astype(dtype),
            (rng.standard_normal(4 * units) / 2).astype(dtype),
        )

    @property
    def units(self) -> int:
        """Units of the cell."""
        return len(self.recurrent_kernel)

    @property
    def input_dim(self) -> int:
        """The features of a step."""
        return len(self.kernel)

    def gates(self, order: str) -> tuple[Array, Array, Array]:
        """Transposed, (4 * units, ...), as most libraries keep them, the gates in another order such as "iofc"."""
        at = ["ifco".index(gate) for gate in order]

        def turned(array: Array) -> Array:
            parts = np.split(array, 4, axis=-1)
            return np.ascontiguousarray(np.concatenate([parts[i] for i in at], axis=-1).T)

        return turned(self.kernel), turned(self.recurrent_kernel), turned(self.bias)


@dataclass(frozen=True)
class Problem:
    """A batch of sequences and the cell that runs over it; the states start at zero."""

    batch: int
    timesteps: int
    input_dim: int
    units: int
    dtype: str = "float32"
    seed: int = 1

    @cached_property
    def weights(self) -> PlainWeights:
        """The cell."""
        return PlainWeights.random(self.input_dim, self.units, self.seed, self.dtype)

    @cached_property
    def x(self) -> Array:
        """Inputs (batch, timesteps, input_dim)."""
        rng = np.random.default_rng(self.seed + 1)
        return rng.standard_normal((self.batch, self.timesteps, self.input_dim)).astype(self.dtype)

    @property
    def flops(self) -> int:
        """Additions and multiplications of the inner products."""
        return 8 * self.units * (self.input_dim + self.units) * self.batch * self.timesteps

    @cached_property
    def truth(self) -> Array:
        """All outputs in float64, (batch, timesteps, units)."""
        w = self.weights
        return lstm(self.x, w.kernel, w.recurrent_kernel, w.bias)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def lstm(x: Array, kernel: Array, recurrent_kernel: Array, bias: Array) -> Array:
    """The LSTM in float64, from the equations: i, f, o sigmoid, candidate and output tanh."""
    x, kernel, recurrent_kernel, bias = (np.asarray(a, np.float64) for a in (x, kernel, recurrent_kernel, bias))
    units = recurrent_kernel.shape[0]
    h = c = np.zeros((x.shape[0], units))
    outputs = np.empty((*x.shape[:2], units))
    for t in range(x.shape[1]):
        z_i, z_f, z_c, z_o = np.split(x[:, t] @ kernel + bias + h @ recurrent_kernel, 4, axis=1)
        c = sigmoid(z_f) * c + sigmoid(z_i) * np.tanh(z_c)
        h = sigmoid(z_o) * np.tanh(c)
        outputs[:, t] = h
    return outputs
