"""Attributes that wrappers take from the wrapped layer, and positional arguments of calls: as in Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numba_lstm as nl
from numba_lstm.errors import ConfigError, ShapeError

X = np.random.default_rng(5).standard_normal((3, 5, 4), np.float32)


def cell(units: int = 6, **options: Any) -> nl.LSTMCell:
    return nl.LSTMCell(
        units, recurrent_activation="hard_sigmoid", **{"dtype": "float64", "dialect": "keras3"} | options
    )


WRAPPERS: dict[str, Callable[[], Any]] = {
    "rnn": lambda: nl.RNN(cell(seed=1)),
    "rnn of a list": lambda: nl.RNN([cell(seed=1), cell(5, seed=2)]),
    "rnn of a stack": lambda: nl.RNN(nl.StackedRNNCells([cell(seed=1)])),
    "stack": lambda: nl.StackedRNNCells([cell(seed=1), cell(5, seed=2)]),
    "both ways": lambda: nl.Bidirectional(nl.RNN(cell(seed=1))),
    "both ways, given": lambda: nl.Bidirectional(
        nl.RNN(cell(seed=1)), backward_layer=nl.RNN(cell(seed=2), go_backwards=True)
    ),
    "each": lambda: nl.TimeDistributed(nl.Bidirectional(nl.RNN(cell(seed=1)))),
    "one of float64": lambda: nl.RNN([cell(seed=1, dtype="float32"), cell(5, seed=2)]),
}


@pytest.mark.parametrize("kind", WRAPPERS)
def test_dtype_and_dialect_are_those_of_what_is_wrapped(kind: str) -> None:
    wrapper = WRAPPERS[kind]()
    assert (wrapper.dtype, wrapper.dialect) == ("float64", "keras3")


def test_a_cell_in_an_rnn_computes_as_it_does_alone() -> None:
    alone = cell(seed=1)
    h, c = alone.get_initial_state(batch_size=3)
    for t in range(5):
        y, [h, c] = alone(X[:, t], [h, c])
    assert y.dtype == np.float64
    np.testing.assert_array_equal(nl.RNN(alone)(X), y)
    assert nl.Sequential([nl.RNN(alone)]).dtype == "float64"


def test_unless_told_otherwise() -> None:
    assert nl.RNN(cell(), dtype=None).dtype == "float64"  # type: ignore[arg-type]
    layer = nl.RNN(cell(seed=1), dtype="float32")
    assert layer.dtype == "float32" and layer(X).dtype == np.float32
    config = {**nl.RNN(cell()).get_config(), "dtype": "float32"}
    assert nl.RNN.from_config(config).dtype == "float32"
    assert nl.RNN.from_config({**config, "dtype": None}).dtype == "float64"


@pytest.mark.parametrize(
    "make",
    [
        lambda: nl.RNN([cell(), cell(dialect="tf1")]),
        lambda: nl.Bidirectional(nl.RNN(cell()), backward_layer=nl.RNN(cell(dialect="tf1"), go_backwards=True)),
    ],
)
def test_parts_of_several_dialects(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigError, match=r"has parts of the dialects 'keras3' and 'tf1'; expected one"):
        make()


@pytest.mark.parametrize("kind", ["rnn", "both ways"])
def test_states_follow_the_inputs(kind: str) -> None:
    layer = WRAPPERS[kind]()
    rng = np.random.default_rng(1)
    states = [rng.standard_normal((3, 6)) for _ in range(2 * len(layer.cells))]
    y = layer(X, initial_state=states)
    np.testing.assert_array_equal(layer(X, states), y)
    assert not np.array_equal(layer(X), y)
    with pytest.raises(TypeError, match="positional"):
        layer(X, states, None)


def test_states_in_a_list_with_the_inputs() -> None:
    h, c = np.full((3, 6), 0.5), np.full((3, 6), -0.5)
    for dialect in ("tf1", "keras2"):
        layer = nl.LSTM(6, seed=1, dialect=dialect)  # type: ignore[arg-type]
        np.testing.assert_array_equal(layer([X, h, c]), layer(X, [h, c]))
        np.testing.assert_array_equal(layer(X.tolist()), layer(X))
    with pytest.raises(ShapeError):
        nl.LSTM(6, seed=1, dialect="keras3")([X, h, c])


def test_the_second_argument_of_a_model_is_training() -> None:
    model = nl.Sequential([nl.LSTM(6, dropout=0.5, seed=1), nl.Dropout(0.5, seed=2)])
    y = model(X)
    np.testing.assert_array_equal(model(X, False), y)
    model.reseed(3)
    dropped = model(X, True)
    assert not np.array_equal(dropped, y)
    mask = np.arange(5) < np.array([[5], [3], [1]])
    np.testing.assert_array_equal(model(X, False, mask), model(X, mask=mask))
    with pytest.raises(ConfigError, match=r"training is array.*; expected True or False"):
        model(X, mask)
    dropout = nl.Dropout(0.5, seed=2)
    assert not np.array_equal(dropout(X, True), dropout(X, False))


def test_positional_arguments_of_predict() -> None:
    model = nl.Sequential([nl.LSTM(6, seed=1)])
    y = model.predict(X)
    for arguments in ((2,), (2, "auto"), (None, 0), (None, 0, 3), (2, 1, None)):
        np.testing.assert_array_equal(model.predict(X, *arguments), y)
    with pytest.raises(TypeError, match="positional"):
        model.predict(X, 2, 0, None, [5, 5, 5])
    with pytest.raises(ConfigError, match="steps is 0; expected an integer from 1 to 3"):
        model.predict(X, steps=0)
    np.testing.assert_array_equal(model.predict(X, window=3, stride=2), model.predict(X, windows=(3, 2)))
    with pytest.raises(ConfigError, match="window and windows are both given"):
        model.predict(X, window=3, windows=(3, 2))
    with pytest.raises(ConfigError, match="stride is given without window"):
        model.predict(X, stride=2)
