"""RNN and LSTM: every option against the oracle, states, masks of dropout, and each message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import naive
import numpy as np
import pytest
from numpy.typing import NDArray
from support.recurrent import BATCH, CLOSE, INPUT_DIM, TIMESTEPS, UNITS, random_weights

import numba_lstm as nl
from numba_lstm.errors import ConfigError, DeviceError, DTypeError, NumbaLSTMError, ShapeError
from numba_lstm.semantics.dialects import DIALECTS

Array = NDArray[Any]


@pytest.fixture
def weights(rng: np.random.Generator) -> list[Array]:
    return random_weights(rng)


@pytest.fixture
def x(rng: np.random.Generator) -> Array:
    return rng.normal(size=(BATCH, TIMESTEPS, INPUT_DIM)).astype(np.float32)


@pytest.fixture
def mask() -> NDArray[np.bool_]:
    """Holes at the start, in the middle and at the end; a full row; a row of nothing."""
    rows = ["1111111", "0110100", "0000000", "1011110"]
    return np.array([[step == "1" for step in row] for row in rows])


def layer(weights: list[Array], kind: str = "rnn", dtype: str = "float32", **options: Any) -> nl.RNN:
    made: nl.RNN
    if kind == "lstm":
        made = nl.LSTM(UNITS, dtype=dtype, **options)
    else:
        dialect = options.get("dialect", "tf1")
        made = nl.RNN(nl.LSTMCell(UNITS, dtype=dtype, dialect=dialect), dtype=dtype, **options)
    made.set_weights(weights)
    return made


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["rnn", "lstm"])
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("masked", ["no mask", "mask", "zeros"])
def test_sequences_match_the_oracle(
    x: Array, weights: list[Array], mask: Array, dtype: str, kind: str, go_backwards: bool, masked: str
) -> None:
    step_mask = None if masked == "no mask" else mask
    zeros = masked == "zeros"
    y, h, c = naive.sequence(x, weights, step_mask=step_mask, go_backwards=go_backwards, zero_output_for_mask=zeros)
    options: dict[str, Any] = {"go_backwards": go_backwards, "zero_output_for_mask": zeros, "return_state": True}
    whole = layer(weights, kind, dtype, return_sequences=True, **options)(x, mask=step_mask)
    last = layer(weights, kind, dtype, **options)(x, mask=step_mask)
    assert [array.dtype for array in whole + last] == [np.dtype(dtype)] * 6
    for value, truth in zip(whole + last, [y, h, c, y[:, -1], h, c], strict=True):
        np.testing.assert_allclose(value, truth, **CLOSE[dtype])


def test_default_activations_are_those_of_the_v1_class(x: Array, weights: list[Array]) -> None:
    y, _, _ = naive.sequence(x, weights, recurrent_activation="hard_sigmoid_keras3")
    np.testing.assert_allclose(layer(weights, dialect="keras3")(x), y[:, -1], **CLOSE["float32"])


def test_initial_state(x: Array, weights: list[Array], rng: np.random.Generator) -> None:
    h0, c0 = rng.normal(size=(2, BATCH, UNITS))
    y, h, c = naive.sequence(x, weights, h0, c0)
    rnn = layer(weights, dtype="float64", return_state=True)
    for states in ([h0, c0], (h0, c0), np.stack([h0, c0]), [[h0, c0]], [h0.tolist(), c0.tolist()]):
        for value, truth in zip(rnn(x, initial_state=states), [y[:, -1], h, c], strict=True):
            np.testing.assert_allclose(value, truth, **CLOSE["float64"])


def test_time_major_swaps_the_first_two_axes(x: Array, weights: list[Array], mask: Array) -> None:
    options: dict[str, Any] = {"return_sequences": True, "return_state": True, "go_backwards": True}
    y, h, c = layer(weights, **options)(x, mask=mask)
    swapped = layer(weights, time_major=True, **options)(x.swapaxes(0, 1), mask=mask.T)
    for value, same in zip(swapped, [y.swapaxes(0, 1), h, c], strict=True):
        np.testing.assert_array_equal(value, same)
    last = layer(weights, time_major=True)(x.swapaxes(0, 1))
    np.testing.assert_array_equal(last, layer(weights)(x))


def test_unroll_with_go_backwards_puts_the_zeros_where_keras_does(x: Array, weights: list[Array], mask: Array) -> None:
    options: dict[str, Any] = {"return_sequences": True, "go_backwards": True}
    repeated = layer(weights, **options)(x, mask=mask)
    unrolled = layer(weights, zero_output_for_mask=True, unroll=True, **options)(x, mask=mask)
    np.testing.assert_array_equal(unrolled, np.where(mask[:, :, None], repeated, 0))
    # In every other combination unroll changes nothing.
    plain = layer(weights, zero_output_for_mask=True, return_sequences=True)(x, mask=mask)
    np.testing.assert_array_equal(
        layer(weights, zero_output_for_mask=True, return_sequences=True, unroll=True)(x, mask=mask), plain
    )


def test_masked_steps_do_not_matter_even_if_they_are_nan(x: Array, weights: list[Array], mask: Array) -> None:
    rnn = layer(weights, return_sequences=True, return_state=True)
    spoiled = np.where(mask[:, :, None], x, np.nan)
    for value, clean in zip(rnn(spoiled, mask=mask), rnn(x, mask=mask), strict=True):
        np.testing.assert_array_equal(value, clean)


def test_masks_of_other_kinds(x: Array, weights: list[Array], mask: Array) -> None:
    rnn = layer(weights)
    for same in (mask.astype(int), mask * 0.5, mask[:, :, None], mask.tolist(), np.asfortranarray(mask)):
        np.testing.assert_array_equal(rnn(x, mask=same), rnn(x, mask=mask))


@pytest.mark.parametrize(
    ("guise", "tolerance"),
    [
        (lambda x: x.astype("f8"), 0),
        (lambda x: x.astype(">f4"), 0),
        (np.asfortranarray, 0),
        (lambda x: np.repeat(x, 2, axis=2)[:, :, ::2], 0),
        (lambda x: x[::-1, ::-1].copy()[::-1, ::-1], 0),
        (lambda x: x.tolist(), 0),
        (lambda x: x.astype("f2"), 1e-2),
        (lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape), 0),
    ],
)
def test_inputs_in_other_guises(
    x: Array, weights: list[Array], guise: Callable[[Array], Any], tolerance: float
) -> None:
    rnn = layer(weights, return_sequences=True)
    np.testing.assert_allclose(rnn(guise(x)), rnn(x), rtol=0, atol=tolerance)


def test_integers_and_booleans_are_cast(weights: list[Array], rng: np.random.Generator) -> None:
    whole = rng.integers(0, 2, (BATCH, TIMESTEPS, INPUT_DIM))
    rnn = layer(weights)
    for dtype in ("i8", "i4", "u1", "?"):
        np.testing.assert_array_equal(rnn(whole.astype(dtype)), rnn(whole.astype("f4")))


def test_empty_batch_and_single_timestep(x: Array, weights: list[Array]) -> None:
    y, h, c = layer(weights, return_sequences=True, return_state=True)(x[:0])
    assert y.shape == (0, TIMESTEPS, UNITS) and h.shape == c.shape == (0, UNITS)
    one = layer(weights)(x[:, :1])
    np.testing.assert_allclose(one, naive.sequence(x[:, :1], weights)[1], **CLOSE["float32"])


def test_precision_computes_in_another_dtype(x: Array, weights: list[Array]) -> None:
    rnn = layer(weights)
    y = rnn(x, precision="float64")
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, naive.sequence(x, weights)[1], **CLOSE["float64"])
    np.testing.assert_array_equal(layer(weights, dtype="float64")(x, precision="float32"), rnn(x))


# -- stateful --


@pytest.mark.parametrize("dialect", DIALECTS)
def test_stateful_goes_on_where_it_ended(x: Array, weights: list[Array], dialect: Any) -> None:
    whole = layer(weights, dialect=dialect, return_sequences=True)(x)
    rnn = layer(weights, dialect=dialect, return_sequences=True, stateful=True)
    np.testing.assert_array_equal(np.concatenate([rnn(x[:, :3]), rnn(x[:, 3:])], axis=1), whole)
    rnn.reset_states()
    np.testing.assert_array_equal(rnn(x), whole)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_stateful_with_initial_state(x: Array, weights: list[Array], dialect: Any) -> None:
    given = [np.full((BATCH, UNITS), 0.5, np.float32)] * 2
    plain = layer(weights, dialect=dialect)
    rnn = layer(weights, dialect=dialect, stateful=True, return_state=True)
    first, h, c = rnn(x, initial_state=given)
    np.testing.assert_array_equal(first, plain(x, initial_state=given))
    # Keras 2 heeds a given state only while what it recorded is zero.
    expected = plain(x, initial_state=[h, c] if dialect == "keras2" else given)
    np.testing.assert_array_equal(rnn(x, initial_state=given)[0], expected)
    rnn.reset_states()
    np.testing.assert_array_equal(rnn(x, initial_state=given)[0], first)


def test_reset_states_to_given_ones(x: Array, weights: list[Array]) -> None:
    given = [np.full((BATCH, UNITS), 0.5)] * 2
    rnn = layer(weights, stateful=True)
    rnn.reset_states(given)
    np.testing.assert_array_equal(rnn(x), layer(weights)(x, initial_state=given))


def test_recorded_states_are_the_layers_own(x: Array, weights: list[Array]) -> None:
    rnn = layer(weights, stateful=True, return_state=True)
    _, h, _ = rnn(x)
    kept = h.copy()
    h[:] = np.nan
    assert rnn.states is not None
    np.testing.assert_array_equal(rnn.states[0], kept)


def test_stateful_batch_is_fixed_until_reset(
    x: Array, weights: list[Array], one_line: Callable[[pytest.ExceptionInfo[BaseException]], str]
) -> None:
    rnn = layer(weights, stateful=True)
    rnn(x)
    with pytest.raises(
        ShapeError, match=r"inputs have 3 rows; expected 4, .*batch_size=4\) .*reset_states\(\)"
    ) as raised:
        rnn(x[:3])
    one_line(raised)
    rnn.reset_states()
    rnn(x[:3])
    built = layer(weights, stateful=True)
    built.build((2, None, INPUT_DIM))
    with pytest.raises(ShapeError, match="inputs have 4 rows; expected 2"):
        built(x)


# -- dropout --


def dropout_layer(kind: str, dialect: Any, implementation: int = 2, **options: Any) -> nl.RNN:
    arguments = {"dropout": 0.4, "recurrent_dropout": 0.3, "implementation": implementation, "seed": 5}
    if kind == "lstm":
        return nl.LSTM(UNITS, dialect=dialect, **arguments, **options)
    return nl.RNN(nl.LSTMCell(UNITS, dialect=dialect, **arguments), dialect=dialect, **options)


@pytest.mark.parametrize("implementation", [1, 2])
def test_given_masks_match_the_oracle(
    x: Array, weights: list[Array], rng: np.random.Generator, implementation: int
) -> None:
    drop = (rng.random((4, BATCH, INPUT_DIM)) < 0.7) / 0.7
    recurrent = (rng.random((4, BATCH, UNITS)) < 0.6) / 0.6
    rnn = nl.RNN(nl.LSTMCell(UNITS, implementation=implementation, dtype="float64"), dtype="float64")
    rnn.set_weights(weights)
    count = 4 if implementation == 1 else 1
    _, h, _ = naive.sequence(x, weights, mask=drop[:count], recurrent_mask=recurrent[:count])
    for given in (drop, [drop]):
        y = rnn(x, training=True, dropout_mask=given, recurrent_dropout_mask=recurrent)
        np.testing.assert_allclose(y, h, **CLOSE["float64"])


@pytest.mark.parametrize(
    ("kind", "dialect", "renewed"),
    [
        ("rnn", "tf1", False),
        ("lstm", "tf1", True),
        ("rnn", "keras2", True),
        ("lstm", "keras2", True),
        ("rnn", "keras3", True),
        ("lstm", "keras3", True),
    ],
)
def test_when_masks_are_renewed(x: Array, weights: list[Array], kind: str, dialect: Any, renewed: bool) -> None:
    rnn = dropout_layer(kind, dialect)
    rnn.set_weights(weights)
    first, second = rnn(x, training=True), rnn(x, training=True)
    assert np.array_equal(first, second) is not renewed
    again = dropout_layer(kind, dialect)
    again.set_weights(weights)
    np.testing.assert_array_equal(again(x, training=True), first)
    assert not np.array_equal(rnn(x), first)


def test_cutting_a_batch_never_changes_a_mask(x: Array, weights: list[Array]) -> None:
    rnn = dropout_layer("rnn", "tf1")
    rnn.set_weights(weights)
    whole = rnn(x, training=True, first_row=10)
    parts = [rnn(x[i : i + 1], training=True, first_row=10 + i) for i in range(BATCH)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert not np.array_equal(rnn(x, training=True), whole)


def test_keras3_lstm_fails_where_keras_does(
    x: Array, one_line: Callable[[pytest.ExceptionInfo[BaseException]], str]
) -> None:
    lstm = nl.LSTM(UNITS, dropout=0.4, implementation=1, dialect="keras3")
    with pytest.raises(
        ConfigError, match=r"fails in Keras 3 when training=True; use implementation=2, or RNN"
    ) as raised:
        lstm(x, training=True)
    one_line(raised)
    lstm(x)
    lstm(x, training=True, dropout_mask=np.ones((4, BATCH, INPUT_DIM)))
    nl.LSTM(UNITS, dropout=0.4, implementation=1, dialect="tf1")(x, training=True)


# -- messages --

Z = np.zeros((BATCH, UNITS))


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"x": 0.0}, ShapeError, r"inputs has shape \(\); expected \(batch, timesteps, input_dim\)"),
        ({"x": np.zeros((7, 3))}, ShapeError, r"inputs has shape \(7, 3\); expected \(batch, timesteps, input_dim\)"),
        (
            {"x": np.zeros((4, 7, 2))},
            ShapeError,
            r"inputs have shape \(4, 7, 2\); expected 3 features in the last axis",
        ),
        ({"x": np.zeros((4, 0, 3))}, ShapeError, r"inputs have shape \(4, 0, 3\); expected one timestep or more"),
        ({"x": np.zeros((4, 7, 3), complex)}, DTypeError, r"inputs has dtype complex128; expected floats"),
        ({"x": np.full((4, 7, 3), "a")}, DTypeError, r"inputs has dtype str; expected floats"),
        ({"x": [[[1.0, 2.0]], [[1.0]]]}, ShapeError, r"inputs has rows of unequal length"),
        ({"mask": np.ones((4, 6))}, ShapeError, r"mask has shape \(4, 6\); expected \(4, 7\) = \(batch, timesteps\)"),
        ({"mask": np.ones(7)}, ShapeError, r"mask has shape \(7,\); expected \(4, 7\)"),
        ({"mask": np.full((4, 7), "a")}, DTypeError, r"mask has dtype str; expected booleans"),
        (
            {"initial_state": np.ones((BATCH, TIMESTEPS), bool)},
            ShapeError,
            r"initial_state: booleans came, as in a mask \(batch, timesteps\); expected .*; give a mask as mask=$",
        ),
        ({"initial_state": [[True] * 2] * 2}, ShapeError, r"give a mask as mask=$"),
        ({"initial_state": [Z]}, ShapeError, r"initial_state: 1 states came; expected 2 = h and c of the cell"),
        ({"initial_state": [Z, Z, Z]}, ShapeError, r"initial_state: 3 states came; expected 2"),
        ({"initial_state": 5}, ShapeError, r"initial_state: states are a int; expected 2"),
        (
            {"initial_state": [Z, Z[:1]]},
            ShapeError,
            r"state 1 \(c\) has shape \(1, 5\); expected \(4, 5\) = \(batch, units\)",
        ),
        ({"initial_state": [Z[:, :4], Z]}, ShapeError, r"state 0 \(h\) has shape \(4, 4\); expected \(4, 5\)"),
        ({"dropout_mask": np.ones((4, 4, 2))}, ShapeError, r"dropout_mask has shape \(4, 4, 2\); expected \(4, 4, 3\)"),
        ({"dropout_mask": np.ones((2, 4, 3))}, ShapeError, r"dropout_mask has shape \(2, 4, 3\); expected \(4, 4, 3\)"),
        ({"recurrent_dropout_mask": np.ones((4, 4, 3))}, ShapeError, r"recurrent_dropout_mask has shape \(4, 4, 3\)"),
        ({"training": "yes"}, ConfigError, r"training is 'yes'; expected True or False"),
        ({"first_row": -1}, ConfigError, r"first_row is -1; expected an integer from 0"),
        ({"device": "tpu"}, DeviceError, r"device is 'tpu'; expected 'auto', 'cpu' or 'cuda'"),
        ({"precision": "tf32"}, DeviceError, r"precision is 'tf32', which needs CUDA kernels"),
        ({"precision": "int8"}, DeviceError, r"precision is 'int8'; expected None, 'float32', 'float64' or 'bf16'"),
    ],
)
def test_messages_of_a_call(
    x: Array,
    weights: list[Array],
    change: dict[str, Any],
    error: type[NumbaLSTMError],
    text: str,
    one_line: Callable[[pytest.ExceptionInfo[BaseException]], str],
) -> None:
    arguments = {"x": x, **change}
    with pytest.raises(error, match=text) as raised:
        layer(weights)(arguments.pop("x"), **arguments)
    one_line(raised)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nl.RNN("cell"), r"cell is 'cell'; expected an LSTMCell, a list of them or StackedRNNCells"),
        (lambda: nl.RNN(nl.LSTMCell(2), unroll=1), r"unroll is 1; expected True or False"),
        (lambda: nl.LSTM(2, time_major=True, dialect="keras3"), r"time_major is True; Keras 3 has no such argument"),
        (lambda: nl.LSTM(2, name=""), r"name is ''; expected a string that is not empty, or None"),
        (lambda: nl.LSTM(2, dtype="float16"), r"dtype is 'float16'; expected 'float32' or 'float64'"),
        (lambda: nl.LSTM(2, dialect="keras4"), r"dialect is 'keras4'; expected one of 'tf1', 'keras2', 'keras3'"),
        (lambda: nl.LSTM(2, activity_regularizer="l3"), r"activity_regularizer 'l3' is unknown"),
        (lambda: nl.LSTM(2).reset_states(), r"lstm keeps no states to reset; expected a layer with stateful=True"),
        (lambda: nl.LSTM(2).count_params(), r"lstm has no weights yet; .* call build\(input_shape\)"),
        (lambda: nl.LSTM(2).build((None, 3)), r"input_shape is \(None, 3\); expected \(batch, timesteps, input_dim\)"),
        (lambda: nl.LSTM(2).build((None, None, None)), r"input_shape is \(None, None, None\); expected \(batch"),
        (lambda: nl.LSTM(2).build("abc"), r"input_shape is 'abc'; expected the batch axis and the others"),
        (
            lambda: nl.LSTM(2).set_weights([np.ones((3, 8))]),
            r"got 1 weights; expected 3: kernel, recurrent_kernel, bias",
        ),
    ],
)
def test_messages_of_the_arguments(
    make: Callable[[], Any], text: str, one_line: Callable[[pytest.ExceptionInfo[BaseException]], str]
) -> None:
    with pytest.raises((ConfigError, ShapeError), match=text) as raised:
        make()
    one_line(raised)


# -- shapes and weights --


def test_shapes_names_and_weights(weights: list[Array]) -> None:
    rnn = nl.LSTM(UNITS, return_sequences=True, return_state=True)
    assert rnn.get_weights() == [] and not rnn.built
    rnn.build((None, None, INPUT_DIM))
    assert rnn.units == UNITS and 0 <= rnn.seed < 2**64
    assert rnn.count_params() == 4 * UNITS * (INPUT_DIM + UNITS + 1)
    assert rnn.weight_names() == ["kernel", "recurrent_kernel", "bias"]
    assert rnn.output_shape((None, 6, 3)) == [(None, 6, UNITS), (None, UNITS), (None, UNITS)]
    assert nl.RNN(nl.LSTMCell(2), time_major=True).output_shape((6, None, 3)) == (None, 2)
    rnn.set_weights(weights)
    for value, same in zip(rnn.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(value, same)


def test_the_first_call_builds(x: Array) -> None:
    rnn = nl.LSTM(UNITS, seed=3)
    y = rnn(x)
    np.testing.assert_allclose(y, naive.sequence(x, rnn.get_weights())[1], **CLOSE["float32"])
    again = nl.LSTM(UNITS, seed=3)
    np.testing.assert_array_equal(again(x), y)


def test_losses_and_constraints(x: Array, weights: list[Array]) -> None:
    rnn = nl.LSTM(UNITS, kernel_regularizer="l2", bias_constraint="non_neg", activity_regularizer="l2")
    rnn.set_weights(weights)
    rnn(x)
    assert rnn.losses == pytest.approx([0.01 * float((weights[0].astype(float) ** 2).sum())])
    rnn.apply_constraints()
    assert rnn.get_weights()[2].min() == 0
