"""Sequences read both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import naive
import numpy as np
import pytest
from numpy.typing import NDArray
from support.recurrent import BATCH, CLOSE, INPUT_DIM, TIMESTEPS, UNITS, random_weights

import numba_lstm as nl
from numba_lstm.errors import ConfigError, ShapeError

Array = NDArray[Any]
MODES = ["concat", "sum", "mul", "ave", None]


@pytest.fixture
def both(rng: np.random.Generator) -> tuple[list[Array], list[Array]]:
    return random_weights(rng), random_weights(rng)


@pytest.fixture
def x(rng: np.random.Generator) -> Array:
    return rng.normal(size=(BATCH, TIMESTEPS, INPUT_DIM))


@pytest.fixture
def mask() -> NDArray[np.bool_]:
    return np.array([[c == "1" for c in row] for row in ("0110100", "1111111", "0000000", "1011110")])


def layer(both: tuple[list[Array], list[Array]], mode: str | None = "concat", **options: Any) -> nl.Bidirectional:
    made = nl.Bidirectional(nl.LSTM(UNITS, dtype="float64", **options), merge_mode=mode)
    made.set_weights([*both[0], *both[1]])
    return made


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("masked", [False, True])
def test_sequences_match_the_oracle(
    x: Array, both: tuple[list[Array], list[Array]], mask: Array, mode: str | None, masked: bool
) -> None:
    step_mask = mask if masked else None
    merged, states = naive.bidirectional(x, *both, merge_mode=mode, step_mask=step_mask)
    outputs = layer(both, mode, return_sequences=True, return_state=True)(x, mask=step_mask)
    truth = [*(merged if mode is None else [merged]), *states]
    for value, true in zip(outputs, truth, strict=True):
        np.testing.assert_allclose(value, true, **CLOSE["float64"])


@pytest.mark.parametrize("mode", MODES)
def test_last_outputs_match_the_oracle(
    x: Array, both: tuple[list[Array], list[Array]], mask: Array, mode: str | None
) -> None:
    forward, _, _ = naive.sequence(x, both[0], step_mask=mask)
    backward, _, _ = naive.sequence(x, both[1], step_mask=mask, go_backwards=True)
    truth = naive.merge(forward[:, -1], backward[:, -1], mode)
    np.testing.assert_allclose(layer(both, mode)(x, mask=mask), truth, **CLOSE["float64"])


def test_the_forward_layer_may_go_backwards(x: Array, both: tuple[list[Array], list[Array]]) -> None:
    forward, _, _ = naive.sequence(x, both[0], go_backwards=True)
    backward, _, _ = naive.sequence(x, both[1])
    truth = np.concatenate([forward, backward[:, ::-1]], axis=-1)
    value = layer(both, return_sequences=True, go_backwards=True)(x)
    np.testing.assert_allclose(value, truth, **CLOSE["float64"])


def test_initial_states_are_the_forward_layers_then_the_backward_layers(
    x: Array, both: tuple[list[Array], list[Array]], rng: np.random.Generator
) -> None:
    states = list(rng.normal(size=(4, BATCH, UNITS)))
    forward, _, _ = naive.sequence(x, both[0], *states[:2])
    backward, _, _ = naive.sequence(x, both[1], *states[2:], go_backwards=True)
    truth = np.concatenate([forward[:, -1], backward[:, -1]], axis=-1)
    np.testing.assert_allclose(layer(both)(x, initial_state=states), truth, **CLOSE["float64"])


def test_time_major(x: Array, both: tuple[list[Array], list[Array]], mask: Array) -> None:
    y = layer(both, return_sequences=True)(x, mask=mask)
    swapped = layer(both, return_sequences=True, time_major=True)(x.swapaxes(0, 1), mask=mask.T)
    np.testing.assert_array_equal(swapped, y.swapaxes(0, 1))


def test_the_batch_decides_what_the_directions_share(x: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    from numba_lstm import driver

    told = []

    def side_by_side(calls: Any, rows: int, work: int) -> Any:
        told.append((rows, work))
        return [call() for call in calls]

    monkeypatch.setattr(driver, "side_by_side", side_by_side)
    for time_major in (False, True):
        made = nl.Bidirectional(nl.LSTM(UNITS, dtype="float64", time_major=time_major))
        made(x.swapaxes(0, 1) if time_major else x)
    weights = 4 * UNITS * (INPUT_DIM + UNITS + 1)
    assert told == [(BATCH, BATCH * TIMESTEPS * weights)] * 2


@pytest.mark.parametrize("given", ["inputs", "states", "both", "one direction each"])
def test_dropout_masks_of_each_direction(
    x: Array, both: tuple[list[Array], list[Array]], rng: np.random.Generator, given: str
) -> None:
    drop: list[Any] = list(2 * (rng.random((2, 4, BATCH, INPUT_DIM)) < 0.5))
    recurrent: list[Any] = list(2 * (rng.random((2, 4, BATCH, UNITS)) < 0.5))
    if given == "one direction each":
        drop[1] = recurrent[0] = None
    drop = [None, None] if given == "states" else drop
    recurrent = [None, None] if given == "inputs" else recurrent
    forward, backward = (
        naive.sequence(x, weights, mask=one, recurrent_mask=other, go_backwards=backwards)[0][:, -1]
        for weights, one, other, backwards in zip(both, drop, recurrent, (False, True), strict=True)
    )
    options = {"dropout_mask": None if given == "states" else drop}
    options["recurrent_dropout_mask"] = None if given == "inputs" else recurrent
    value = layer(both)(x, training=True, **options)
    np.testing.assert_allclose(value, np.concatenate([forward, backward], axis=-1), **CLOSE["float64"])


def test_stacks_in_both_directions(x: Array, rng: np.random.Generator) -> None:
    cells = [random_weights(rng, INPUT_DIM, 3), random_weights(rng, 3, 2)] * 2
    inner = nl.RNN([nl.LSTMCell(3, dtype="float64"), nl.LSTMCell(2, dtype="float64")], dtype="float64")
    made = nl.Bidirectional(inner)
    made.set_weights([w for weights in cells for w in weights])
    forward, _ = naive.stacked(x, cells[:2])
    backward, _ = naive.stacked(x, cells[2:], go_backwards=True)
    truth = np.concatenate([forward[:, -1], backward[:, -1]], axis=-1)
    np.testing.assert_allclose(made(x), truth, **CLOSE["float64"])


def test_stateful(x: Array, both: tuple[list[Array], list[Array]]) -> None:
    made = layer(both, stateful=True, return_state=True)
    _, *states = made(x)
    again = made(x)[0]
    np.testing.assert_array_equal(again, layer(both)(x, initial_state=states))
    made.reset_states()
    np.testing.assert_array_equal(made(x)[0], layer(both)(x))
    made.reset_states(states)
    np.testing.assert_array_equal(made(x)[0], again)


def test_it_works_on_the_layers_it_is_given(x: Array) -> None:
    forward = nl.LSTM(UNITS, return_sequences=True)
    backward = nl.RNN(nl.LSTMCell(2), return_sequences=True, go_backwards=True)
    made = nl.Bidirectional(forward, backward_layer=backward)
    made(x)
    assert made.forward_layer is made.layer is forward and made.backward_layer is backward
    np.testing.assert_array_equal(made.get_weights()[0], forward.get_weights()[0])
    np.testing.assert_array_equal(made.get_weights()[3], backward.get_weights()[0])
    assert not forward.zero_output_for_mask
    assert made.output_shape((None, 7, 3)) == (None, 7, UNITS + 2)


def test_the_made_layer_has_weights_and_masks_of_its_own(x: Array) -> None:
    made = nl.Bidirectional(nl.LSTM(UNITS, seed=4, dropout=0.5), merge_mode=None)
    made.build((None, None, INPUT_DIM))
    names = made.weight_names()
    weights = dict(zip(names, made.get_weights(), strict=True))
    assert names[0] == "forward/kernel" and names[3] == "backward/kernel"
    assert not np.array_equal(weights["forward/kernel"], weights["backward/kernel"])
    assert made.backward_layer.name == "backward_lstm" and made.backward_layer.go_backwards
    made.set_weights([w for _ in range(2) for w in made.layer.get_weights()])
    symmetric = x + x[:, ::-1]
    forward, backward = made(symmetric)
    np.testing.assert_allclose(forward, backward, rtol=1e-6)
    forward, backward = made(symmetric, training=True)
    assert not np.allclose(forward, backward)


def test_functions_as_activations_need_no_configuration() -> None:
    import numba

    @numba.njit
    def own(value: float) -> float:
        return value

    made = nl.Bidirectional(nl.LSTM(2, activation=own))
    assert made.backward_layer.cells[0].activation is own
    with pytest.raises(ConfigError, match="no configuration can hold"):
        made.get_config()


def test_products_may_overflow(both: tuple[list[Array], list[Array]]) -> None:
    weights = [np.full((1, 4), 3e38), np.zeros((1, 4)), np.zeros(4)]
    made = nl.Bidirectional(nl.LSTM(1, activation="linear", recurrent_activation="linear"), merge_mode="mul")
    made.set_weights(weights * 2)
    assert np.isinf(made(np.ones((1, 1, 1)))).all()


def backward(**options: Any) -> nl.LSTM:
    return nl.LSTM(2, **{"go_backwards": True, **options})


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nl.Bidirectional(nl.Dense(2)), r"layer of Bidirectional is .*; expected an LSTM or RNN layer"),
        (
            lambda: nl.Bidirectional(nl.LSTM(2), merge_mode="max"),
            r"merge_mode is 'max'; expected one of 'concat', 'sum'",
        ),
        (lambda: nl.Bidirectional(nl.LSTM(2), backward_layer=nl.LSTM(2)), r"go_backwards is False in both layers"),
        (lambda: nl.Bidirectional((c := nl.LSTM(2)), backward_layer=c), r"backward_layer is .*; expected another LSTM"),
        (
            lambda: nl.Bidirectional(nl.LSTM(2), backward_layer=nl.Dense(2)),
            r"backward_layer is .*; expected another LSTM",
        ),
        (
            lambda: nl.Bidirectional(nl.LSTM(2, go_backwards=True, dialect="keras3")),
            r"go_backwards is True in both layers of Bidirectional",
        ),
        (
            lambda: nl.Bidirectional(nl.LSTM(2), backward_layer=backward(return_sequences=True)),
            r"return_sequences is False in the forward layer and True in the backward layer; expected the same",
        ),
        (
            lambda: nl.Bidirectional(nl.LSTM(2), backward_layer=backward(stateful=True)),
            r"stateful is False in the forward layer and True in the backward layer",
        ),
        (
            lambda: nl.Bidirectional(nl.LSTM(3), "sum", backward_layer=backward()),
            r"merge_mode is 'sum' for outputs of 3 and 2 units; expected equal ones; use 'concat' or None",
        ),
        (lambda: nl.Bidirectional(nl.LSTM(2)).reset_states(), r"bidirectional keeps no states to reset"),
        (
            lambda: nl.Bidirectional(nl.LSTM(2)).set_weights([]),
            r"0 arrays of weights came; expected 6 = \[forward/kernel",
        ),
        (
            lambda: nl.Bidirectional(nl.LSTM(2))(np.ones((1, 2, 3)), initial_state=[np.ones((1, 2))] * 2),
            r"initial_state: 2 states came; expected 4 = h and c of 2 cells",
        ),
        (
            lambda: nl.Bidirectional(nl.LSTM(2))(np.ones((1, 2, 3)), dropout_mask=np.ones((4, 1, 3))),
            r"dropout_mask is a ndarray; expected a list of 2, one entry a cell",
        ),
        (
            lambda: nl.Bidirectional.from_config({"layer": None}),
            r"a layer's entry is None; expected a mapping with class_name and config",
        ),
    ],
)
def test_messages(
    make: Callable[[], Any], text: str, one_line: Callable[[pytest.ExceptionInfo[BaseException]], str]
) -> None:
    with pytest.raises((ConfigError, ShapeError), match=text) as raised:
        make()
    one_line(raised)


def test_a_direction_a_thread_changes_no_bit() -> None:
    layer = nl.Bidirectional(nl.LSTM(48, return_sequences=True, return_state=True, seed=3))
    x = np.random.default_rng(4).standard_normal((1, 60, 32)).astype(np.float32)
    before = nl.get_num_threads()
    try:
        nl.set_num_threads(1)
        one = layer(x)
        nl.set_num_threads(2)
        two = layer(x)
    finally:
        nl.set_num_threads(before)
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_positional_arguments_are_keras_s(x: Array) -> None:
    forward, backward = nl.LSTM(UNITS, seed=1), nl.LSTM(UNITS, go_backwards=True, seed=2)
    layer = nl.Bidirectional(forward, "sum", None, backward)
    assert layer.backward_layer is backward and layer.merge_mode == "sum"
    np.testing.assert_array_equal(layer(x), forward(x) + backward(x))
    assert "weights" not in layer.get_config()
    with pytest.raises(ConfigError, match=r"weights of Bidirectional is .*; expected None; .* set_weights; backward_"):
        nl.Bidirectional(forward, "sum", backward)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"expected None; give weights with set_weights$"):
        nl.Bidirectional(forward, weights=[np.ones(3)])  # type: ignore[arg-type]
