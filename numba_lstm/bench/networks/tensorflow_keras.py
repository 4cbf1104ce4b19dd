"""keras.layers.LSTM and Dense on TensorFlow, as compiled functions: the fastest way to call them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from numba_lstm.bench.network import Network
from numba_lstm.bench.networks import Stepper
from numba_lstm.bench.peers import tensorflow_keras
from numba_lstm.bench.problem import Array

NAME, IMPORTS, check = "Keras, TensorFlow", tensorflow_keras.IMPORTS, tensorflow_keras.check
PACKAGES = ("keras", "tensorflow", "tensorflow-cpu", "tensorflow-intel")

SCRIPT = """
import keras
import numpy as np

model = keras.models.load_model("model.keras", compile=False)
np.save("y.npy", model.predict(np.load("x.npy"), verbose=0))
"""


def _model(network: Network) -> Any:
    import keras

    layers = [keras.layers.LSTM(network.cell.units), keras.layers.Dense(network.dense.shape[1], activation="softmax")]
    model = keras.Sequential([keras.Input(network.x.shape[1:]), *layers])
    model.set_weights(network.weights)
    return model


def run_of(network: Network) -> Callable[[Array], Array]:
    """All rows of a batch."""
    import tensorflow

    tensorflow_keras.use(1)
    function = tensorflow.function(_model(network))
    return lambda x: np.asarray(function(tensorflow.constant(x)))


def stepper_of(network: Network) -> Stepper:
    """keras.layers.LSTMCell, the state handed from call to call."""
    import tensorflow

    tensorflow_keras.use(1)
    lstm, dense = _model(network).layers
    zeros = tensorflow.zeros((1, network.cell.units))
    start = [zeros, zeros]
    state = start

    @tensorflow.function
    def advance(x: Any, state: list[Any]) -> tuple[Any, list[Any]]:
        output, state = lstm.cell(x, state)
        return dense(output), state

    def step(x: Array) -> Array:
        nonlocal state
        output, state = advance(tensorflow.constant(x), state)
        return np.asarray(output)

    def restart() -> None:
        nonlocal state
        state = start

    return step, restart


def write(network: Network, folder: Path) -> None:
    """model.keras"""
    _model(network).save(folder / "model.keras")
