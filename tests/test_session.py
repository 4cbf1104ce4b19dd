"""Sessions: one timestep a call gives the bits of the whole sequence."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numba_lstm as nl
from numba_lstm.backends.cpu import policy, threads
from numba_lstm.errors import ConfigError, DTypeError, ShapeError
from numba_lstm.layers import SpatialDropout1D
from numba_lstm.session import Session

DTYPES = ("float32", "float64")


@numba.njit
def clipped(z: Any) -> Any:
    """Someone's own activation."""
    if z > 1.0:
        return 1.0
    return -1.0 if z < -1.0 else z


def lstm(units: int, dtype: str = "float32", **options: Any) -> nl.LSTM:
    options = {"return_sequences": True, "bias_initializer": "random_uniform", "seed": units, **options}
    return nl.LSTM(units, dtype=dtype, **options)


def built(*layers: Any, input_dim: int) -> nl.Sequential:
    model = nl.Sequential(layers)
    model.reseed(7)
    model.build((None, None, input_dim))
    return model


def inputs(model: nl.Sequential, batch: int, timesteps: int) -> Any:
    return np.random.default_rng(batch).normal(size=(batch, timesteps, model.input_dim or 0)).astype(model.dtype)


def assert_same(model: nl.Sequential, x: Any, session: Session | None = None) -> None:
    """All steps, and the states at the end, are those of the model run with return_sequences=True."""
    session = model.session(batch=len(x)) if session is None else session
    outputs, states = model.run_rows(x, return_state=True)
    for t in range(x.shape[1]):
        y = session.step(x[:, t])
        assert y.dtype == outputs.dtype
        np.testing.assert_array_equal(y, outputs[:, t])
    assert len(session.state) == len(states)
    for state, expected in zip(session.state, states, strict=True):
        np.testing.assert_array_equal(state, expected)


@settings(max_examples=60)
@given(
    batch=st.sampled_from([1, 1, 1, 2, 3, 5, 7, 50]),
    timesteps=st.integers(1, 5),
    input_dim=st.sampled_from([1, 3, 17, 130]),
    units=st.lists(st.sampled_from([1, 8, 16, 17, 33, 130]), min_size=1, max_size=3),
    dtype=st.sampled_from(DTYPES),
    activation=st.sampled_from(["tanh", "tanh", "relu", None]),
    recurrent_activation=st.sampled_from(["sigmoid", "hard_sigmoid"]),
    stacked=st.booleans(),
)
def test_steps_are_the_sequence(
    batch: int,
    timesteps: int,
    input_dim: int,
    units: list[int],
    dtype: str,
    activation: str | None,
    recurrent_activation: str,
    stacked: bool,
) -> None:
    options: dict[str, Any] = {"activation": activation, "recurrent_activation": recurrent_activation, "dtype": dtype}
    if stacked:
        cells = nl.StackedRNNCells([nl.LSTMCell(n, seed=n, **options) for n in units], dtype=dtype)
        layers: list[Any] = [nl.RNN(cells, return_sequences=True, dtype=dtype)]
    else:
        layers = [lstm(n, **options) for n in units]
    model = built(*layers, input_dim=input_dim)
    assert_same(model, inputs(model, batch, timesteps))


@pytest.mark.parametrize("batch", [1, 50])
@pytest.mark.parametrize("units", [1, 65, 130])
def test_a_dense_layer_on_top(batch: int, units: int) -> None:
    dense = nl.TimeDistributed(nl.Dense(units, "softmax", bias_initializer="random_uniform"))
    model = built(lstm(9), lstm(130), dense, nl.Activation("relu"), input_dim=3)
    assert_same(model, inputs(model, batch, 3))


@pytest.mark.parametrize(("batch", "activations"), [(1, ("softmax", "softplus")), (4, ("elu", "softmax"))], ids=str)
def test_any_activation(batch: int, activations: Any) -> None:
    """Some need all units of a row at once."""
    layer = lstm(19, activation=activations[0], recurrent_activation=activations[1])
    model = built(layer, nl.Dense(3, "elu"), nl.Activation("softmax"), input_dim=5)
    assert_same(model, inputs(model, batch, 4))


def test_activations_of_ones_own_beside_others() -> None:
    """More than one compiled function is needed then."""
    own = lstm(18, activation=clipped, recurrent_activation=clipped)
    model = built(lstm(5), own, nl.Dense(2, clipped), nl.Dense(3, "tanh"), input_dim=4)
    session = model.session()
    assert len(session._parts[0]._calls) == 3
    assert_same(model, inputs(model, 1, 4), session)


