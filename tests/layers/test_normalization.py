"""layers/normalization.py: against the real Keras, against plain NumPy, and the same bits beside any neighbours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.paths import DATA
from support.selection import HALF_ULP, error

import numba_lstm as nl
from numba_lstm.backends.cpu import stateless
from numba_lstm.errors import ConfigError, ShapeError
from numba_lstm.formats import from_config
from numba_lstm.layers import layer_from_config

Array = NDArray[Any]
KERAS = {
    dialect: dict(np.load(DATA / f"keras_normalization__{dialect}.npz", allow_pickle=False))
    for dialect in ("keras2", "keras3")
}
MODELS = [(dialect, name) for dialect in KERAS for name in ("masked", "embedded", "axes")]


# -- the real Keras --


@pytest.mark.parametrize(("dialect", "name"), MODELS)
def test_models_of_the_real_keras(dialect: Any, name: str) -> None:
    keras = KERAS[dialect]
    document = json.loads(str(keras[f"{name}/json"]))
    model = from_config(document)
    assert model.dialect == dialect
    model.set_weights([keras[f"{name}/w{i}"] for i in range(len(model.weight_names()))])
    x, y, truth = (keras[f"{name}/{key}"] for key in ("x", "y", "y64"))
    assert error(model(x), truth) <= 2 * error(y, truth) + 4 * HALF_ULP
    assert error(model(x, precision="float64"), truth) <= 1e-12


@pytest.mark.parametrize(("dialect", "name"), MODELS)
def test_configurations_of_the_real_keras(dialect: Any, name: str) -> None:
    document = json.loads(str(KERAS[dialect][f"{name}/json"]))
    model = from_config(document)
    entries = {entry["config"]["name"]: entry for entry in document["config"]["layers"]}
    ours = [layer for layer in model.layers if type(layer).__name__.endswith("Normalization")]
    assert ours
    for layer in ours:
        assert layer.get_config() == entries[layer.name]["config"]
    model.build()
    for layer in ours:  # what Keras writes of a built layer is written of a built one here
        assert layer.get_config() == entries[layer.name]["config"]


# -- plain NumPy --


def batch_normalized(x: Array, axis: int, weights: list[Array], epsilon: float) -> Array:
    shape = [1] * x.ndim
    shape[axis] = -1
    gamma, beta, mean, variance = (weight.astype(np.float64).reshape(shape) for weight in weights)
    return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta


def layer_normalized(x: Array, axis: tuple[int, ...], gamma: Array, beta: Array, epsilon: float) -> Array:
    x = x.astype(np.float64)
    centered = x - x.mean(axis, keepdims=True)
    return centered / np.sqrt((centered**2).mean(axis, keepdims=True) + epsilon) * gamma + beta


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("axis", [-1, 1, [2]])
def test_batch_normalization(rng: np.random.Generator, dtype: str, axis: Any) -> None:
    x = rng.standard_normal((5, 4, 3)).astype(dtype)
    length = 4 if axis == 1 else 3
    weights = [rng.uniform(0.1, 2, length).astype(dtype) for _ in range(4)]
    layer = nl.BatchNormalization(axis, epsilon=1e-2, dtype=dtype)
    layer.set_weights(weights)
    y = layer(x)
    assert y.dtype == dtype
    truth = batch_normalized(x, axis[0] if isinstance(axis, list) else axis, weights, 1e-2)
    assert error(y, truth) < (4 * HALF_ULP if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("units", [1, 2, 31, 700])
def test_layer_normalization(rng: np.random.Generator, dtype: str, units: int) -> None:
    x = (3 + rng.standard_normal((5, 4, units))).astype(dtype)
    gamma, beta = rng.standard_normal((2, units)).astype(dtype)
    layer = nl.LayerNormalization(dtype=dtype)
    layer.set_weights([gamma, beta])
    y = layer(x)
    assert y.dtype == dtype and y.flags.c_contiguous
    # Everything but the result is float64: one rounding.
    assert error(y, layer_normalized(x, (-1,), gamma, beta, 1e-3)) < (HALF_ULP if dtype == "float32" else 1e-13)


def test_several_axes_are_normalized_together(rng: np.random.Generator) -> None:
    x = rng.standard_normal((5, 4, 3))
    gamma, beta = rng.standard_normal((2, 4, 3))
    layer = nl.LayerNormalization([1, -1], dtype="float64")
    layer.set_weights([gamma, beta])
    np.testing.assert_allclose(layer(x), layer_normalized(x, (1, 2), gamma, beta, 1e-3), rtol=0, atol=1e-14)
    middle = nl.LayerNormalization(1, dtype="float64")
    middle.set_weights([gamma[:, 0], beta[:, 0]])
    expected = layer_normalized(x, (1,), gamma[:, :1], beta[:, :1], 1e-3)
    np.testing.assert_allclose(middle(x), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("axis", [(1,), (2,), (3,), (1, 2), (2, 1), (1, 3), (3, 1), (3, 1, 2)])
def test_any_axes_of_four(rng: np.random.Generator, axis: tuple[int, ...]) -> None:
    """Gamma and beta are reshaped to the inputs' axes as in Keras, in every order of `axis`."""
    x = rng.standard_normal((2, 3, 4, 5))
    lengths = [x.shape[one] for one in axis]
    gamma, beta = rng.standard_normal((2, *lengths))
    spread = [length if one in axis else 1 for one, length in enumerate(x.shape)]
    layer = nl.LayerNormalization(list(axis), dtype="float64")
    layer.set_weights([gamma, beta])
    y = layer(x)
    truth = layer_normalized(x, axis, gamma.reshape(spread), beta.reshape(spread), 1e-3)
    np.testing.assert_allclose(y, truth, rtol=0, atol=1e-14)
    ordered = nl.LayerNormalization(sorted(axis), dtype="float64")
    ordered.set_weights([weight.reshape([length for length in spread if length > 1]) for weight in (gamma, beta)])
    assert y.tobytes() == ordered(x).tobytes()  # the sums run in the order of the features


