"""numba_lstm with precision="bf16", where this version and this machine have it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import numba_lstm as nl
from numba_lstm.bench.peers import UnavailableError
from numba_lstm.bench.peers.this_project import layer_of
from numba_lstm.bench.problem import Array, PlainWeights, Problem

NAME, PRECISION, TIME_MAJOR = "numba_lstm, bf16", "bf16", False
IMPORTS, VERSIONS = ("numba",), ()


def check() -> None:
    """Raises UnavailableError where precision="bf16" is refused."""
    try:
        layer_of([PlainWeights.random(16, 16, 0)])(np.zeros((1, 1, 16), np.float32), precision="bf16")
    except nl.NumbaLSTMError as refusal:
        raise UnavailableError(str(refusal)) from None


def sequence(problem: Problem, threads: int) -> Callable[[], Array]:
    """A batch of sequences."""
    nl.set_num_threads(threads)
    layer, x = layer_of([problem.weights]), problem.x
    return lambda: layer(x, precision="bf16")
