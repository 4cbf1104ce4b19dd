"""Small calls of models and cells, whose memory is kept from call to call: the numbers of any other call."""

from __future__ import annotations

import copy
import os
import pickle
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.paths import ROOT

import numba_lstm as nl
from numba_lstm.backends.cpu import operands, stateless, threads
from numba_lstm.errors import ConfigError, DeviceError, NumbaLSTMError, ShapeError

Array = NDArray[Any]

MODELS: dict[str, Callable[[], list[Any]]] = {
    "digits": lambda: [nl.LSTM(5, seed=1), nl.Dense(3, activation="softmax")],
    "lstm": lambda: [nl.LSTM(5, seed=1)],
    "sequences": lambda: [nl.LSTM(5, return_sequences=True, seed=1)],
    "stack": lambda: [
        nl.LSTM(16, return_sequences=True, go_backwards=True, dropout=0.5, seed=1),
        nl.Dropout(0.5, seed=2),
        nl.LSTM(7, return_sequences=True, seed=3),
        nl.TimeDistributed(nl.Dense(4, activation="relu")),
        nl.LSTM(3, go_backwards=True, seed=4),
        nl.Activation("softmax"),
    ],
    "cells": lambda: [nl.RNN([nl.LSTMCell(4, seed=1), nl.LSTMCell(6, seed=2)], go_backwards=True), nl.Dense(2)],
    "heads": lambda: [nl.LSTM(17, return_sequences=True, seed=1), nl.Activation("relu"), nl.Dense(5), nl.Dense(9)],
}


def model(name: str, dtype: str = "float32") -> nl.Sequential:
    """The model of that name, built for 3 features, its biases drawn as well."""
    made = nl.Sequential(MODELS[name]())
    if dtype == "float64":
        made = nl.Sequential.from_config(_with_dtype(made.get_config(), dtype), "tf1")
    made.build((None, None, 3))
    rng = np.random.default_rng(len(name))
    made.set_weights([rng.uniform(-0.6, 0.6, w.shape) for w in made.get_weights()])
    return made


def _with_dtype(config: Any, dtype: str) -> Any:
    if isinstance(config, dict):
        return {key: dtype if key == "dtype" else _with_dtype(value, dtype) for key, value in config.items()}
    return [_with_dtype(value, dtype) for value in config] if isinstance(config, list) else config


def drawn(*shape: int, dtype: str = "float32", seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(-2, 2, shape).astype(dtype)


def unplanned(made: nl.Sequential, x: Array, **options: Any) -> Array:
    """The outputs by the way of large calls."""
    return made.run_rows(x, **options)[0]


def same(found: Any, expected: Any) -> None:
    assert found.dtype == expected.dtype and found.shape == expected.shape
    assert np.array_equal(found, expected)


def uses_plan(made: nl.Sequential, x: Array) -> bool:
    return any(calls is not None and shape == x.shape for (_, shape), calls in made._small_calls.items())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MODELS)
def test_the_same_bits(name: str, dtype: str) -> None:
    made = model(name, dtype)
    for shape in ((1, 6, 3), (1, 1, 3), (2, 5, 3), (7, 4, 3)):
        for seed in range(3):
            x = drawn(*shape, dtype=dtype, seed=seed)
            expected = unplanned(made, x)
            same(made.predict(x), expected)
            same(made(x), expected)
            assert uses_plan(made, x)


def test_bf16_and_other_precisions_have_plans_of_their_own() -> None:
    made, x = model("digits"), drawn(2, 6, 3)
    exact = x.astype("float64")
    for _ in range(2):
        for precision in ("bf16", "float32"):
            same(made.predict(x, precision=precision), unplanned(made, x, precision=precision))
        same(made.predict(exact, precision="float64"), unplanned(made, exact, precision="float64"))
        same(made.predict(exact), unplanned(made, x))


