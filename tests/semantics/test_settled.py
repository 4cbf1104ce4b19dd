"""Assignments to cells and layers: weights take effect at once and everywhere, the configuration is refused."""

from __future__ import annotations

import copy
import inspect
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numba_lstm as nl
from numba_lstm.errors import ConfigError, DTypeError, ShapeError
from numba_lstm.layers import SpatialDropout1D

X = np.random.default_rng(5).standard_normal((3, 5, 4), np.float32)


def layers() -> dict[str, Any]:
    """Each kind of layer with weights, for inputs (3, 5, 4), and where its weights are attributes."""
    return {
        "lstm": (nl.LSTM(6, seed=1), lambda layer: layer.cell),
        "stack": (nl.RNN([nl.LSTMCell(6, seed=1), nl.LSTMCell(4, seed=2)]), lambda layer: layer.cells[1]),
        "forward": (nl.Bidirectional(nl.LSTM(6, seed=1)), lambda layer: layer.forward_layer.cell),
        "backward": (nl.Bidirectional(nl.LSTM(6, seed=1)), lambda layer: layer.backward_layer.cell),
        "dense": (nl.Dense(2), lambda layer: layer),
        "each": (nl.TimeDistributed(nl.Dense(2)), lambda layer: layer.layer),
        "batch": (nl.BatchNormalization(), lambda layer: layer),
        "layer": (nl.LayerNormalization(), lambda layer: layer),
    }


@pytest.mark.parametrize("kind", layers())
def test_weights_take_effect_at_once_and_everywhere(kind: str, tmp_path: Path) -> None:
    layer, owner_of = layers()[kind]
    model = nl.Sequential([layer])
    before = model.predict(X)
    owner = owner_of(layer)
    names = list(owner.weight_attributes())
    assert names
    for name in names:
        new = np.asarray(getattr(owner, name)) * 0.5 + 0.25
        expected = [weight.copy() for weight in model.get_weights()]
        places = [i for i, weight in enumerate(expected) if np.array_equal(weight, getattr(owner, name))]
        place = places[-1 if kind == "backward" else 0]
        expected[place] = new
        given = new.copy()
        setattr(owner, name, given)
        given += 1  # it was copied
        twin = nl.Sequential([copy.deepcopy(layer)])
        twin.set_weights(expected)
        y = model.predict(X)
        assert not np.array_equal(y, before)
        np.testing.assert_array_equal(y, twin.predict(X))
        np.testing.assert_array_equal(y, model(X))
        np.testing.assert_array_equal(layer(X), y)
        np.testing.assert_array_equal(model.get_weights()[place], expected[place])
        nl.save(model, tmp_path / "model.npz")
        np.testing.assert_array_equal(nl.load(tmp_path / "model.npz").predict(X), y)
        before = y


def test_words() -> None:
    model = nl.Sequential([nl.Embedding(5, 4), nl.LSTM(3, seed=1)])
    words = np.array([[1, 2, 4], [0, 3, 3]])
    model.predict(words)
    table = np.arange(20.0).reshape(5, 4) / 10
    model.layers[0].embeddings = table
    np.testing.assert_array_equal(model.predict(words), model.layers[1](table[words].astype(np.float32)))


def test_a_session_keeps_the_weights_it_was_made_with() -> None:
    layer = nl.LSTM(6, seed=1)
    model = nl.Sequential([layer])
    before = model.predict(X[:1, :1])
    session = model.session()
    layer.cell.kernel = layer.cell.kernel * 2
    np.testing.assert_array_equal(session.step(X[0, 0])[np.newaxis], before)
    np.testing.assert_array_equal(model.session().step(X[0, 0])[np.newaxis], model.predict(X[:1, :1]))
    assert not np.array_equal(model.predict(X[:1, :1]), before)


def test_single_steps_and_every_precision_follow() -> None:
    cell = nl.LSTMCell(6, seed=1)
    layer = nl.RNN(cell)
    states = cell.get_initial_state(batch_size=1)
    cell(X[:1, 0], states)
    layer(X, precision="float64")
    layer(X, precision="bf16")
    cell.recurrent_kernel = np.zeros((6, 24))
    cell.bias = np.full(24, 0.5)
    twin = nl.LSTMCell(6)
    twin.set_weights(cell.get_weights())
    np.testing.assert_array_equal(cell(X[:1, 0], states)[0], twin(X[:1, 0], states)[0])
    for precision in ("float32", "float64", "bf16"):
        np.testing.assert_array_equal(layer(X, precision=precision), nl.RNN(twin)(X, precision=precision))


