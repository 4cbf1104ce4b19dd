"""Sequential: calls, predict, rows of a larger batch, weights, configurations, and each message."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import naive
import numpy as np
import pytest
from numpy.typing import NDArray
from support.paths import DATA
from support.recurrent import CLOSE

import numba_lstm as nl
from numba_lstm import driver
from numba_lstm.errors import ConfigError, DeviceError, DTypeError, ShapeError
from numba_lstm.layers import InputLayer

Array = NDArray[Any]


@pytest.fixture
def x(rng: np.random.Generator) -> Array:
    return rng.normal(size=(6, 8, 3)).astype(np.float32)


def model(*options: str, dtype: str = "float64", **lstm: Any) -> nl.Sequential:
    """A small model of each kind of layer asked for, with fixed weights."""
    layers: dict[str, Callable[[], Any]] = {
        "masking": lambda: nl.Masking(dtype=dtype),
        "sequence": lambda: nl.LSTM(5, return_sequences=True, dtype=dtype, **lstm),
        "bidirectional": lambda: nl.Bidirectional(nl.LSTM(4, return_sequences=True, dtype=dtype, **lstm)),
        "last": lambda: nl.LSTM(4, dtype=dtype, **lstm),
        "states": lambda: nl.LSTM(4, return_state=True, dtype=dtype, **lstm),
        "dense": lambda: nl.Dense(2, "softmax", dtype=dtype),
        "dropout": lambda: nl.Dropout(0.4, dtype=dtype),
        "words": lambda: nl.Embedding(10, 3, mask_zero=True, dtype=dtype),
    }
    made = nl.Sequential([layers[option]() for option in options])
    made.reseed(11)
    made.build((None, None) if options[0] == "words" else (None, None, 3))
    return made


# -- calls --


def test_a_model_matches_the_oracle(x: Array) -> None:
    x[2, 3:] = 0
    made = model("masking", "sequence", "bidirectional", "last", "dense")
    a, fb, last, dense = (layer.get_weights() for layer in made.layers[1:])
    mask = (x != 0).any(axis=-1)
    y, _, _ = naive.sequence(x, a, step_mask=mask)
    y, _ = naive.bidirectional(y, fb[:3], fb[3:], step_mask=mask)
    _, h, _ = naive.sequence(y, last, step_mask=mask)
    np.testing.assert_allclose(made(x), naive.dense(h, *dense, activation="softmax"), **CLOSE["float64"])


def test_a_model_of_words(rng: np.random.Generator) -> None:
    words = rng.integers(0, 10, (5, 7))
    words[1, 4:] = 0
    made = model("words", "last")
    table, *weights = made.get_weights()
    _, h, _ = naive.sequence(table[words], weights, step_mask=words != 0)
    np.testing.assert_allclose(made(words), h, **CLOSE["float64"])
    np.testing.assert_array_equal(made.predict(words, batch_size=2), made(words))
    assert made.takes_indices and made.input_dim is None and made.input_shape == (None, None)
    np.testing.assert_array_equal(made.predict(words[0], windows=(3, 1))[1], made(words[:1, 1:4])[0])


def test_states_of_the_last_layer_are_returned_and_others_are_not(x: Array) -> None:
    y, h, c = model("sequence", "states")(x)
    assert y.shape == h.shape == c.shape == (6, 4)
    inner = nl.Sequential([nl.LSTM(4, return_state=True), nl.Dense(2)])
    assert inner(x).shape == (6, 2)


def test_masks_given_to_a_model(x: Array) -> None:
    mask = np.arange(8) < np.array([8, 3, 0, 5, 1, 8])[:, None]
    made = model("sequence", "last")
    a, b = (layer.get_weights() for layer in made.layers)
    y, _, _ = naive.sequence(x, a, step_mask=mask)
    _, h, _ = naive.sequence(y, b, step_mask=mask)
    np.testing.assert_allclose(made(x, mask=mask), h, **CLOSE["float64"])


def test_precision(x: Array) -> None:
    single, double = model("last", "dense", dtype="float32"), model("last", "dense")
    assert single.dtype == "float32" and double.dtype == "float64"
    double.set_weights(single.get_weights())
    np.testing.assert_array_equal(single(x, precision="float64"), double(x))
    np.testing.assert_array_equal(double.predict(x, precision="float32"), single.predict(x))


# -- predict --


@pytest.mark.parametrize("options", [("last", "dense"), ("bidirectional",), ("sequence", "states")])
def test_batches_change_no_bit(x: Array, options: tuple[str, ...]) -> None:
    made = model(*options, dtype="float32")
    whole = made.predict(x)
    for size in (1, 4, 6, 100):
        parts = made.predict(x, batch_size=size)
        if isinstance(whole, list):
            for part, same in zip(parts, whole, strict=True):
                np.testing.assert_array_equal(part, same)
        else:
            np.testing.assert_array_equal(parts, whole)


def test_lengths(x: Array) -> None:
    lengths = np.array([8, 3, 0, 5, 1, 8])
    made = model("sequence", "last")
    y = made.predict(x, lengths=lengths)
    np.testing.assert_array_equal(y, made(x, mask=np.arange(8) < lengths[:, None]))
    np.testing.assert_array_equal(made.predict(x, lengths=lengths.tolist(), batch_size=4), y)
    for row, length in enumerate(lengths):
        if length:
            np.testing.assert_array_equal(made(x[row : row + 1, :length])[0], y[row])
    # The mask that the layer makes from zeros and the given lengths apply together.
    x[0, 6:] = 0
    masked = model("masking", "last")
    np.testing.assert_array_equal(masked.predict(x, lengths=lengths)[0], masked(x[:1, :6])[0])


@pytest.mark.parametrize("options", [("last",), ("sequence", "dense"), ("sequence", "states")])
def test_windows(x: Array, options: tuple[str, ...]) -> None:
    made = model(*options, dtype="float32")
    record = x.reshape(48, 3)
    for length, stride in ((5, 1), (7, 4), (48, 1)):
        cut = np.stack([record[i : i + length] for i in range(0, 48 - length + 1, stride)])
        for size in (None, 10):
            given = made.predict(record, window=length, stride=stride, batch_size=size)
            for value, same in zip(given, made(cut), strict=True):
                np.testing.assert_array_equal(value, same)
    batch = made.predict(x, windows=[3, 2])
    rows = [made.predict(row, windows=(3, 2)) for row in x]
    if isinstance(batch, list):
        assert all(np.array_equal(entry[1], row) for entry, row in zip(batch, rows[1], strict=True))
    else:
        np.testing.assert_array_equal(batch, np.stack(rows))


def test_windows_are_not_copied(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    made = model("last", dtype="float32")
    record = rng.normal(size=(200, 3)).astype(np.float32)
    seen: list[Array] = []
    run = driver.sequences

    def spy(inputs: Array, *more: Any) -> Any:
        seen.append(inputs)
        return run(inputs, *more)

    monkeypatch.setattr(driver, "sequences", spy)
    made.predict(record, windows=(50, 1))
    assert seen[0].shape == (151, 50, 3) and np.shares_memory(seen[0], record)


def test_empty_batches(x: Array) -> None:
    assert model("sequence", "dense").predict(x[:0]).shape == (0, 8, 2)
    assert model("last").predict(x[:0], batch_size=3, lengths=np.zeros(0, int)).shape == (0, 4)


# -- rows of a larger batch --


def test_rows_are_as_if_all_ran_together(x: Array) -> None:
    made = model("sequence", "bidirectional", "dropout", "last", "dense", dropout=0.3, recurrent_dropout=0.2)
    options: dict[str, Any] = {"training": True, "return_state": True, "draw": 3}
    whole, states = made.run_rows(x, **options)
    assert len(states) == 2 * len(made.state_units) == 8 and made.state_units == [5, 4, 4, 4]
    for rows in (slice(0, 1), slice(2, 5), slice(5, 6)):
        part, part_states = made.run_rows(x[rows], first_row=rows.start, **options)
        np.testing.assert_array_equal(part, whole[rows])
        for state, same in zip(part_states, states, strict=True):
            np.testing.assert_array_equal(state, same[rows])
    np.testing.assert_array_equal(made.run_rows(x, **options)[0], whole)
    assert not np.array_equal(made.run_rows(x, **{**options, "draw": 4})[0], whole)
    assert made.run_rows(x)[1] == []


def test_rows_go_on_from_given_states(x: Array) -> None:
    made = model("sequence", "last")
    whole, end = made.run_rows(x, return_state=True)
    _, middle = made.run_rows(x[:, :5], return_state=True)
    value, states = made.run_rows(x[:, 5:], initial_state=middle, return_state=True)
    np.testing.assert_array_equal(value, whole)
    for state, same in zip(states, end, strict=True):
        np.testing.assert_array_equal(state, same)


def test_rows_time_major_and_last_only(x: Array) -> None:
    made = model("sequence")
    mask = np.arange(8) < np.array([8, 3, 0, 5, 1, 8])[:, None]
    y, _ = made.run_rows(x, mask=mask)
    np.testing.assert_array_equal(made.run_rows(x.swapaxes(0, 1), mask=mask.T, time_major=True)[0], y.swapaxes(0, 1))
    np.testing.assert_array_equal(made.run_rows(x, mask=mask, last_only=True)[0], y[:, -1])
    swapped = model("sequence", "last", time_major=True)
    plain = model("sequence", "last")
    np.testing.assert_array_equal(swapped.run_rows(x)[0], plain(x))
    np.testing.assert_array_equal(swapped(x.swapaxes(0, 1)), plain(x))
    np.testing.assert_array_equal(swapped.predict(x.swapaxes(0, 1), batch_size=4), plain(x))
    lengths = np.array([8, 3, 0, 5, 1, 8])
    np.testing.assert_array_equal(swapped.predict(x.swapaxes(0, 1), lengths=lengths), plain.predict(x, lengths=lengths))
    assert swapped.input_shape == (None, None, 3) and swapped.output_shape == (None, 4)
    both = model("sequence", "bidirectional", time_major=True)  # of which the whole sequence is made
    y, _ = naive.bidirectional(
        naive.sequence(x, both.layers[0].get_weights(), step_mask=mask)[0],
        *(both.layers[1].get_weights()[part] for part in (slice(3), slice(3, 6))),
        step_mask=mask,
    )
    for time_major in (False, True):
        given = (x.swapaxes(0, 1), mask.T) if time_major else (x, mask)
        options = {"mask": given[1], "time_major": time_major}
        np.testing.assert_allclose(both.run_rows(given[0], last_only=True, **options)[0], y[:, -1], **CLOSE["float64"])
        whole = both.run_rows(given[0], **options)[0]
        np.testing.assert_allclose(whole, y.swapaxes(0, 1) if time_major else y, **CLOSE["float64"])
    assert model("sequence", time_major=True).output_shape == (None, None, 5)


def test_rows_of_a_stateful_model_are_independent(x: Array) -> None:
    made = model("last", stateful=True)
    first = made(x)
    np.testing.assert_array_equal(made.run_rows(x)[0], first)
    np.testing.assert_array_equal(made.run_rows(x[:2])[0], first[:2])
    assert not np.array_equal(made(x), first)
    made.reset_states()
    np.testing.assert_array_equal(made(x), first)


def test_rows_of_a_model_that_returns_states(x: Array) -> None:
    made = model("sequence", "states")
    np.testing.assert_array_equal(made.run_rows(x)[0], made(x)[0])


# -- shapes, weights, names --


def test_shapes_and_weights() -> None:
    made = model("sequence", "bidirectional", "dense")
    assert made.input_shape == (None, None, 3) and made.input_dim == 3 and made.output_shape == (None, None, 2)
    assert made.count_params() == sum(w.size for w in made.get_weights()) == 4 * 5 * 9 + 2 * 4 * 4 * 10 + 18
    assert made.weight_names()[:4] == [
        "lstm/kernel",
        "lstm/recurrent_kernel",
        "lstm/bias",
        "bidirectional/forward/kernel",
    ]
    fresh = nl.Sequential(
        [nl.LSTM(5, return_sequences=True), nl.Bidirectional(nl.LSTM(4, return_sequences=True)), nl.Dense(2)]
    )
    assert fresh.input_shape is None and fresh.output_shape is None
    fresh.set_weights(made.get_weights())
    assert fresh.input_shape == (None, None, 3)
    for value, same in zip(fresh.get_weights(), made.get_weights(), strict=True):
        np.testing.assert_array_equal(value, same.astype(np.float32))
    assert model("states").output_shape == [(None, 4), (None, 4), (None, 4)]


def test_names_are_made_unique() -> None:
    made = nl.Sequential(
        [nl.LSTM(2, return_sequences=True), nl.LSTM(2, return_sequences=True), nl.LSTM(2), nl.Dense(2)]
    )
    assert [layer.name for layer in made.layers] == ["lstm", "lstm_1", "lstm_2", "dense"]


def test_a_seed_settles_everything(x: Array) -> None:
    def drawn(seed: int) -> list[Array]:
        made = nl.Sequential([nl.LSTM(4, dropout=0.5, return_sequences=True), nl.Dropout(0.5), nl.LSTM(4), nl.Dense(2)])
        made.reseed(seed)
        return [made(x, training=True), made(x, training=True), *made.get_weights()]

    for value, same in zip(drawn(3), drawn(3), strict=True):
        np.testing.assert_array_equal(value, same)
    first, second, *weights = drawn(3)
    assert not np.array_equal(first, second)
    assert not np.array_equal(weights[0][:3], weights[3][:3])
    assert not np.array_equal(drawn(4)[0], first)


def test_penalties_and_constraints(x: Array) -> None:
    made = nl.Sequential(
        [nl.LSTM(2, kernel_regularizer="l2"), nl.Dense(2, kernel_regularizer="l1", bias_constraint="non_neg")]
    )
    assert made.losses == []
    made(x)
    assert len(made.losses) == 2
    made.apply_constraints()


# -- configurations --


@pytest.mark.parametrize("dialect", ["tf1", "keras2", "keras3"])
def test_configurations_go_round(x: Array, dialect: Any) -> None:
    made = nl.Sequential(
        [nl.LSTM(4, return_sequences=True, dialect=dialect), nl.LSTM(2, dialect=dialect), nl.Dense(2, dialect=dialect)],
        name="mine",
    )
    y = made(x)
    config = json.loads(json.dumps(made.get_config()))
    again = nl.Sequential.from_config(config)
    assert again.get_config() == config and again.dialect == dialect and again.name == "mine"
    # The timesteps of a first call are none that the model was made for.
    assert again.input_shape == (None, None, 3)
    again.set_weights(made.get_weights())
    np.testing.assert_array_equal(again(x), y)


def test_input_layers_tell_the_shape() -> None:
    made = nl.Sequential([InputLayer((None, 3)), nl.LSTM(2)])
    assert made.input_shape == (None, None, 3) and [layer.name for layer in made.layers] == ["lstm"]
    made.build()
    assert made.count_params() == 48
    config = {"name": "a", "layers": nl.Sequential([nl.LSTM(2)]).get_config()["layers"]}
    assert nl.Sequential.from_config({**config, "build_input_shape": [None, 4, 3]}).input_shape == (None, 4, 3)
    assert nl.Sequential([nl.LSTM(2, batch_input_shape=(None, 4, 3))]).output_shape == (None, 2)


# -- messages --


def two(**options: Any) -> nl.Sequential:
    return nl.Sequential([nl.LSTM(2, return_sequences=True, **options), nl.LSTM(2, **options)])


X = np.ones((2, 4, 3))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nl.Sequential()(X), r"sequential has no layers; expected one or more"),
        (lambda: nl.Sequential(["lstm"]), r"layer is 'lstm'; expected a layer, such as LSTM\(32\)"),
        (
            lambda: nl.Sequential([nl.LSTM(2), nl.Dense(2, dialect="keras3")]),
            r"dense is of the dialect 'keras3'; expected 'tf1'",
        ),
        (
            lambda: nl.Sequential([nl.LSTM(2, name="a"), nl.Dense(2, name="a")]),
            r"two layers named 'a'; expected each name once",
        ),
        (
            lambda: nl.Sequential([nl.LSTM(2), InputLayer((3, 2))]),
            r"InputLayer .* comes late; expected it first and once",
        ),
        (
            lambda: nl.Sequential([nl.LSTM(2)]).build(),
            r"the input shape is not known; call build\(\(None, timesteps, input_dim",
        ),
        (
            lambda: nl.Sequential([nl.LSTM(2), nl.LSTM(2)])(X),
            r"lstm_1: input_shape is \(None, 2\); expected .*let the layer before",
        ),
        (
            lambda: nl.Sequential([nl.Bidirectional(nl.LSTM(2), None), nl.Dense(2)])(X),
            r"two outputs \(merge_mode=None\); expected one",
        ),
        (lambda: nl.Sequential([nl.Bidirectional(nl.LSTM(2), None)]).run_rows(X), r"two outputs \(merge_mode=None\)"),
        (
            lambda: nl.Sequential([nl.LSTM(2, return_sequences=True, time_major=True), nl.LSTM(2)])(X),
            r"time_major differs between the layers; expected the same",
        ),
        (
            lambda: nl.Sequential([nl.LSTM(2, time_major=True), nl.Dropout(0.5)])(X),
            r"Dropout beside layers with time_major=True is not supported",
        ),
        (lambda: two().set_weights([]), r"0 arrays of weights came; expected 6 = \[lstm/kernel"),
        (lambda: model("last")(X[:, :, :2]), r"inputs have shape \(2, 4, 2\); expected 3 features in the last axis"),
        (
            lambda: model("masking", "last")(X[:, :, :2]),
            r"inputs have shape \(2, 4, 2\); expected \(batch, timesteps, 3\)",
        ),
        (
            lambda: model("words", "last")(X.astype(int)),
            r"inputs have shape \(2, 4, 3\); expected \(batch, timesteps\)",
        ),
        (lambda: model("last")(X, mask=np.ones((2, 3))), r"sequential: mask has shape \(2, 3\); expected \(2, 4\)"),
        (
            lambda: model("last").run_rows(X, initial_state=[X]),
            r"initial_state has 1 arrays; expected 2, h and c of every cell",
        ),
        (lambda: model("last").run_rows(1.0, time_major=True), r"inputs has shape \(\); expected \(timesteps, batch"),
        (lambda: model("last").predict(X, precision="tf32"), r"precision is 'tf32', which needs CUDA kernels"),
        (lambda: model("last").predict(X, batch_size=0), r"batch_size is 0; expected an integer from 1"),
        (lambda: model("last").predict(X, lengths=[1]), r"lengths has shape \(1,\); expected \(2,\) = \(batch,\)"),
        (
            lambda: model("last").predict(X, lengths=[1.0, 2.0]),
            r"lengths has dtype float64; expected integers, one per row",
        ),
        (
            lambda: model("last").predict(X, lengths=[1, 5]),
            r"lengths is 5 in row 1; expected 0 to 4, the timesteps of x",
        ),
        (
            lambda: model("last").predict(X[0, 0], lengths=[1, 5]),
            r"x has shape \(3,\); expected \(batch, timesteps, ...\) beside",
        ),
        (lambda: model("last").predict(X, lengths=[1, 2], windows=(2, 1)), r"lengths and a window are both given"),
        (lambda: model("last").predict(X, windows=3), r"windows is 3; expected \(window, stride\), such as \(60, 1\)"),
        (lambda: model("last").predict(X, windows=(0, 1)), r"window is 0; expected an integer from 1"),
        (lambda: model("last").predict(X, windows=(2, 0)), r"stride is 0; expected an integer from 1"),
        (
            lambda: model("last").predict(X, windows=(5, 1)),
            r"x has 4 timesteps; expected 5 or more, the window",
        ),
        (
            lambda: model("last").predict(X[0, 0], windows=(1, 1)),
            r"x has shape \(3,\); expected one record \(timesteps, input_dim\)",
        ),
        (lambda: model("last").predict(X[:0], windows=(2, 1)), r"x has no records; expected one or more"),
        (
            lambda: model("last", stateful=True).predict(X, windows=(2, 1)),
            r"time_major or stateful set; windows expect neither",
        ),
        (
            lambda: nl.Sequential.from_config({"layers": 3}),
            r"Sequential's configuration is .*; expected a name and a list of layers",
        ),
        (lambda: nl.Sequential.from_config({"layer": []}), r"Sequential has the unknown argument 'layer'"),
        (lambda: nl.Sequential.from_config(3), r"a configuration is 3; expected a mapping"),
        (
            lambda: nl.Sequential.from_config([{"class_name": "Sequential", "config": {}}]),
            r"layer Sequential is a model in a model; expected the layers in one row",
        ),
    ],
)
def test_messages(
    make: Callable[[], Any], text: str, one_line: Callable[[pytest.ExceptionInfo[BaseException]], str]
) -> None:
    with pytest.raises((ConfigError, ShapeError, DTypeError, DeviceError), match=text) as raised:
        make()
    one_line(raised)


# -- the real Keras --

KERAS = np.load(DATA / "keras_layers.npz", allow_pickle=False)


@pytest.mark.parametrize("name", sorted(key.removesuffix("/config") for key in KERAS.files if key.endswith("/config")))
def test_models_of_the_real_keras(name: str) -> None:
    made = nl.Sequential.from_config(json.loads(str(KERAS[f"{name}/config"])))
    assert made.dialect == "keras2"
    made.set_weights([KERAS[f"{name}/w{i}"] for i in range(len(made.weight_names()))])
    y = made(KERAS[f"{name}/x"])
    assert y.dtype == np.float32
    # Both round in float32: some units in the last place of 1 apart.
    np.testing.assert_allclose(y, KERAS[f"{name}/y"], rtol=0, atol=1e-6)