def test_inputs_of_any_memory() -> None:
    made, wide = model("digits"), drawn(4, 12, 6)
    view = wide[::2, ::-2, ::2]
    raw = np.zeros(view.nbytes + 1, np.uint8)
    unaligned = raw[1:].view("f").reshape(view.shape)
    unaligned[...] = view
    for _ in range(2):
        for x in (view, unaligned, view.astype(">f4"), view.tolist(), np.asfortranarray(view)):
            same(made.predict(x), unplanned(made, np.ascontiguousarray(view)))


def test_outputs_belong_to_the_caller() -> None:
    made, x = model("sequences"), drawn(1, 6, 3)
    first = made.predict(x)
    kept = first.copy()
    assert first.flags.owndata and first.flags.writeable
    x[...] = 7
    second = made.predict(x)
    same(first, kept)
    second[...] = 0
    same(made.predict(x), unplanned(made, x))


def test_weights_that_change() -> None:
    made, x = model("digits"), drawn(1, 6, 3)
    lstm, dense = made.layers

    def set_all() -> None:
        made.set_weights([w + 1 for w in made.get_weights()])

    def set_kernel() -> None:
        lstm.cell.kernel = lstm.cell.kernel * 0.5

    def set_bias() -> None:
        dense.bias = dense.bias + 3

    before = made.predict(x)
    for change in (set_all, set_kernel, set_bias, lambda: dense.set_weights([w * 0.5 for w in dense.get_weights()])):
        made.predict(x)
        change()
        after = made.predict(x)
        assert not np.array_equal(after, before)
        same(after, unplanned(made, x))
        before = after


def test_constraints_and_the_weights_of_another_layer_object() -> None:
    dense = nl.Dense(3, kernel_constraint="non_neg")
    made = nl.Sequential([nl.LSTM(4, kernel_constraint="unit_norm", seed=1), dense])
    x = drawn(2, 6, 3)
    made.predict(x), made.predict(x)
    made.apply_constraints()
    same(made.predict(x), unplanned(made, x))
    twin = copy.copy(dense)
    twin.set_weights([w + 1 for w in dense.get_weights()])
    twin(np.zeros((1, 4), "f"))
    same(made.predict(x), unplanned(made, x))
    other = nl.Dense(3)
    other.set_weights(twin.get_weights())
    same(twin(np.ones((1, 4), "f")), other(np.ones((1, 4), "f")))


def test_layers_that_are_added() -> None:
    made, x = model("lstm"), drawn(1, 6, 3)
    made.predict(x)
    made.add(nl.Dense(2))
    assert made.predict(x).shape == (1, 2)
    same(made.predict(x), unplanned(made, x))


def test_calls_that_are_not_small_or_plain() -> None:
    """Masks, training, states, other shapes and large batches go the other way, before and after a small call."""
    made, x = model("digits"), drawn(2, 6, 3)
    mask = np.array([[1, 1, 1, 0, 0, 0], [1] * 6], bool)
    for _ in range(2):
        same(made.predict(x), unplanned(made, x))
        same(made(x, mask=mask), unplanned(made, x, mask=mask))
        same(made.predict(x, lengths=[3, 6]), unplanned(made, x, mask=mask, padded=True))
        same(made.predict(x, batch_size=1), unplanned(made, x))
        large = drawn(400, 20, 3)
        same(made.predict(large), unplanned(made, large))
        with pytest.raises(ShapeError, match="features"):
            made.predict(drawn(2, 6, 4))
        with pytest.raises(DeviceError, match="precision is 'half'"):
            made.predict(x, precision="half")
        with pytest.raises(DeviceError, match="precision is"):
            made.predict(x, precision=["float32"])  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="first_row is False"):
            made(x, first_row=False)
        with pytest.raises(NumbaLSTMError, match="device is"):
            made.predict(x, device="tpu")


