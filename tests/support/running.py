"""Models and helpers that the tests of runs share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numba_lstm import LSTM, Bidirectional, Dense, Dropout, Sequential, run_npy, save

ROWS, TIMESTEPS, INPUT_DIM = 23, 7, 3


def a_model() -> Sequential:
    """Two layers, the first of them with dropout."""
    layers = [
        LSTM(5, return_sequences=True, dropout=0.3, recurrent_dropout=0.4, seed=1),
        Bidirectional(LSTM(4, return_sequences=True, seed=2)),
        Dense(2),
    ]
    model = Sequential(layers)
    model.reseed(11)
    model.build((None, None, INPUT_DIM))
    return model


def last_output_model() -> Sequential:
    model = Sequential([LSTM(4, seed=4)])
    model.build((None, None, INPUT_DIM))
    return model


def run(model: Any, output: str = "y.npy", inputs: Any = "x.npy", **options: Any) -> NDArray[Any]:
    run_npy(model, inputs, output, force=True, **options)
    return np.load(output)


def identical(first: NDArray[Any], second: NDArray[Any]) -> None:
    assert first.dtype == second.dtype
    assert first.shape == second.shape
    assert first.tobytes() == second.tobytes()


def write_model_and_inputs() -> None:
    """m.npz and x.npy in the current folder, (6, 5, 3) for a model with dropout."""
    model = Sequential([LSTM(4, dropout=0.5, seed=1), Dropout(0.5)])
    model.build((None, None, 3))
    save(model, "m.npz")
    np.save("x.npy", np.ones((6, 5, 3), np.float32))