def test_layers_around_the_cells() -> None:
    model = built(
        nl.TimeDistributed(nl.Dense(6, "relu")),
        nl.Activation("tanh"),
        lstm(9, dropout=0.5, recurrent_dropout=0.5),
        nl.Dropout(0.5),
        SpatialDropout1D(0.5),
        nl.RNN([nl.LSTMCell(4), nl.LSTMCell(3)], return_sequences=True),
        nl.TimeDistributed(nl.Activation("softmax")),
        nl.TimeDistributed(nl.Dropout(0.5)),
        input_dim=5,
    )
    assert_same(model, inputs(model, 2, 4))


def test_a_model_of_the_last_output() -> None:
    """Without return_sequences a step gives what the model would, had the sequence ended there."""
    model = built(lstm(6), lstm(4, return_sequences=False, return_state=True), input_dim=3)
    x, session = inputs(model, 2, 5), model.session(batch=2)
    for t in range(5):
        np.testing.assert_array_equal(session.step(x[:, t]), model(x[:, : t + 1])[0])


def test_layers_of_time_major_models() -> None:
    model = built(lstm(6, time_major=True), input_dim=3)
    x, session = inputs(model, 2, 5), model.session(batch=2)
    outputs = model(x.swapaxes(0, 1))
    for t in range(5):
        np.testing.assert_array_equal(session.step(x[:, t]), outputs[t])


def test_rows_on_threads_are_the_same() -> None:
    before = nl.get_num_threads()
    model = built(lstm(192), nl.Dense(5), input_dim=100)
    x = inputs(model, 90, 3)
    try:
        nl.set_num_threads(2)
        session = model.session(batch=90)
    finally:
        nl.set_num_threads(before)
    assert len(session._parts) == 2
    assert_same(model, x, session)
    session.reset([1, 80])
    assert not session.state[0][[1, 80]].any() and session.state[1][[0, 2, 79, 81]].all()
    session.state = [np.full((90, 192), n) for n in (1.0, 2.0)]
    assert [state.min() for state in session.state] == [1.0, 2.0] == [state.max() for state in session.state]


def test_sessions_do_not_mix() -> None:
    model = built(lstm(7, stateful=True), lstm(5), input_dim=3)
    x = inputs(model, 2, 6)
    sessions = [model.session(), model.session()]
    expected = [model.run_rows(x[i : i + 1])[0] for i in range(2)]
    for t in range(6):
        for i, session in enumerate(sessions):
            np.testing.assert_array_equal(session.step(x[i : i + 1, t]), expected[i][:, t])
    assert model.layers[0].states is None  # the layer's own recorded states are left alone


def test_outputs_and_states_are_arrays_of_their_own() -> None:
    model = built(lstm(4), input_dim=3)
    session = model.session()
    first = session.step(np.ones((1, 3), np.float32))
    before, state = first.copy(), session.state
    state[0][...] = np.nan
    second = session.step(np.ones((1, 3), np.float32))
    np.testing.assert_array_equal(first, before)
    assert first.base is None and second.base is None and not np.array_equal(first, second)


def test_later_weights_are_not_seen() -> None:
    model = built(lstm(4), nl.Dense(2), input_dim=3)
    session, x = model.session(), np.ones((1, 3), np.float32)
    y = session.step(x)
    model.set_weights([weight + 1 for weight in model.get_weights()])
    session.reset()
    np.testing.assert_array_equal(session.step(x), y)
    assert not np.array_equal(model.session().step(x), y)


@pytest.mark.parametrize("dtype", DTYPES)
def test_states_go_in_and_out(dtype: str) -> None:
    model = built(lstm(7, dtype), lstm(18, dtype), input_dim=3)
    x = inputs(model, 3, 5)
    outputs, _ = model.run_rows(x)
    for cut in (2, 3):  # after an even and an odd number of steps
        first, second = model.session(batch=3), model.session(batch=3)
        for t in range(cut):
            first.step(x[:, t])
        second.step(x[:, 0])
        second.state = first.state
        for t in range(cut, 5):
            np.testing.assert_array_equal(second.step(x[:, t]), outputs[:, t])
    nested = [[first.state[0], first.state[1]], [first.state[2], first.state[3]]]
    second.state = nested
    for state, expected in zip(second.state, first.state, strict=True):
        assert state.dtype == dtype
        np.testing.assert_array_equal(state, expected)