# -- equal bits --


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_does_not_depend_on_its_neighbours(rng: np.random.Generator, dtype: Any) -> None:
    model = nl.Sequential(
        [
            nl.BatchNormalization(dtype=dtype),
            nl.LSTM(37, return_sequences=True, dtype=dtype),
            nl.LayerNormalization(dtype=dtype),
        ]
    )
    model.build((None, 9, 5))
    model.set_weights([np.abs(rng.standard_normal(weight.shape)) / 3 for weight in model.get_weights()])
    x = rng.standard_normal((67, 9, 5)).astype(dtype)
    y = model(x)
    for rows in (slice(0, 1), slice(13, 14), slice(60, 67)):
        assert np.array_equal(model(x[rows]), y[rows])
    threads = nl.get_num_threads()
    nl.set_num_threads(1)
    assert np.array_equal(model(x), y)
    nl.set_num_threads(threads)
    assert np.array_equal(model(np.asfortranarray(x)), y)


def test_the_order_of_the_sums() -> None:
    """One number after the other, in float64: repeated here in plain Python."""
    x = np.array([[1e8, 1.0, -1e8, 3.0, 1e-8, 2.0**-30]])
    total = 0.0
    for value in x[0]:
        total += value
    mean, squares = total / 6, 0.0
    for value in x[0]:
        squares += (value - mean) * (value - mean)
    factor = 1.0 / np.sqrt(squares / 6 + 1e-3)
    assert stateless.normalize_rows(x, None, None, 1e-3)[0].tolist() == [(v - mean) * factor * 1.0 + 0.0 for v in x[0]]


def test_nan_stays_in_its_row_and_nothing_warns() -> None:
    layer = nl.LayerNormalization()
    x = np.array([[1.0, np.nan], [1.0, 2.0], [np.inf, 1.0], [3e38, -3e38]], np.float32)
    assert np.isnan(layer(x)).all(axis=1).tolist() == [True, False, True, False]
    batch = nl.BatchNormalization()
    batch.set_weights([[1.0], [0.0], [0.0], [-1.0]])
    assert np.isnan(batch([[1.0]])).all() and batch.dtype == "float32"
    flat = nl.LayerNormalization(epsilon=0.0)
    assert np.isnan(flat([[2.0, 2.0]])).all()  # 0 / 0, as in Keras
    assert layer(np.zeros((0, 2))).shape == (0, 2)


# -- training, sessions, configurations, messages --


def test_training() -> None:
    x = np.ones((2, 3, 4))
    dropping = nl.Sequential([nl.BatchNormalization(trainable=False, dialect="keras3")])
    assert np.array_equal(dropping(x, training=True), dropping(x))
    assert np.array_equal(nl.LayerNormalization()(x, training=True), nl.LayerNormalization()(x))
    with pytest.raises(ConfigError, match=r"takes mean and variance of the whole batch, .*trainable=False$"):
        nl.BatchNormalization(dialect="keras3")(x, training=True)
    with pytest.raises(ConfigError, match=r"is not supported; call the model without training$"):
        nl.BatchNormalization(trainable=False)(x, training=True)


