"""numba_lstm itself, through its public names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import numba_lstm as nl
from numba_lstm.bench.peers import UnavailableError
from numba_lstm.bench.problem import Array, PlainWeights, Problem

NAME, PRECISION, TIME_MAJOR = "numba_lstm", "float32", False
IMPORTS = ("numba",)
VERSIONS = ("numba_lstm", "numba", "llvmlite", "numpy")


def layer_of(cells: Sequence[PlainWeights], **arguments: Any) -> nl.RNN:
    """A layer of these cells with sigmoid and tanh."""
    made = [
        nl.LSTMCell(w.units, **{"recurrent_activation": "sigmoid", "dtype": str(w.kernel.dtype), **arguments})
        for w in cells
    ]
    layer = nl.RNN(made[0] if len(made) == 1 else made, return_sequences=True, dtype=made[0].dtype)
    layer.set_weights([array for w in cells for array in (w.kernel, w.recurrent_kernel, w.bias)])
    return layer


def sequence(problem: Problem, threads: int) -> Callable[[], Array]:
    """A batch of sequences."""
    nl.set_num_threads(threads)
    layer, x = layer_of([problem.weights]), problem.x
    return lambda: layer(x)


def stepper(cells: Sequence[PlainWeights], threads: int) -> Callable[[Array], Array]:
    """One step per call, the state kept."""
    nl.set_num_threads(threads)
    model = nl.Sequential([layer_of(cells)])
    model.build((None, None, cells[0].input_dim))
    if not hasattr(model, "session"):
        raise UnavailableError("this version has no session")
    session = model.session(batch=1)
    return lambda x: np.asarray(session.step(x))


def cell_stepper(cells: Sequence[PlainWeights], threads: int) -> Callable[[Array], Array]:
    """The same with the cell called for each step, as in Keras, and the states handed back to it."""
    nl.set_num_threads(threads)
    layer = layer_of(cells)
    states = [cell.get_initial_state(batch_size=1) for cell in layer.cells]

    def step(x: Array) -> Array:
        for i, cell in enumerate(layer.cells):
            x, states[i] = cell(x, states[i])
        return x

    return step