@pytest.mark.parametrize(
    "rows", [None, 1, [0, 2], np.array([2]), (), [False, True, True], range(2), np.int8(2)], ids=str
)
def test_reset(rows: Any) -> None:
    model = built(lstm(5), input_dim=3)
    x = inputs(model, 3, 4)
    session = model.session(batch=3)
    for t in range(3):
        session.step(x[:, t])
    kept = session.state
    session.reset(rows)
    chosen = np.zeros(3, np.bool_)
    chosen[slice(None) if rows is None else np.asarray(rows, None if np.size(rows) else int)] = True
    for state, before in zip(session.state, kept, strict=True):
        assert not state[chosen].any()
        np.testing.assert_array_equal(state[~chosen], before[~chosen])
    fresh = model.run_rows(x[:, 3:])[0][:, 0]
    np.testing.assert_array_equal(session.step(x[:, 3])[chosen], fresh[chosen])


def test_inputs_of_other_kinds() -> None:
    model = built(lstm(5), input_dim=3)
    x = np.array([[1, 2, 3]], np.float32)
    expected = model.session().step(x)
    wide, frozen = np.zeros((1, 6), np.float32), x.copy()
    wide[:, ::2], frozen.flags.writeable = x, False
    for other in (
        x.tolist(),
        x.astype(np.int8),
        x.astype(">f4"),
        x.astype(np.float64),
        wide[:, ::2],
        frozen,
        pickle.loads(pickle.dumps(x)),
        x.T.copy().T,
    ):
        y = model.session().step(other)
        assert y.dtype == np.float32 and y.shape == (1, 5)
        np.testing.assert_array_equal(y, expected)
    for single in (x[0], [1.0, 2.0, 3.0], np.array([1, 2, 3])):
        np.testing.assert_array_equal(model.session().step(single), expected[0])


def test_a_nan_stays_in_its_row() -> None:
    model = built(lstm(5), nl.Dense(2, "softmax"), input_dim=3)
    x = inputs(model, 3, 1)[:, 0]
    clean, session = model.session(batch=3).step(x), model.session(batch=3)
    x[1, 1] = np.nan
    y = session.step(x)
    assert np.isnan(y[1]).all()
    np.testing.assert_array_equal(y[[0, 2]], clean[[0, 2]])


@pytest.mark.parametrize(
    ("batch", "x", "error", "words"),
    [
        (1, np.ones(4), ShapeError, "x has shape (4,); expected (1, 3) or (3,) = (batch, input_dim), one timestep"),
        (1, np.ones((1, 1, 3), np.float32), ShapeError, "x has shape (1, 1, 3); expected (1, 3) or (3,)"),
        (2, np.ones(3, np.float32), ShapeError, "x has shape (3,); expected (2, 3) = (batch, input_dim), one timestep"),
        (2, np.ones((1, 3), np.float32), ShapeError, "x has shape (1, 3); expected (2, 3)"),
        (1, 1.0, ShapeError, "x has shape (); expected (1, 3)"),
        (1, np.ones((1, 3), complex), DTypeError, "x has dtype complex128; expected floats, integers or booleans"),
        (1, ["a", "b", "c"], DTypeError, "x has dtype str"),
        (1, None, DTypeError, "x is a NoneType; expected an array of numbers"),
        (1, [[1.0], [1.0, 2.0]], ShapeError, "x has rows of unequal length"),
    ],
)
def test_bad_inputs_leave_the_states_alone(batch: int, x: Any, error: type, words: str, one_line: Any) -> None:
    session = built(lstm(4), input_dim=3).session(batch=batch)
    session.step(np.ones((batch, 3), np.float32))
    before = session.state
    with pytest.raises(error) as caught:
        session.step(x)
    assert one_line(caught).startswith("sequential: session: ") and words in one_line(caught)
    for state, expected in zip(session.state, before, strict=True):
        np.testing.assert_array_equal(state, expected)