@pytest.mark.parametrize("kind", layers())
def test_arrays_handed_out_are_read_only_or_copies(kind: str) -> None:
    layer, owner_of = layers()[kind]
    model = nl.Sequential([layer])
    y = model.predict(X)
    owner = owner_of(layer)
    for name in owner.weight_attributes():
        weight = getattr(owner, name)
        with pytest.raises(ValueError, match="read-only"):
            weight[...] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            weight.flags.writeable = True
        with pytest.raises(ValueError, match="read-only"):
            weight += 1
    for weights in (model.get_weights(), layer.get_weights()):
        for weight in weights:
            weight[...] = 0
    np.testing.assert_array_equal(model.predict(X), y)


def test_states_handed_out() -> None:
    layer = nl.LSTM(6, stateful=True, seed=1)
    assert layer.states is None
    layer(X)
    states = layer.states
    with pytest.raises(ValueError, match="read-only"):
        states[0][...] = 0
    y = layer(X)
    layer.states = states
    np.testing.assert_array_equal(layer(X), y)
    with pytest.raises(ShapeError, match="state 0"):
        layer.states = [np.zeros((3, 5)), np.zeros((3, 5))]


@pytest.mark.parametrize(
    ("assign", "error", "message"),
    [
        (lambda cell: setattr(cell, "kernel", np.zeros((3, 24))), ShapeError, r"lstm_cell: kernel has shape \(3, 24\)"),
        (lambda cell: setattr(cell, "bias", np.zeros((1, 24))), ShapeError, r"lstm_cell: bias has shape \(1, 24\)"),
        (lambda cell: setattr(cell, "kernel", None), DTypeError, "lstm_cell: kernel is a NoneType; expected an array"),
        (lambda cell: setattr(cell, "kernel", np.zeros((4, 24), complex)), DTypeError, "dtype complex128"),
        (lambda cell: setattr(cell, "trainable", 1), ConfigError, "lstm_cell: trainable is 1; expected True or False"),
        (lambda cell: setattr(cell, "kernle", 1), ConfigError, "has no kernle to assign; expected kernel or recurrent"),
        (lambda cell: delattr(cell, "kernel"), ConfigError, "kernel cannot be deleted"),
    ],
)
def test_what_is_no_weight_is_refused(assign: Any, error: type[Exception], message: str) -> None:
    cell = nl.LSTMCell(6, seed=1)
    cell.build(4)
    before = cell.get_weights()
    with pytest.raises(error, match=message):
        assign(cell)
    for weight, same in zip(cell.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, same)


def test_weights_that_are_not_there() -> None:
    with pytest.raises(ConfigError, match="has no weights yet; call build"):
        nl.LSTMCell(6).kernel = np.zeros((4, 24))
    with pytest.raises(ConfigError, match="dense has no weights yet"):
        nl.Dense(6).kernel = np.zeros((4, 6))
    with pytest.raises(AttributeError, match="has no weights yet"):
        _ = nl.Dense(6).kernel
    without = nl.LSTMCell(6, use_bias=False)
    without.build(4)
    with pytest.raises(ConfigError, match="a LSTMCell has no bias to assign"):
        without.bias = np.zeros(24)
    layer = nl.LSTM(6)
    layer(X)
    with pytest.raises(ConfigError, match=r"lstm: a LSTM has no kernel .*weights of lstm_cell are its own attributes"):
        layer.kernel = np.zeros((4, 24))
    assert not hasattr(layer, "kernel")


