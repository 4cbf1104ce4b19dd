"""A model of every kind of layer that files keep."""

from __future__ import annotations

from typing import Any

import numpy as np

import numba_lstm as nl


def rich_model(dialect: Any = "keras3", dtype: str = "float32") -> nl.Sequential:
    common = {"dialect": dialect, "dtype": dtype}
    layers = [
        nl.Embedding(7, 3, **common),
        nl.Bidirectional(nl.LSTM(4, return_sequences=True, recurrent_activation="sigmoid", **common)),
        nl.BatchNormalization(**common),
        nl.RNN([nl.LSTMCell(3, **common), nl.LSTMCell(2, use_bias=False, **common)], **common),
        nl.LayerNormalization(**common),
        nl.Dense(2, **common),
    ]
    model = nl.Sequential(layers)
    model.reseed(5)
    model.build((None, None))
    rng = np.random.default_rng(6)
    model.set_weights([weight + rng.uniform(0, 0.1, weight.shape).astype(dtype) for weight in model.get_weights()])
    return model