@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        (3, ConfigError, "rows is 3; expected numbers of rows from 0 to 2"),
        ([0, -1], ConfigError, "rows is [0, -1]; expected numbers of rows from 0 to 2"),
        (1.5, ConfigError, "rows is 1.5; expected numbers of rows, booleans (batch,) or None"),
        ("all", ConfigError, "rows is 'all'; expected numbers of rows"),
        ([True, False], ShapeError, "rows has shape (2,); expected booleans of shape (3,) = (batch,)"),
        (True, ShapeError, "rows has shape (); expected booleans of shape (3,)"),
    ],
)
def test_bad_rows(rows: Any, error: type, words: str, one_line: Any) -> None:
    session = built(lstm(4), input_dim=3).session(batch=3)
    with pytest.raises(error) as caught:
        session.reset(rows)
    assert words in one_line(caught)


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ([np.zeros((1, 4))], ShapeError, "state"),
        ([np.zeros((1, 4)), np.zeros((2, 4))], ShapeError, "state 1 (c) has shape (2, 4); expected (1, 4)"),
        ([np.zeros((1, 4)), np.zeros((1, 4), complex)], DTypeError, "state 1 (c) has dtype complex128"),
        (None, ShapeError, "state"),
    ],
)
def test_bad_states(value: Any, error: type, words: str, one_line: Any) -> None:
    session = built(lstm(4), input_dim=3).session()
    with pytest.raises(error) as caught:
        session.state = value
    assert "session: state" in one_line(caught) and words in one_line(caught)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([lstm(4, go_backwards=True, name="back")], "back has go_backwards=True; expected a layer that reads forward"),
        ([nl.Bidirectional(lstm(4), name="both")], "both is a layer Bidirectional; expected LSTM, RNN, Dense"),
        ([nl.Masking(0.0, name="gaps"), lstm(4)], "gaps is a layer Masking; expected"),
        ([lstm(4), nl.TimeDistributed(nl.Flatten(), name="flat")], "flat is a layer TimeDistributed; expected"),
        ([nl.Dense(4, name="dense")], "sequential has no LSTM or RNN layer; expected one or more"),
    ],
)
def test_layers_that_cannot_go_step_by_step(layers: list[Any], words: str, one_line: Any) -> None:
    model = built(*layers, input_dim=3)
    with pytest.raises(ConfigError) as caught:
        model.session()
    assert words in one_line(caught)


def test_other_misuse(one_line: Any) -> None:
    with pytest.raises(ConfigError, match="the input shape is not known; call build"):
        nl.Sequential([lstm(4)]).session()
    with pytest.raises(ConfigError, match="sequential has no layers"):
        nl.Sequential().session()
    for batch in (0, -1, 1.5, True, "2", 2**40):
        with pytest.raises(ConfigError) as caught:
            built(lstm(4), input_dim=3).session(batch=batch)  # type: ignore[arg-type]
        assert one_line(caught).startswith("batch is ")


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_session_is_not_copied(duplicate: Any, one_line: Any) -> None:
    with pytest.raises(TypeError) as caught:
        duplicate(built(lstm(4), input_dim=3).session())
    assert "cannot be copied or pickled; make another one with model.session()" in one_line(caught)


def test_a_copied_model_has_memory_of_its_own() -> None:
    model = built(lstm(4), input_dim=3)
    x = inputs(model, 2, 3)
    expected = model(x)
    twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    model.set_weights([0 * weight for weight in model.get_weights()])
    for twin in twins:
        assert_same(twin, x)
        np.testing.assert_array_equal(twin(x), expected)
        ours, theirs = (m.layers[0].cells[0].packed() for m in (model, twin))
        assert theirs.cell.kernel == theirs.arrays[0].ctypes.data != ours.cell.kernel


def test_a_model_with_a_known_shape_is_built() -> None:
    assert nl.Sequential([lstm(4, batch_input_shape=(None, None, 3))]).session().step(np.ones(3)).shape == (4,)


def test_a_cell_takes_the_same_way() -> None:
    """One row without masks goes through the session's kernel: the bits of a row in a batch, from several threads."""
    cell = nl.LSTMCell(40, seed=3)
    cell.build(30)
    rng = np.random.default_rng(1)
    x, h, c = (rng.normal(size=(8, n)).astype(np.float32) for n in (30, 40, 40))
    together = cell(x, [h, c])[1]

    def alone(row: int) -> list[Any]:
        one = slice(row, row + 1)
        for _ in range(50):
            states = cell(x[one], [h[one], c[one]])[1]
            for state, expected in zip(states, together, strict=True):
                np.testing.assert_array_equal(state, expected[one])
        return states

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(alone, range(8)))
    for row, states in enumerate(results):  # nobody wrote to them later
        for state, expected in zip(states, together, strict=True):
            assert state.base is None
            np.testing.assert_array_equal(state[0], expected[row])


def test_without_the_compiler() -> None:
    code = """
import numpy as np, numba_lstm as nl
model = nl.Sequential([nl.LSTM(3, return_sequences=True, seed=1), nl.Dense(2, "softmax")])
model.build((None, None, 2))
x = np.random.default_rng(0).normal(size=(2, 3, 2)).astype(np.float32)
y = model(x)
for rows in (slice(0, 1), slice(0, 2)):
    session = model.session(batch=len(x[rows]))
    for t in range(3):
        assert np.array_equal(session.step(x[rows, t]), y[rows, t])
    session.reset(0)
    assert not session.state[0][0].any()
"""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr


def test_two_threads_in_one_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one is told so; the first one's step is not disturbed."""
    model = built(lstm(9), input_dim=3)
    session, x = model.session(), inputs(model, 1, 2)
    expected = model(x)[0]
    inside, go_on = threading.Event(), threading.Event()
    run = session._run

    def slow() -> None:
        inside.set()
        assert go_on.wait(20)
        run()

    monkeypatch.setattr(session, "_run", slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(session.step, x[0, 0])
        assert inside.wait(20)
        uses: list[Callable[[], Any]] = [
            lambda: session.step(x[0, 0]),
            lambda: session.state,
            lambda: setattr(session, "state", [np.zeros((1, 9))] * 2),
            session.reset,
        ]
        for use in uses:
            with pytest.raises(ConfigError, match="session is used by another thread at this moment"):
                use()
        go_on.set()
        np.testing.assert_array_equal(first.result(), expected[0])
    np.testing.assert_array_equal(session.step(x[0, 1]), expected[1])


class Interrupted(BaseException):
    """In the place of a Ctrl-C."""


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("before", range(5))
def test_a_step_that_is_interrupted_between_its_calls(
    monkeypatch: pytest.MonkeyPatch, number: int, parts: int, before: int
) -> None:
    """The states are those after the step, for all rows and cells, and the next step goes on from them."""
    own = lstm(18, activation=clipped, recurrent_activation=clipped)
    model = built(lstm(5), own, input_dim=4)
    monkeypatch.setattr(threads, "_number", number)
    batch = 6 * parts
    if parts > 1:
        monkeypatch.setattr(policy, "WORK_PER_CALL", 6 * 4 * (5 * 9 + 18 * 23))
    session, x = model.session(batch), inputs(model, batch, 4)
    assert [len(part._calls) for part in session._parts] == [2] * parts
    expected, others = model.predict(x), model.session(batch)
    calls: list[Callable[[], None]] = []

    def interrupting(call: Callable[[], None]) -> None:
        calls.append(call)
        if len(calls) == before + 1:
            raise Interrupted
        call()

    session.step(x[:, 0])
    for part in session._parts:
        part._calls = [partial(interrupting, call) for call in part._calls]
    if before < sum(len(part._calls) for part in session._parts):
        with pytest.raises(Interrupted):
            session.step(x[:, 1])
    else:
        session.step(x[:, 1])
    calls += [list] * 9  # no further interrupt
    for t in range(2):
        others.step(x[:, t])
    for state, other in zip(session.state, others.state, strict=True):
        np.testing.assert_array_equal(state, other)
    np.testing.assert_array_equal(session.step(x[:, 2]), expected[:, 2])
    np.testing.assert_array_equal(session.step(x[:, 3]), expected[:, 3])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_while_another_thread_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody will end that step in the child: the states are set anew there, and only then it goes on."""
    model = built(lstm(9), input_dim=3)
    session, x = model.session(), inputs(model, 1, 2)
    expected = model(x)[0]
    inside, go_on = threading.Event(), threading.Event()
    run = session._run
    monkeypatch.setattr(session, "_run", lambda: (inside.set(), go_on.wait(20), run()))
    with ThreadPoolExecutor(1) as pool:
        stepping = pool.submit(session.step, x[0, 0])
        assert inside.wait(20)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                session._run = run
                with pytest.raises(
                    ConfigError, match=r"when this process was forked; .* reset\(\) it or set its state"
                ):
                    session.step(x[0, 0])
                session.reset()
                np.testing.assert_array_equal(session.step(x[0, 0]), expected[0])
                code = 0
            finally:
                os._exit(code)
        go_on.set()
        stepping.result()
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("rows", [None, [0, 7]])
def test_a_reset_that_is_interrupted(rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is brought to its end when the session is used again."""
    monkeypatch.setattr(policy, "WORK_PER_CALL", 6 * 4 * 9 * 13)
    model = built(lstm(9), input_dim=4)
    session, x = model.session(12), inputs(model, 12, 3)
    other = model.session(12)
    assert len(session._parts) == 2
    for one in session, other:
        one.step(x[:, 0])
    second, calls = session._parts[1], []
    states = second.states

    def interrupting() -> Any:
        calls.append(1)
        if len(calls) == (1 if rows is None else 2):  # in the midst of writing
            raise Interrupted
        return states()

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(second, "states", interrupting)
        session.reset(rows)
    other.reset(rows)
    np.testing.assert_array_equal(session.step(x[:, 1]), other.step(x[:, 1]))
    for state, expected in zip(session.state, other.state, strict=True):
        np.testing.assert_array_equal(state, expected)
