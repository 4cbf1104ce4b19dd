"""The layers around an LSTM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import naive
import numpy as np
import pytest
from numpy.typing import NDArray
from support.recurrent import CLOSE

import numba_lstm as nl
from numba_lstm.errors import ConfigError, DTypeError, ShapeError
from numba_lstm.layers import (
    InputLayer,
    LastTimestep,
    ReverseTimesteps,
    SpatialDropout1D,
    layer_from_config,
    supported_layers,
)

Array = NDArray[Any]


@pytest.fixture
def x(rng: np.random.Generator) -> Array:
    return rng.normal(size=(4, 6, 3)).astype(np.float32)


# -- Dense, Activation, TimeDistributed --


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", [None, "relu", "tanh", "softmax"])
@pytest.mark.parametrize("use_bias", [True, False])
def test_dense_matches_the_oracle(
    x: Array, rng: np.random.Generator, dtype: str, activation: str | None, use_bias: bool
) -> None:
    weights = [rng.normal(size=(3, 5)), rng.normal(size=5)][: 1 + use_bias]
    dense = nl.Dense(5, activation, use_bias=use_bias, dtype=dtype)
    dense.set_weights(weights)
    truth = naive.dense(x, *(w.astype(dtype) for w in weights), activation=activation or "linear")
    y = dense(x)
    assert y.dtype == np.dtype(dtype)
    np.testing.assert_allclose(y, truth, **CLOSE[dtype])
    np.testing.assert_array_equal(nl.TimeDistributed(dense)(x), y)
    np.testing.assert_array_equal(dense(x[:, 2]), y[:, 2])
    np.testing.assert_allclose(dense(x, precision="float64"), truth, rtol=1e-5, atol=1e-6)


def test_dense_sums_do_not_depend_on_the_neighbours(rng: np.random.Generator) -> None:
    x = rng.normal(size=(37, 300)).astype(np.float32)
    dense = nl.Dense(11, "softmax")
    whole = dense(x)
    for rows in (slice(0, 1), slice(5, 22), slice(36, 37), slice(None, None, 3)):
        np.testing.assert_array_equal(dense(x[rows]), whole[rows])


def test_dense_weights(x: Array) -> None:
    dense = nl.Dense(5, kernel_initializer="ones", bias_initializer="ones", kernel_regularizer="l2")
    assert dense.get_weights() == [] and dense.losses == [] and dense.output_shape((None, 6, 3)) == (None, 6, 5)
    dense.build((None, 6, 3))
    assert dense.weight_names() == ["kernel", "bias"] and dense.count_params() == 20
    np.testing.assert_allclose(dense(x), 1 + np.repeat(x.sum(-1, keepdims=True), 5, -1), rtol=1e-5)
    assert dense.losses == pytest.approx([0.15])
    dense.get_weights()[0][:] = 7
    assert dense.get_weights()[0][0, 0] == 1
    kept = nl.Dense(2, kernel_constraint="non_neg", bias_constraint="non_neg")
    kept.set_weights([[[1.0, -1.0]], [-2.0, 2.0]])
    assert kept([[1.0]]).tolist() == [[-1.0, 1.0]]
    kept.apply_constraints()
    assert kept([[1.0]]).tolist() == [[1.0, 2.0]]
    seeded = [nl.Dense(5) for _ in range(3)]
    for dense, number in zip(seeded, (0, 0, 1), strict=True):
        dense.reseed(8, number)
        dense.build((None, 3))
    first, same, other = (dense.get_weights()[0] for dense in seeded)
    assert np.array_equal(first, same) and not np.array_equal(first, other)


def test_weights_of_layers_that_have_none_or_anothers() -> None:
    assert nl.Masking().get_weights() == [] and nl.Masking().count_params() == 0
    inner = nl.Dense(2, kernel_regularizer="l2", kernel_constraint="non_neg")
    each = nl.TimeDistributed(inner)
    each.set_weights([[[1.0, -2.0]], [0.0, 0.0]])
    assert each.weight_names() == ["kernel", "bias"] and each.losses == pytest.approx([0.05])
    each.apply_constraints()
    assert each.get_weights()[0].tolist() == [[1.0, 0.0]]


def test_initializers_may_be_functions() -> None:
    dense = nl.Dense(2, kernel_initializer=lambda shape, dtype: np.full(shape, 3, dtype), bias_initializer=None)
    dense.build((None, 1))
    assert dense.get_weights()[0].tolist() == [[3.0, 3.0]]
    assert dense.get_weights()[1].shape == (2,)


def test_activation(x: Array) -> None:
    np.testing.assert_allclose(nl.Activation("softmax")(x), naive.softmax(x.astype(float)), rtol=1e-6)
    np.testing.assert_array_equal(nl.Activation(None)(x), x)
    np.testing.assert_array_equal(nl.Activation("relu")(x[:, 0]), np.maximum(x[:, 0], 0))


def test_time_distributed_over_a_sequence_layer(x: Array) -> None:
    inner = nl.LSTM(2)
    x4 = np.stack([x, 2 * x], axis=1)
    y = nl.TimeDistributed(inner)(x4)
    assert y.shape == (4, 2, 2)
    np.testing.assert_array_equal(y[:, 1], inner(2 * x))
    words = nl.TimeDistributed(nl.Embedding(5, 2))
    assert words(np.ones((2, 3, 4), int)).shape == (2, 3, 4, 2)


# -- masks: Masking, Embedding --


def test_masking(x: Array) -> None:
    x[1, 2:4] = -1
    x[2, 5, 0] = -1
    masking = nl.Masking(-1)
    y = masking(x)
    mask = masking.compute_mask(x)
    assert mask is not None and (~mask).sum() == 2 and not mask[1, 2:4].any()
    np.testing.assert_array_equal(y, np.where(mask[:, :, None], x, 0))
    given = np.ones((4, 6), bool)
    given[0, 0] = False
    np.testing.assert_array_equal(masking.compute_mask(x, given), mask)  # the layer's own takes its place, as in Keras
    x[0, 0] = np.nan
    assert np.isnan(masking(x)[0, 0]).all()


def test_embedding() -> None:
    embedding = nl.Embedding(4, 2, mask_zero=True)
    table = np.arange(8).reshape(4, 2)
    embedding.set_weights([table])
    indices = np.array([[3, 0, 1], [0, 0, 2]])
    for given in (indices, indices.astype("u1"), indices.astype(float), indices.tolist()):
        np.testing.assert_array_equal(embedding(given), table[indices])
    for mask in (None, np.zeros((2, 3), bool), np.ones((2, 3), bool)):  # the layer's own takes its place, as in Keras
        np.testing.assert_array_equal(embedding.compute_mask(indices, mask), indices != 0)
    assert embedding(indices, precision="float64").dtype == np.float64
    assert embedding.output_shape((None, 3)) == (None, 3, 2) and embedding.count_params() == 8
    assert nl.Embedding(4, 2).compute_mask(indices, np.ones((2, 3), bool)) is None
    fresh = nl.Embedding(4, 2)(indices)
    assert np.abs(fresh).max() <= 0.05


# -- Dropout --


@pytest.mark.parametrize("make", [nl.Dropout, SpatialDropout1D])
def test_dropout_drops_only_when_training(make: type[nl.Dropout], rng: np.random.Generator) -> None:
    x = rng.normal(size=(50, 6, 40)).astype(np.float32)
    layer = make(0.25, seed=3)
    np.testing.assert_array_equal(layer(x), x)
    first, second = layer(x, training=True), layer(x, training=True)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(make(0.25, seed=3)(x, training=True), first)
    kept = first != 0
    np.testing.assert_allclose(first[kept], x[kept] * np.float32(1 / 0.75), rtol=1e-6)
    assert 0.7 < kept.mean() < 0.8
    if make is SpatialDropout1D:
        assert (kept == kept[:, :1]).all()
    np.testing.assert_array_equal(make(0.25, seed=3)(x[7:20], training=True, first_row=7), first[7:20])
    assert layer.seed == 3


def test_dropout_rates(x: Array) -> None:
    np.testing.assert_array_equal(nl.Dropout(0)(x, training=True), x)
    assert not nl.Dropout(1, dialect="keras3")(x, training=True).any()
    with pytest.raises(ConfigError, match=r"dropout: rate is 1.0; TensorFlow 1.15 trains only with rates below 1"):
        nl.Dropout(1)(x, training=True)


def test_dropped_numbers_are_zero_even_if_they_were_nan() -> None:
    y = nl.Dropout(0.5, seed=1)(np.full((1, 100), np.nan), training=True)
    assert 0 < (y == 0).sum() < 100


# -- shapes --


def test_repeat_vector_and_flatten(x: Array) -> None:
    repeated = nl.RepeatVector(5)(x[:, 0])
    assert repeated.shape == (4, 5, 3) and (repeated == x[:, :1]).all()
    assert nl.RepeatVector(5).output_shape((None, 3)) == (None, 5, 3)
    np.testing.assert_array_equal(nl.Flatten()(x), x.reshape(4, 18))
    channels_first = nl.Flatten(data_format="channels_first")(x)
    np.testing.assert_array_equal(channels_first, x.swapaxes(1, 2).reshape(4, 18))
    assert nl.Flatten().output_shape((None, 6, 3)) == (None, 18)
    assert nl.Flatten().output_shape((None, None, 3)) == (None, None)
    np.testing.assert_array_equal(InputLayer((6, 3))(x), x)
    assert InputLayer((6, 3), batch_size=2).batch_input_shape == (2, 6, 3)


def test_masks_end_where_keras_does_not_support_them(x: Array) -> None:
    mask = np.ones((4, 6), bool)
    for dialect in ("tf1", "keras2"):
        with pytest.raises(ConfigError, match=r"flatten: Flatten does not support masking, and a mask came; put"):
            nl.Flatten(dialect=dialect).compute_mask(x, mask)
    assert nl.Flatten(dialect="keras3").compute_mask(x, mask) is None
    assert nl.Dense(2).compute_mask(x, mask) is mask
    assert nl.LSTM(2).compute_mask(x, mask) is None
    assert nl.LSTM(2, return_sequences=True).compute_mask(x, mask) is mask
    assert nl.Bidirectional(nl.LSTM(2)).compute_mask(x, mask) is None


# -- messages --


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nl.Dense(0), r"units is 0; expected an integer from 1 to 65536"),
        (lambda: nl.Dense(2, "swoosh"), r"activation 'swoosh' is unknown in TensorFlow 1.15; expected one of"),
        (lambda: nl.Dense(2, "gelu"), r"activation 'gelu' is unknown in TensorFlow 1.15 .*'keras2' and 'keras3'"),
        (lambda: nl.Dense(2)(np.ones(3)), r"dense: inputs have shape \(3,\); expected \(batch, ..., input_dim\)"),
        (
            lambda: (dense := nl.Dense(2))(np.ones((2, 3))) is dense(np.ones((2, 4))),
            r"dense: inputs have shape \(2, 4\); expected \(batch, ..., 3\) = \(batch, ..., input_dim\)",
        ),
        (lambda: nl.Masking().set_weights([1]), r"masking: 1 arrays of weights came; expected none"),
        (lambda: nl.Dense(2).count_params(), r"dense has no weights yet; expected a built layer"),
        (lambda: nl.Dense(2).set_weights([]), r"dense: 0 arrays of weights came; expected 2 = \[kernel, bias\]"),
        (
            lambda: nl.Dense(2).set_weights([np.ones((3, 4)), np.ones(2)]),
            r"kernel has shape \(3, 4\); expected \(3, 2\)",
        ),
        (
            lambda: nl.Dense(2).set_weights([np.ones(3), np.ones(2)]),
            r"kernel has shape \(3,\); expected \(input_dim, units\)",
        ),
        (
            lambda: nl.Dense(65536).build((None, 2**20)),
            r"kernel would have shape .*; expected at most 2147483648 elements",
        ),
        (lambda: nl.Dense(2).build((None, None)), r"dense: input_dim is None; expected an integer"),
        (lambda: nl.Dropout(1.5), r"rate of Dropout is 1.5; expected a number from 0 to 1"),
        (
            lambda: nl.Dropout(0.5, noise_shape=(3, 1)),
            r"noise_shape is \(3, 1\); expected None in the place of the batch",
        ),
        (
            lambda: nl.Dropout(0.5, noise_shape=(None, 2))(np.ones((2, 3)), training=True),
            r"noise_shape is \(None, 2\) for inputs of shape \(2, 3\); expected one entry an axis",
        ),
        (lambda: nl.Masking(np.inf), r"mask_value is inf; expected a finite number"),
        (
            lambda: nl.Masking()(np.ones((2, 3))),
            r"masking: inputs have shape \(2, 3\); expected \(batch, timesteps, input",
        ),
        (lambda: nl.Embedding(3, 2)([[0, 3]]), r"inputs hold 3 at index \(0, 1\); expected indices from 0 to 2"),
        (lambda: nl.Embedding(3, 2)([[0, -1]]), r"inputs hold -1 at index \(0, 1\); expected indices from 0 to 2"),
        (lambda: nl.Embedding(3, 2)([[0.5]]), r"inputs hold 0.5 at index \(0, 0\); expected whole numbers"),
        (lambda: nl.Embedding(3, 2)([[np.nan]]), r"inputs hold nan at index \(0, 0\); expected indices"),
        (lambda: nl.Embedding(3, 2)(1), r"embedding: inputs are one number; expected indices \(batch, timesteps\)"),
        (lambda: nl.Embedding(3, 2)([["a"]]), r"inputs have dtype .*; expected integers, the indices of rows"),
        (
            lambda: nl.Embedding(3, 2).set_weights([np.ones((2, 2))]),
            r"embeddings has shape \(2, 2\); expected \(3, 2\)",
        ),
        (lambda: nl.RepeatVector(0), r"n is 0; expected an integer from 1"),
        (
            lambda: nl.RepeatVector(2)(np.ones((2, 3, 4))),
            r"inputs have shape \(None, 3, 4\); expected \(batch, features\)",
        ),
        (lambda: nl.Flatten(data_format="last"), r"data_format is 'last'; expected one of 'channels_last'"),
        (lambda: nl.TimeDistributed("dense"), r"layer of TimeDistributed is 'dense'; expected a layer"),
        (
            lambda: nl.TimeDistributed(nl.LSTM(2, stateful=True)),
            r"stateful or return_state set; expected a layer without",
        ),
        (
            lambda: nl.TimeDistributed(nl.Dense(2))(np.ones((2, 3))),
            r"inputs have shape \(2, 3\); expected \(batch, timesteps, ...\)",
        ),
        (lambda: InputLayer(), r"InputLayer has no shape; expected input_shape or batch_input_shape"),
        (
            lambda: layer_from_config({"class_name": "Lambda", "config": {}}),
            r"layer Lambda holds code, which is never run",
        ),
        (
            lambda: layer_from_config({"class_name": "GRU", "config": {}}),
            r"layer 'GRU' is not supported; expected some of: Act",
        ),
        (lambda: layer_from_config({"class_name": "LSTMCell", "config": {}}), r"layer 'LSTMCell' is not supported"),
        (
            lambda: layer_from_config("LSTM"),
            r"a layer's entry is 'LSTM'; expected a mapping with class_name and config",
        ),
        (lambda: layer_from_config({"class_name": "LSTM", "config": 3}), r"config of 'LSTM' is 3; expected a mapping"),
        (
            lambda: nl.Dense.from_config({"units": 2, "bogus": 1}),
            r"Dense has the unknown argument 'bogus'; expected some of",
        ),
        (
            lambda: nl.LSTM.from_config({"units": 2, "bogus": 1}),
            r"LSTM has the unknown argument 'bogus'; expected some of",
        ),
        (
            lambda: nl.Dense.from_config({"units": 2, "quantization_config": {"mode": "int8"}}),
            r"quantization_config of Dense is .*, which is not supported; expected none",
        ),
        (lambda: nl.LSTM.from_config("units"), r"a configuration is 'units'; expected a mapping"),
        (lambda: nl.LSTM.from_config({}), r"the configuration of LSTM lacks units; expected its value there"),
        (
            lambda: nl.RNN.from_config({"cell": {"class_name": "GRUCell", "config": {}}}),
            r"cell 'GRUCell' is not supported",
        ),
        (
            lambda: InputLayer.from_config({"batch_input_shape": [None, 3, 2], "ragged": True}),
            r"ragged of InputLayer is True; expected False; give padded arrays and a mask",
        ),
    ],
)
def test_messages(
    make: Callable[[], Any], text: str, one_line: Callable[[pytest.ExceptionInfo[BaseException]], str]
) -> None:
    with pytest.raises((ConfigError, ShapeError, DTypeError), match=text) as raised:
        make()
    one_line(raised)


@pytest.mark.parametrize("time_major", [False, True])
def test_choosing_timesteps(x: Array, time_major: bool) -> None:
    given, axis = (x.swapaxes(0, 1), 0) if time_major else (x, 1)
    mask = np.ones(given.shape[:2], bool)
    last, turned = LastTimestep(time_major=time_major), ReverseTimesteps(time_major=time_major)
    assert np.array_equal(last(given), x[:, -1]) and last.compute_mask(given, mask) is None
    assert np.array_equal(turned(given), np.flip(given, axis)) and turned.compute_mask(given, mask) is mask
    assert last.output_shape(given.shape) == last(given).shape and turned.output_shape(given.shape) == given.shape
    assert (
        layer_from_config({"class_name": "LastTimestep", "config": last.get_config()}).get_config()["time_major"]
        is time_major
    )
    for layer in (last, turned):
        assert not layer.in_keras
        with pytest.raises(ShapeError, match=r"inputs have shape \(2, 3\); expected \(batch, timesteps, features\)"):
            layer(np.ones((2, 3)))


def test_what_is_supported() -> None:
    assert supported_layers() == [
        "Activation",
        "BatchNormalization",
        "Bidirectional",
        "Dense",
        "Dropout",
        "Embedding",
        "Flatten",
        "InputLayer",
        "LSTM",
        "LastTimestep",
        "LayerNormalization",
        "Masking",
        "RNN",
        "RepeatVector",
        "ReverseTimesteps",
        "SpatialDropout1D",
        "TimeDistributed",
    ]
