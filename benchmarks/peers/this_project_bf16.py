"""numba_lstm with precision="bf16", where this version and this machine have it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import numba_lstm as nl
from benchmarks.peers import UnavailableError
from benchmarks.peers.this_project import layer_of
from benchmarks.problem import Array, Problem, Weights

NAME, PRECISION, TIME_MAJOR, VERSIONS = "numba_lstm, bf16", "bf16", False, ()

try:
    layer_of([Weights.random(16, 16, 0)])(np.zeros((1, 1, 16), np.float32), precision="bf16")
except nl.NumbaLSTMError as refusal:
    raise UnavailableError(str(refusal)) from None


def sequence(problem: Problem, threads: int) -> Callable[[], Array]:
    """A batch of sequences."""
    nl.set_num_threads(threads)
    layer, x = layer_of([problem.weights]), problem.x
    return lambda: layer(x, precision="bf16")