def test_a_stateful_model_goes_on() -> None:
    made = nl.Sequential([nl.LSTM(4, stateful=True, seed=1)])
    whole, x = nl.Sequential([nl.LSTM(4, seed=1)]), drawn(1, 6, 3)
    whole.predict(x)
    found = [made.predict(x[:, i : i + 2]) for i in (0, 2, 4)]
    same(found[-1], whole.predict(x))


def test_small_calls_count_as_draws_of_dropout_masks() -> None:
    """A call draws new masks for the next one that trains, whichever way it goes."""
    x, outputs = drawn(2, 6, 3), []
    for calls in (lambda m: m.predict(x), lambda m: m.run_rows(x)):
        made = model("stack")
        made.reseed(5)
        calls(made), calls(made), calls(made)
        outputs.append(made(x, training=True))
    same(*outputs)


def test_a_class_of_the_users_own_runs_its_own_way() -> None:
    class Doubled(nl.Dense):
        def run(self, x: Array, *more: Any) -> Array:
            return np.asarray(2 * super().run(x, *more))

    made, x = nl.Sequential([nl.LSTM(4, seed=1), Doubled(2)]), drawn(1, 6, 3)
    plain = nl.Sequential([nl.LSTM(4, seed=1), nl.Dense(2)])
    made.predict(x), plain.predict(x)
    plain.set_weights(made.get_weights())
    same(made.predict(x), 2 * plain.predict(x))


def test_copies_have_memory_of_their_own() -> None:
    made, x = model("digits"), drawn(1, 6, 3)
    expected = made.predict(x)
    for twin in (copy.deepcopy(made), pickle.loads(pickle.dumps(made)), copy.copy(made)):
        same(twin.predict(x), expected)
    twin = copy.copy(made)
    twin.add(nl.Dense(2))
    assert twin.predict(x).shape == (1, 2)
    same(made.predict(x), expected)
    twin = copy.deepcopy(made)
    twin.set_weights([w * 0.5 for w in made.get_weights()])
    assert not np.array_equal(twin.predict(x), expected)
    same(made.predict(x), expected)


def test_only_some_shapes_are_kept() -> None:
    made = model("digits")
    for steps in range(1, 60):
        x = drawn(1, steps, 3)
        same(made.predict(x), unplanned(made, x))
    assert len(made._small_calls) <= 16
    cell = nl.LSTMCell(4, seed=1)
    for batch in range(1, 60):
        x, states = drawn(batch, 3), [drawn(batch, 4, seed=i) for i in (1, 2)]
        h, _ = cell(x, states)
        same(h[-1:], cell(x[-1:], [state[-1:] for state in states])[0])
    assert len(cell.packed().steps) <= 16


def in_threads(work: Callable[[int], None], number: int = 4) -> None:
    errors: list[BaseException] = []

    def one(index: int) -> None:
        try:
            work(index)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(index,)) for index in range(number)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not errors


def test_threads_that_call_one_model_and_one_cell() -> None:
    made, cell = model("digits"), nl.LSTMCell(5, seed=1)
    xs = [drawn(1, 6, 3, seed=seed) for seed in range(4)]
    states = [drawn(1, 5, seed=9), drawn(1, 5, seed=10)]
    expected = [(unplanned(made, x), cell(x[:, 0], states)[0]) for x in xs]

    def work(index: int) -> None:
        for _ in range(300):
            same(made.predict(xs[index]), expected[index][0])
            same(cell(xs[index][:, 0], states)[0], expected[index][1])

    in_threads(work)


