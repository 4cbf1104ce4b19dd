"""Small calls that take every way in which threads share work."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

import numba_lstm as nl

Call = Callable[[], bytes]


def _model(*layers: Any, input_dim: int = 5) -> Any:
    model = nl.Sequential(list(layers))
    model.build((None, None, input_dim))
    return model


def _lstm(units: int, **options: Any) -> Any:
    return nl.LSTM(units, seed=units, return_sequences=True, **options)


def _bits(result: Any) -> bytes:
    parts = result if isinstance(result, list | tuple) else [result]
    return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)


def _predict(model: Any, x: Any, **options: Any) -> Call:
    return lambda: _bits(model.predict(x, **options))


def _call(model: Any, x: Any, **options: Any) -> Call:
    return lambda: _bits(model(x, **options))


def _session(model: Any, x: Any) -> Call:
    def call() -> bytes:
        session = model.session(len(x))
        return b"".join(_bits(session.step(x[:, t])) for t in range(x.shape[1]))

    return call


def _small(model: Any, cell: Any, x: Any) -> Call:
    """Calls whose memory is kept from call to call, by these objects and by copies that have none yet."""

    def call() -> bytes:
        found = []
        for network, one in ((model, cell), copy.deepcopy((model, cell))):
            states = one.get_initial_state(batch_size=1)
            for t in range(3):
                found.append(network.predict(x[:1, t : t + 6]))
                h, states = one(x[:1, t], states)
                found += [h, states[1]]
        return _bits(found)

    return call


def paths() -> dict[str, Call]:
    """The calls by name. Each returns the same bytes whenever it returns."""
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((150, 12, 5)).astype("f")
    few, one = rows[:3], rng.standard_normal((1, 150, 5)).astype("f")
    lengths = rng.integers(0, 13, len(rows))
    record = rng.standard_normal((90, 5)).astype("f")
    plain = _model(_lstm(20))
    layer = nl.LSTM(20, seed=3, dropout=0.5, recurrent_dropout=0.5)
    layer.build((None, None, 5))
    x_mask, h_mask = (2.0 * (rng.random((4, len(rows), width)) < 0.5).astype("f") for width in (5, 20))
    return {
        "rows": _predict(plain, rows),
        "units": _predict(_model(nl.LSTM(40, seed=1)), one),
        "units of a few rows": _predict(_model(nl.LSTM(40, seed=1)), np.repeat(one, 3, axis=0)),
        "layers": _predict(_model(_lstm(24), _lstm(28), _lstm(24)), one),
        "directions": _predict(_model(nl.Bidirectional(_lstm(20))), few),
        "dense": _predict(_model(_lstm(20), nl.TimeDistributed(nl.Dense(30, "softmax"))), rows),
        "normalizations": _predict(_model(_lstm(20), nl.LayerNormalization(), nl.Activation("softplus")), rows),
        "dropout masks": _call(layer, rows, training=True, dropout_mask=x_mask, recurrent_dropout_mask=h_mask),
        "windows": _predict(plain, record, windows=(30, 1)),
        "lengths": _predict(plain, rows, lengths=lengths),
        "masks": _call(layer, rows, mask=rng.random((150, 12)) < 0.7),
        "sessions": _session(plain, rows[:, :4]),
        "small calls": _small(_model(nl.LSTM(2, seed=1), nl.Dense(3, "softmax")), nl.LSTMCell(4, seed=2), few),
    }