def test_sessions_refuse_them_in_one_line() -> None:
    for layer in (nl.BatchNormalization(), nl.LayerNormalization()):
        model = nl.Sequential([nl.LSTM(4, return_sequences=True, batch_input_shape=(None, None, 3)), layer])
        with pytest.raises(ConfigError, match=r"_normalization is a layer .*Normalization; expected LSTM, RNN, Dense"):
            model.session()


def test_masks_go_on() -> None:
    x, mask = np.ones((2, 3, 4), np.float32), np.ones((2, 3), bool)
    assert nl.BatchNormalization().compute_mask(x, mask) is mask
    assert nl.LayerNormalization().compute_mask(x, mask) is mask


def test_weights_and_files(tmp_path: Path) -> None:
    layers = [nl.LSTM(3), nl.BatchNormalization(scale=False), nl.LayerNormalization(center=False)]
    model = nl.Sequential([nl.BatchNormalization(name="first"), *layers])
    model.reseed(3)
    model.build((None, None, 2))
    assert model.weight_names()[:4] == [f"first/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")]
    assert model.weight_names()[-4:] == [
        "batch_normalization/beta",
        "batch_normalization/moving_mean",
        "batch_normalization/moving_variance",
        "layer_normalization/gamma",
    ]
    nl.save(model, tmp_path / "m.npz")
    x = np.arange(12.0).reshape(2, 3, 2)
    loaded = nl.load(tmp_path / "m.npz")
    assert np.array_equal(loaded(x), model(x)) and loaded.get_config() == model.get_config()


def test_penalties_and_constraints() -> None:
    layer = nl.LayerNormalization(gamma_regularizer="l2", beta_constraint="non_neg")
    layer.set_weights([[1.0, 2.0], [-1.0, 1.0]])
    assert layer.losses == pytest.approx([0.05])
    layer.apply_constraints()
    assert layer.get_weights()[1].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nl.BatchNormalization([1, 2]), r"axis of BatchNormalization is \[1, 2\]; expected one axis"),
        (lambda: nl.BatchNormalization("last"), r"axis is 'last'; expected an integer from -32 to 31"),
        (lambda: nl.LayerNormalization([]), r"axis is \[\]; expected an integer"),
        (lambda: nl.LayerNormalization(epsilon=-1), r"epsilon is -1; expected zero or more"),
        (lambda: nl.LayerNormalization(0)(np.ones((2, 3))), r"axis is 0 for inputs of 2 axes; expected one or more of"),
        (lambda: nl.LayerNormalization(2)(np.ones((2, 3))), r"axis is 2 for inputs of 2 axes; expected one or more of"),
        (lambda: nl.LayerNormalization([1, -1])(np.ones((2, 3))), r"axis is \[1, -1\] for inputs of 2 axes; expected"),
        (
            lambda: nl.BatchNormalization(1).build((None, None, 3)),
            r"inputs have shape \(None, None, 3\); expected lengths that are known along axis 1",
        ),
        (
            lambda: (layer := nl.LayerNormalization())(np.ones((2, 3))) is layer(np.ones((2, 4))),
            r"inputs have shape \(2, 4\); expected \(3,\) along axis \[1\], the shape of the weights",
        ),
        (
            lambda: nl.BatchNormalization().set_weights([[1.0], [1.0], [1.0], [1.0, 2.0]]),
            r"moving_variance has shape \(2,\); expected \(1,\) = \(length of axis,\)",
        ),
        (
            lambda: layer_from_config({"class_name": "BatchNormalization", "config": {"renorm": True}}),
            r"renorm of BatchNormalization is set, which is not supported; expected it unset",
        ),
        (
            lambda: layer_from_config({"class_name": "BatchNormalization", "config": {"virtual_batch_size": 8}}),
            r"virtual_batch_size of BatchNormalization is set, which is not supported",
        ),
        (
            lambda: layer_from_config({"class_name": "LayerNormalization", "config": {"rms_scaling": True}}),
            r"rms_scaling of LayerNormalization is True, which is not supported; expected False",
        ),
    ],
)
def test_messages(
    make: Callable[[], Any], text: str, one_line: Callable[[pytest.ExceptionInfo[BaseException]], str]
) -> None:
    with pytest.raises((ConfigError, ShapeError), match=text) as raised:
        make()
    one_line(raised)
