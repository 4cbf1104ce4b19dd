"""keras.layers.LSTM on TensorFlow, as a compiled function: the fastest way to call it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numba_lstm.bench.peers import UnavailableError
from numba_lstm.bench.problem import Array, PlainWeights, Problem

NAME, PRECISION, TIME_MAJOR = "Keras, TensorFlow", "float32", False
IMPORTS, VERSIONS = ("tensorflow", "keras"), ("tensorflow", "tensorflow_cpu", "keras")

# Read when TensorFlow is imported; otherwise it would report its findings on stderr.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def check() -> None:
    """Raises UnavailableError where Keras runs on another library."""
    import keras

    if keras.config.backend() != "tensorflow":
        raise UnavailableError(f"Keras runs on {keras.config.backend()}")


def use(threads: int) -> None:
    """Compute with `threads` threads."""
    import tensorflow

    # TensorFlow takes the number once, before it first computes: hence a process for each number of threads.
    if tensorflow.config.threading.get_intra_op_parallelism_threads() != threads:
        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)


def sequence(problem: Problem, threads: int) -> Callable[[], Array]:
    """A batch of sequences."""
    import keras
    import tensorflow

    use(threads)
    layer = keras.layers.LSTM(problem.units, return_sequences=True)
    layer.build(problem.x.shape)
    layer.set_weights([problem.weights.kernel, problem.weights.recurrent_kernel, problem.weights.bias])
    x = tensorflow.constant(problem.x)
    function = tensorflow.function(layer)
    return lambda: function(x).numpy()


def stepper(cells: Sequence[PlainWeights], threads: int) -> Callable[[Array], Array]:
    """One step per call with keras.layers.LSTMCell in a compiled function, the state handed from call to call."""
    import keras
    import tensorflow

    use(threads)
    made = []
    for weights in cells:
        cell = keras.layers.LSTMCell(weights.units)
        cell.build((1, weights.input_dim))
        cell.set_weights([weights.kernel, weights.recurrent_kernel, weights.bias])
        made.append(cell)

    @tensorflow.function
    def advance(x: Any, states: list[list[Any]]) -> tuple[Any, list[list[Any]]]:
        after = []
        for cell, state in zip(made, states, strict=True):
            x, state = cell(x, state)
            after.append(state)
        return x, after

    states = [[tensorflow.zeros((1, w.units)) for _ in "hc"] for w in cells]

    def step(x: Array) -> Array:
        nonlocal states
        output, states = advance(tensorflow.constant(x), states)
        return np.asarray(output)

    return step
