"""Random numbers of layers: each weight and each mask from a stream of its own, placed by seed, number and row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numba_lstm as nl
from numba_lstm.layers import LayerNormalization, SpatialDropout1D

UNIFORM = "random_uniform"
EVERY = {"kernel_initializer": UNIFORM, "bias_initializer": UNIFORM}
GAMMA = {"gamma_initializer": UNIFORM, "beta_initializer": UNIFORM}


def lstm(units: int) -> nl.LSTM:
    return nl.LSTM(units, return_sequences=True, recurrent_initializer=UNIFORM, unit_forget_bias=False, **EVERY)


def drawn(seed: int) -> nl.Sequential:
    cells = [nl.LSTMCell(4, recurrent_initializer=UNIFORM, unit_forget_bias=False, **EVERY) for _ in range(2)]
    layers = [
        nl.Dense(4, **EVERY),
        nl.Dense(4, **EVERY),
        nl.TimeDistributed(nl.Dense(4, **EVERY)),
        LayerNormalization(**GAMMA),
        nl.BatchNormalization(**GAMMA, moving_mean_initializer=UNIFORM, moving_variance_initializer=UNIFORM),
        nl.Bidirectional(lstm(4), merge_mode="sum"),
        nl.RNN(cells, return_sequences=True),
        nl.Dense(4, **EVERY),
    ]
    model = nl.Sequential(layers)
    model.reseed(seed)
    model.build((None, None, 4))
    return model


def test_no_two_weights_begin_with_the_same_numbers() -> None:
    weights = drawn(7).get_weights()
    assert len(weights) == 2 + 2 + 2 + 2 + 4 + 6 + 6 + 2
    assert len({weight.ravel()[:4].tobytes() for weight in weights}) == len(weights)
    # Not even the same numbers moved, or scaled.
    numbers = np.concatenate([weight.ravel()[:4] for weight in weights])
    assert len(np.unique(numbers)) == len(numbers)
    for same, other in zip(drawn(-7).get_weights(), drawn(2**64 - 7).get_weights(), strict=True):
        np.testing.assert_array_equal(same, other)
    assert not np.array_equal(weights[0], drawn(8).get_weights()[0])


@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1])
def test_the_weights_of_a_seed_stay_what_they_are(seed: int) -> None:
    """Weight number `index` of layer number `number`: NumPy's generator of these three numbers."""
    model = drawn(seed)
    for number, layer in ((0, model.layers[0]), (1, model.layers[1]), (3, model.layers[3]), (9, model.layers[7])):
        for index, weight in enumerate(layer.get_weights()):
            expected = -0.05 + 0.1 * np.random.default_rng([seed, number, index]).random(weight.shape)
            np.testing.assert_array_equal(weight, expected.astype(np.float32))


def test_equal_layers_drop_other_numbers() -> None:
    x = np.ones((3, 5, 6), np.float32)
    model = nl.Sequential(
        [nl.Dropout(0.5), SpatialDropout1D(0.5), nl.TimeDistributed(nl.Dropout(0.5)), nl.Dropout(0.5)]
    )
    model.reseed(3)
    first, _, _, last = (layer(x, training=True) for layer in model.layers)
    assert not np.array_equal(first, last)
    each = model.layers[2](x, training=True)
    assert len({row.tobytes() for row in each.reshape(15, 6)}) > 10, "each timestep has a mask of its own"


def test_a_draw_that_is_given_leaves_the_layers_own_draws_alone() -> None:
    x = np.ones((3, 5, 4), np.float32)

    def made() -> nl.Sequential:
        model = nl.Sequential([nl.Dropout(0.5), nl.LSTM(4, dropout=0.5, recurrent_dropout=0.5)])
        model.reseed(5)
        model.build((None, None, 4))
        return model

    between, alone = made(), made()
    for _ in range(3):
        between.run_rows(x, training=True, draw=7)
        np.testing.assert_array_equal(between(x, training=True), alone(x, training=True))


@pytest.mark.parametrize("inner", [nl.Dropout, SpatialDropout1D], ids=lambda layer: layer.__name__)
@pytest.mark.parametrize("first", [0, 1, 4, 7])
def test_masks_inside_time_distributed_are_placed_by_rows(inner: Any, first: int) -> None:
    shape = (8, 3, 5, 4) if inner is SpatialDropout1D else (8, 3, 4)
    x = np.ones(shape, np.float32)
    whole = nl.TimeDistributed(inner(0.5, seed=2))(x, training=True)
    part = nl.TimeDistributed(inner(0.5, seed=2))(x[first:], training=True, first_row=first)
    np.testing.assert_array_equal(part, whole[first:])
    # Row by timestep, as if the rows of a longer batch: timestep t of row r is its row r * timesteps + t.
    flat = inner(0.5, seed=2)(x.reshape(24, *shape[2:]), training=True)
    np.testing.assert_array_equal(whole, flat.reshape(shape))
    model = nl.Sequential([nl.TimeDistributed(inner(0.5, seed=2))])
    np.testing.assert_array_equal(model(x[first:], training=True, first_row=first), whole[first:])
