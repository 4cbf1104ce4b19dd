"""Configuration of cells shown by layers, the keywords of an input shape, and models whose input shape is known."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import numba_lstm as nl
from numba_lstm.errors import ConfigError, NumbaLSTMError, ShapeError


def test_a_layer_shows_the_configuration_of_its_cell() -> None:
    layer = nl.LSTM(4, "relu", dropout=0.25, recurrent_dropout=0.5, implementation=2, kernel_regularizer="l2", seed=5)
    own = {"name", "dtype", "dialect", "trainable"}
    for name in inspect.signature(nl.LSTMCell).parameters.keys() - own:
        assert getattr(layer, name) is getattr(layer.cell, name) or name == "seed"
        with pytest.raises(ConfigError, match=f"{name} cannot be assigned"):
            setattr(layer, name, getattr(layer, name))
    assert (layer.activation, layer.units, layer.dropout, layer.seed) == ("relu", 4, 0.25, 5)
    assert layer.state_size == [4, 4] and nl.RNN([nl.LSTMCell(3), nl.LSTMCell(2)]).state_size == [[3, 3], [2, 2]]


def test_initial_states_of_layers() -> None:
    layer, x = nl.LSTM(4, dtype="float64"), np.zeros((5, 7, 3))
    for states in (layer.get_initial_state(x), layer.get_initial_state(5), layer.get_initial_state(batch_size=5)):
        assert [state.shape for state in states] == [(5, 4), (5, 4)] and states[0].dtype == np.float64
        np.testing.assert_array_equal(layer(x, states), layer(x))
    turned = nl.LSTM(4, time_major=True).get_initial_state(x)
    assert turned[0].shape == (7, 4)
    stack = nl.RNN([nl.LSTMCell(3), nl.LSTMCell(2)]).get_initial_state(x)
    assert [[state.shape for state in pair] for pair in stack] == [[(5, 3), (5, 3)], [(5, 2), (5, 2)]]
    with pytest.raises(ConfigError, match="got neither inputs nor batch_size"):
        layer.get_initial_state()
    with pytest.raises(ShapeError, match=r"inputs have shape \(3,\); expected \(batch, timesteps, input_dim\)"):
        layer.get_initial_state(np.zeros(3))


def test_frozen_cells() -> None:
    cell = nl.LSTMCell(3, trainable=False)
    assert not cell.trainable and cell.get_config()["trainable"] is False
    assert not nl.LSTMCell.from_config(cell.get_config()).trainable
    layer = nl.RNN(cell)
    assert layer.trainable and not nl.Bidirectional(layer).backward_layer.cells[0].trainable


# As Keras 2.15 has them: measured, like those of Keras 3.
SHAPES: list[tuple[Any, Any]] = [
    (lambda **kw: nl.LSTM(4, input_shape=(7, 3), **kw), (None, 7, 3)),
    (lambda **kw: nl.LSTM(4, input_shape=[None, 3], **kw), (None, None, 3)),
    (lambda **kw: nl.LSTM(4, input_shape=(7, 3), batch_input_shape=(2, 8, 4), **kw), (2, 8, 4)),
    (lambda **kw: nl.Dense(2, input_dim=3, **kw), (None, 3)),
    (lambda **kw: nl.Dense(2, input_shape=(5, 3), **kw), (None, 5, 3)),
    (lambda **kw: nl.Masking(input_shape=(5, 3), **kw), (None, 5, 3)),
    (lambda **kw: nl.Bidirectional(nl.LSTM(3, **kw), input_shape=(7, 3)), (None, 7, 3)),
    (lambda **kw: nl.TimeDistributed(nl.Dense(3, **kw), input_shape=(7, 3)), (None, 7, 3)),
    (lambda **kw: nl.RNN(nl.LSTMCell(3, **kw), input_shape=(7, 3)), (None, 7, 3)),
    (lambda **kw: nl.Embedding(5, 4, input_shape=(7,), **kw), (None, 7)),
]
OLDER: list[tuple[Any, Any]] = [
    (lambda **kw: nl.LSTM(4, input_dim=3, **kw), (None, None, 3)),
    (lambda **kw: nl.LSTM(4, input_dim=3, input_length=7, **kw), (None, 7, 3)),
    (lambda **kw: nl.LSTM(4, input_shape=(7, 3), input_dim=5, **kw), (None, 7, 3)),
    (lambda **kw: nl.LSTM(4, batch_size=2, input_shape=(7, 3), **kw), (2, 7, 3)),
    (lambda **kw: nl.Embedding(5, 4, input_length=7, **kw), (None, 7)),
]


@pytest.mark.parametrize("dialect", ["tf1", "keras2", "keras3"])
def test_keywords_of_the_input_shape(dialect: str) -> None:
    for make, shape in SHAPES if dialect == "keras3" else SHAPES + OLDER:
        model = nl.Sequential([make(dialect=dialect)])
        assert model.input_shape == shape
        assert nl.Sequential.from_config(model.get_config()).input_shape == shape
        assert [weight.shape for weight in model.get_weights()] == [w.shape for w in model.layers[0].get_weights()]
        assert len(model.get_weights()) == len(model.weight_names())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nl.LSTM(3, input_shape=3), r"input_shape is 3; expected axes after the batch, such as \(None, 8\)$"),
        (lambda: nl.Dense(3, input_length=4), "Dense has no input_length in TensorFlow 1.15; expected input_shape="),
        (lambda: nl.LSTM(3, input_length=4, dialect="keras3"), "LSTM has no input_length in Keras 3"),
        (lambda: nl.LSTM(3, batch_size=4, dialect="keras3"), "LSTM has no batch_size in Keras 3"),
        (lambda: nl.Sequential([nl.LSTM(3, input_dim=4, dialect="keras3")]), r"input_shape is \(None, 4\); expected"),
        (lambda: nl.Sequential([nl.LSTM(3, input_shape=(7, 3)), nl.LSTM(3)]), r"lstm_1: .*let the layer before"),
    ],
)
def test_shapes_that_are_refused(make: Any, message: str) -> None:
    with pytest.raises(NumbaLSTMError, match=message):
        make()


def layers(seed: int | None = 3, **first: Any) -> list[nl.Layer]:
    return [
        nl.LSTM(4, return_sequences=True, seed=seed, **first),
        nl.BatchNormalization(),
        nl.Bidirectional(nl.RNN([nl.LSTMCell(3, seed=seed), nl.LSTMCell(2, seed=seed)])),
        nl.Dense(2),
    ]


def same(model: nl.Sequential, other: nl.Sequential) -> bool:
    return [w.tobytes() for w in model.get_weights()] == [w.tobytes() for w in other.get_weights()]


def test_weights_of_a_known_shape_are_there_at_once_with_the_bits_of_a_build() -> None:
    def made(seed: int | None, **first: Any) -> nl.Sequential:
        model = nl.Sequential(layers(**first))
        if seed is not None:
            model.reseed(seed)
        return model

    built = made(8)
    built.build((None, 7, 3))
    model = made(8, input_shape=(7, 3))
    assert same(model, built) and model.count_params() == built.count_params()
    assert model.output_shape == (None, 2)
    # What was looked at stays, as what was built does.
    model.reseed(9)
    assert same(model, built)
    given = layers(input_shape=(7, 3))
    model = nl.Sequential(given)
    assert given[0].cells[0].kernel.shape == (3, 16) and given[2].layer.cells[1].kernel.shape == (3, 8)
    given[3].bias = [5.0, 6.0]
    assert model.get_weights()[-1].tolist() == [5.0, 6.0]
    first = nl.Sequential(layers())
    first.build((None, 7, 3))
    assert [w.tobytes() for w in model.layers[2].get_weights()] == [w.tobytes() for w in first.layers[2].get_weights()]


def test_nothing_is_drawn_before_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(nl.LSTMCell, "_initial", lambda self, index, name, *_: drawn.append(name))
    model = nl.Sequential(layers(input_shape=(7, 3)))
    cells = [np.ones((3, 16)), np.ones((4, 16)), np.ones(16)]
    model.layers[0].set_weights(cells)
    assert model.layers[0].get_weights()[0].shape == (3, 16)
    model.reseed(3)
    assert drawn == [] and not model.layers[2].built


def test_a_model_may_be_saved_as_soon_as_its_shape_is_known(tmp_path: Any) -> None:
    model = nl.Sequential(layers(input_shape=(7, 3)))
    nl.save(model, tmp_path / "m.npz")
    assert same(nl.load(tmp_path / "m.npz"), model)


def test_layers_that_are_added_one_by_one() -> None:
    whole = nl.Sequential(layers(input_shape=(7, 3)))
    whole.reseed(4)
    model = nl.Sequential()
    for layer in layers(input_shape=(7, 3)):
        model.add(layer)
    model.reseed(4)
    assert same(model, whole)
    called = nl.Sequential([nl.LSTM(4, return_sequences=True)])
    called(np.ones((2, 7, 3)))
    called.add(nl.Dense(2))
    assert called.get_weights()[-2].shape == (4, 2) and called.output_shape == (None, 7, 2)
    with pytest.raises(ShapeError, match="let the layer before"):
        whole.add(nl.LSTM(2))
    assert len(whole.layers) == 4


def test_another_shape_than_the_one_that_is_known() -> None:
    model = nl.Sequential([nl.LSTM(4, input_shape=(7, 3))])
    model.build((None, 5, 6))
    assert model.input_shape == (None, 5, 6) and model.layers[0].cells[0].input_dim == 6
