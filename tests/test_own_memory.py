"""Results and weights are arrays of their own: what a caller changes later does not reach the package, nor back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numba_lstm as nl
from numba_lstm.backends.cpu import stateless
from numba_lstm.layers import InputLayer, LastTimestep, ReverseTimesteps, SpatialDropout1D

COMMON: dict[str, Any] = {"dialect": "keras2", "dtype": "float32"}
SEQUENCES: dict[str, Any] = {"return_sequences": True, **COMMON}
LAYERS: dict[str, Callable[[], Any]] = {
    "LSTM": lambda: nl.LSTM(4, seed=1, **SEQUENCES),
    "RNN": lambda: nl.RNN([nl.LSTMCell(4, seed=1, **COMMON), nl.LSTMCell(3, seed=2, **COMMON)], **SEQUENCES),
    "Bidirectional": lambda: nl.Bidirectional(nl.LSTM(4, seed=1, **SEQUENCES), **COMMON),
    "Dense": lambda: nl.Dense(3, **COMMON),
    "linear Dense": lambda: nl.TimeDistributed(nl.Dense(3, "linear", **COMMON), **COMMON),
    "LayerNormalization": lambda: nl.LayerNormalization(**COMMON),
    "BatchNormalization": lambda: nl.BatchNormalization(**COMMON),
    "linear": lambda: nl.Activation("linear", **COMMON),
    "relu": lambda: nl.Activation("relu", **COMMON),
    "Flatten": lambda: nl.Flatten(**COMMON),
    "Masking": lambda: nl.Masking(5.0, **COMMON),
    "Dropout": lambda: nl.Dropout(0.5, **COMMON),
    "SpatialDropout1D": lambda: SpatialDropout1D(0.5, **COMMON),
    "LastTimestep": lambda: LastTimestep(**COMMON),
    "ReverseTimesteps": lambda: ReverseTimesteps(**COMMON),
    "nothing": lambda: nl.Sequential([InputLayer((None, 5, 3), **COMMON), nl.Dropout(0.5, **COMMON)]),
}


def built(name: str) -> Any:
    layer = LAYERS[name]()
    layer.build((None, 5, 3))
    return layer


@pytest.mark.parametrize("name", LAYERS)
def test_outputs(name: str) -> None:
    layer, x = built(name), np.random.default_rng(1).normal(size=(2, 5, 3)).astype("f")
    before, y = x.copy(), layer(x)
    assert not np.may_share_memory(x, y)
    expected = y.copy()
    x[...] = np.nan
    np.testing.assert_array_equal(y, expected)
    y[...] = 7.0
    np.testing.assert_array_equal(layer(before), expected)
    if isinstance(layer, nl.Sequential):
        assert not np.may_share_memory(before, layer.predict(before))
        assert not np.may_share_memory(before, layer.run_rows(before)[0])


@pytest.mark.parametrize("activation", [None, "linear", "relu", "softmax"])
def test_an_activation_of_an_array(activation: str | None) -> None:
    x = np.ones((2, 3), "f")
    assert not np.may_share_memory(x, stateless.activate(activation, "keras2", x))


@pytest.mark.parametrize("name", [name for name in LAYERS if built(name).get_weights()])
def test_weights(name: str) -> None:
    layer, rng = built(name), np.random.default_rng(2)
    x = rng.normal(size=(2, 5, 3)).astype("f")
    given = [rng.random(weight.shape).astype("f") for weight in layer.get_weights()]
    layer.set_weights(given)
    before, expected = [weight.copy() for weight in given], layer(x)
    for weights in (given, layer.get_weights()):
        for weight in weights:
            weight[...] = np.nan
    for weight, kept in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)
    np.testing.assert_array_equal(layer(x), expected)
    layer.set_weights(layer.get_weights())  # packed anew
    np.testing.assert_array_equal(layer(x), expected)


def test_a_weight_that_is_assigned() -> None:
    layer, x = built("Dense"), np.ones((2, 5, 3), "f")
    kernel = np.ones((3, 3), "f")
    layer.kernel = kernel
    expected = layer(x)
    kernel[...] = np.nan
    layer.set_weights(layer.get_weights())
    np.testing.assert_array_equal(layer(x), expected)


def test_states() -> None:
    layer = nl.LSTM(4, seed=1, return_state=True, stateful=True, **COMMON)
    x, states = np.ones((2, 5, 3), "f"), [np.ones((2, 4), "f"), np.ones((2, 4), "f")]
    first = layer(x, initial_state=states)
    arrays = [x, *states, *first, *(layer.states or [])]
    assert not any(np.may_share_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])
    other = nl.LSTM(4, seed=1, return_state=True, stateful=True, **COMMON)
    other(x, initial_state=states)
    for array in (*first, *states):
        array[...] = np.nan
    np.testing.assert_array_equal(layer(x)[0], other(x)[0])
    layer.reset_states([np.ones((2, 4)), (given := np.ones((2, 4), "f"))])
    other.reset_states([np.ones((2, 4)), np.ones((2, 4))])
    given[...] = np.nan
    np.testing.assert_array_equal(layer(x)[0], other(x)[0])