def test_the_configuration_is_refused_on_every_class() -> None:
    made = {
        nl.LSTMCell: nl.LSTMCell(2),
        nl.LSTM: nl.LSTM(2),
        nl.RNN: nl.RNN(nl.LSTMCell(2)),
        nl.StackedRNNCells: nl.StackedRNNCells([nl.LSTMCell(2)]),
        nl.Bidirectional: nl.Bidirectional(nl.LSTM(2)),
        nl.Dense: nl.Dense(2),
        nl.Activation: nl.Activation("tanh"),
        nl.TimeDistributed: nl.TimeDistributed(nl.Dense(2)),
        nl.Masking: nl.Masking(),
        nl.Embedding: nl.Embedding(3, 2),
        nl.Dropout: nl.Dropout(0.5),
        SpatialDropout1D: SpatialDropout1D(0.5),
        nl.RepeatVector: nl.RepeatVector(2),
        nl.Flatten: nl.Flatten(),
        nl.BatchNormalization: nl.BatchNormalization(),
        nl.LayerNormalization: nl.LayerNormalization(),
    }
    for cls, thing in made.items():
        before = thing.get_config()
        for name in (*inspect.signature(cls).parameters, "name", "dtype", "dialect", "built", "batch_input_shape"):
            if name not in ("common", "trainable"):
                with pytest.raises(
                    ConfigError, match=f"{thing.name}: {name} cannot be assigned|has no {name} to assign"
                ):
                    setattr(thing, name, 3)
        assert thing.get_config() == before
    with pytest.raises(
        ConfigError, match=r"units cannot be assigned, .*LSTMCell.from_config\(\{\*\*old.get_config\(\)"
    ):
        made[nl.LSTMCell].units = 5  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="return_sequences cannot be assigned"):
        made[nl.Bidirectional].return_sequences = True  # type: ignore[attr-defined]


def test_the_way_that_the_message_says() -> None:
    old = nl.LSTM(6, seed=1)
    old(X)
    new = nl.LSTM.from_config({**old.get_config(), "return_sequences": True})
    new.build((None, None, 4))
    new.set_weights(old.get_weights())
    np.testing.assert_array_equal(new(X)[:, -1], old(X))


def test_trainable_reaches_what_is_inside() -> None:
    both = nl.Bidirectional(nl.RNN([nl.LSTMCell(2), nl.LSTMCell(2)]))
    each = nl.TimeDistributed(nl.Dense(2))
    model = nl.Sequential([both, each])
    assert model.trainable
    model.trainable = False
    parts = [both, both.layer, both.backward_layer, *both.cells, both.layer.cell, each, each.layer]
    assert not any(part.trainable for part in parts) and not model.trainable
    both.trainable = True
    assert all(cell.trainable for cell in both.cells) and not each.trainable and model.trainable


def test_copies_are_settled_too() -> None:
    for made in (nl.Dense(2), nl.LSTM(2, seed=1), nl.Bidirectional(nl.LSTM(2, seed=1))):
        made(X)
        for twin in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
            np.testing.assert_array_equal(twin(X), made(X))
            with pytest.raises(ConfigError, match="cannot be assigned"):
                twin.name = "other"
    layer = nl.Dense(2)
    layer(X)
    twin = copy.deepcopy(layer)
    twin.kernel = np.zeros((4, 2))
    assert layer.kernel.any() and not twin(X).any()


def test_layers_of_a_model_are_a_copy() -> None:
    model = nl.Sequential([nl.LSTM(2)])
    model.layers.append(nl.Dense(1))
    assert len(model.layers) == 1


def test_models_are_settled_too() -> None:
    model = nl.Sequential([nl.LSTM(2, seed=1), nl.Dense(2)])
    y = model(X)
    for name, value in {"layers": [], "dtype": "float64", "name": "x", "input_layer": None, "built": True}.items():
        with pytest.raises(ConfigError, match=rf"^sequential: (a Sequential has no )?{name} "):
            setattr(model, name, value)
    with pytest.raises(ConfigError, match=r"layers cannot be assigned, .*Sequential.from_config.*with set_weights"):
        model.layers = []  # type: ignore[misc]
    with pytest.raises(ConfigError, match=r"has no foo to assign; expected trainable$"):
        model.foo = 1  # type: ignore[attr-defined]
    model.add(nl.Dense(1))
    model.trainable = False
    assert not model.trainable and model.get_config()["layers"]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).layers[0](X), model.layers[0](X))
    assert y.shape == (len(X), 2)