def test_threads_that_call_while_weights_change() -> None:
    """Every result is of the weights before or after; once they have been set, of those alone."""
    made, x = model("lstm"), drawn(1, 6, 3)
    cell = made.layers[0].cell
    kernels = [cell.kernel, cell.kernel * np.float32(0.5)]
    expected = []
    for kernel in kernels:
        cell.kernel = kernel
        expected.append(unplanned(made, x).tobytes())
    found: set[bytes] = set()
    done = threading.Event()

    def work(index: int) -> None:
        if index:
            while not done.is_set():
                found.add(made.predict(x).tobytes())
            return
        for i in range(300):
            cell.kernel = kernels[i % 2]
            found.add(now := made.predict(x).tobytes())
            assert now == expected[i % 2]
        done.set()

    try:
        in_threads(work, 3)
    finally:
        done.set()
    assert found <= set(expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_calls_on() -> None:
    made, x = model("digits"), drawn(1, 6, 3)
    expected = made.predict(x)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(made.predict(x), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    same(made.predict(x), expected)


def test_a_call_that_is_torn_away_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    made, x = model("digits"), drawn(1, 6, 3)
    expected = made.predict(x)
    (calls,) = made._small_calls.values()
    assert calls is not None
    plan = calls._idle[0]

    def interrupted() -> None:
        raise KeyboardInterrupt

    plan._kernels.insert(1, interrupted)
    with pytest.raises(KeyboardInterrupt):
        made.predict(-x)
    same(made.predict(x), expected)


# -- single steps of a cell --


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_steps_of_a_cell_are_those_of_a_sequence(batch: int, dtype: str) -> None:
    cell = nl.LSTMCell(5, seed=1, dtype=dtype)
    layer = nl.RNN(cell, return_state=True, dtype=dtype)
    x = drawn(batch, 4, 3, dtype=dtype)
    _, h, c = layer(x)
    states: Any = cell.get_initial_state(batch_size=batch)
    for t in range(4):
        before = [state.copy() for state in states]
        output, new = cell(x[:, t], states)
        assert output is new[0] and all(map(np.array_equal, states, before))
        states = tuple(new) if t % 2 else new
    same(states[0], h)
    same(states[1], c)


def test_steps_heed_new_weights_states_and_masks() -> None:
    cell, x = nl.LSTMCell(5, seed=1), drawn(1, 3)
    states = [drawn(1, 5, seed=1), drawn(1, 5, seed=2)]

    def expected(cell: nl.LSTMCell = cell) -> Array:
        return np.asarray(nl.RNN(cell)(x[:, np.newaxis], initial_state=states))

    for _ in range(2):
        same(cell(x, states)[0], expected())
        cell.kernel = cell.kernel * np.float32(0.5)
        same(cell(x, states)[0], expected())
        states[1] = states[1] + 1
        same(cell(x, np.stack(states))[0], expected())
        same(cell(x.tolist(), [states[0].astype("d"), states[1]])[0], expected())
        mask = np.full((1, 1, 3), 0.5, "f")
        same(cell(x, states, dropout_mask=mask)[0], cell(x * np.float32(0.5), states)[0])
        with pytest.raises(ShapeError, match="state c has shape"):
            cell(x, [states[0], states[1][:, :4]])
        with pytest.raises(ShapeError, match="features"):
            cell(x[:, :2], states)


# -- how short the way is --


def test_few_frames_from_predict_to_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    depths: list[int] = []
    here = sys._getframe()

    def counted(kernel: Any, dtypes: Any, variant: Any) -> Callable[[int], Any]:
        found = entry(kernel, dtypes, variant)

        def call(address: int) -> Any:
            frame, depth = sys._getframe(1), 0
            while frame is not here:
                frame, depth = frame.f_back, depth + 1  # type: ignore[assignment]
            depths.append(depth)
            return found(address)

        return call

    entry = operands.entry
    for module in (operands, stateless):
        monkeypatch.setattr(module, "entry", counted)
    made, x = nl.load(ROOT / "data" / "digits" / "model.h5"), np.load(ROOT / "data" / "digits" / "x.npy")
    made.predict(x[:1])
    made.predict(x[:1])
    assert len(depths) == 6 and max(depths) <= 8
    depths.clear()
    monkeypatch.setattr(threads, "_number", 1)
    made.predict(x)
    assert len(depths) == 3 and max(depths) <= 12
