"""The obvious first version: about twenty plain lines of numba, scalar loops and the C library's functions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numba
import numpy as np

from numba_lstm.bench.problem import Array, Problem

NAME, PRECISION, TIME_MAJOR = "20 lines of numba", "float32", False
IMPORTS = VERSIONS = ("numba",)


@numba.njit(parallel=True, fastmath=True)
def lstm(x: Array, kernel: Array, recurrent_kernel: Array, bias: Array, h: Array, c: Array, y: Array) -> None:
    """All outputs y (batch, timesteps, units); h and c (batch, units) change. Rows are shared among threads."""
    one, units = np.float32(1), recurrent_kernel.shape[0]
    for row in numba.prange(x.shape[0]):
        z = np.empty(4 * units, np.float32)
        for t in range(x.shape[1]):
            z[:] = bias
            for k in range(x.shape[2]):
                for j in range(4 * units):
                    z[j] += x[row, t, k] * kernel[k, j]
            for k in range(units):
                for j in range(4 * units):
                    z[j] += h[row, k] * recurrent_kernel[k, j]
            for j in range(units):
                i, f = one / (one + math.exp(-z[j])), one / (one + math.exp(-z[units + j]))
                o = one / (one + math.exp(-z[3 * units + j]))
                c[row, j] = f * c[row, j] + i * math.tanh(z[2 * units + j])
                h[row, j] = y[row, t, j] = o * math.tanh(c[row, j])


def sequence(problem: Problem, threads: int) -> Callable[[], Array]:
    """A batch of sequences."""
    numba.set_num_threads(threads)
    w, x = problem.weights, problem.x
    y = np.empty((problem.batch, problem.timesteps, problem.units), np.float32)

    def run() -> Array:
        h, c = (np.zeros((problem.batch, problem.units), np.float32) for _ in "hc")
        lstm(x, w.kernel, w.recurrent_kernel, w.bias, h, c, y)
        return y

    return run
