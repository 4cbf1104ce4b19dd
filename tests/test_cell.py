"""cell.py: LSTMCell as a class, and one step of it against the oracle and the real Keras."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.random_cells import check_refused

import numba_lstm as nl
from numba_lstm.backends.cpu import run as cpu
from numba_lstm.cell import LSTMCell
from numba_lstm.errors import ConfigError, DTypeError, ShapeError
from numba_lstm.semantics.config import cell_defaults
from numba_lstm.semantics.dialects import ACTIVATIONS, Dialect

SYSTEMS: dict[str, Dialect] = {"tf115": "tf1", "tf215": "keras2", "k3": "keras3"}
TOLERANCES = {"float32": 3e-6, "float64": 1e-13}


def example(rng: np.random.Generator, batch: int = 4, input_dim: int = 3, units: int = 5, bias: bool = True) -> Any:
    """Inputs, states and weights."""
    weights = [rng.standard_normal((input_dim, 4 * units)), rng.standard_normal((units, 4 * units))]
    if bias:
        weights.append(rng.standard_normal(4 * units))
    states = [rng.standard_normal((batch, units)), rng.standard_normal((batch, units))]
    return rng.standard_normal((batch, input_dim)), states, weights


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("implementation", [1, 2])
@pytest.mark.parametrize(("batch", "input_dim", "units"), [(1, 1, 1), (4, 3, 5), (0, 3, 5), (33, 20, 17)])
def test_a_step(
    dtype: str, use_bias: bool, implementation: int, batch: int, input_dim: int, units: int, rng: np.random.Generator
) -> None:
    x, states, weights = example(rng, batch, input_dim, units, use_bias)
    cell = LSTMCell(units, use_bias=use_bias, implementation=implementation, dtype=dtype)
    cell.set_weights(weights)
    out, (h, c) = cell(x, states)
    numbers = np.dtype(dtype).type
    x, states, weights = x.astype(numbers), [s.astype(numbers) for s in states], [w.astype(numbers) for w in weights]
    expected_h, expected_c = naive.cell(x, *states, weights)
    assert out is h and h.dtype == c.dtype == dtype and h.shape == c.shape == (batch, units)
    assert np.allclose(h, expected_h, rtol=0, atol=TOLERANCES[dtype])
    assert np.allclose(c, expected_c, rtol=0, atol=4 * TOLERANCES[dtype])


@pytest.mark.parametrize(
    ("dialect", "activation", "recurrent_activation"),
    [
        ("tf1", "relu", "hard_sigmoid"),
        ("tf1", None, "sigmoid"),
        ("keras2", "swish", "hard_sigmoid"),
        ("keras2", "softmax", "softmax"),
        ("keras3", "swish", "hard_sigmoid"),
        ("keras3", "sparsemax", "hard_sigmoid"),
    ],
)
def test_activations_of_a_dialect(
    dialect: Dialect, activation: str | None, recurrent_activation: str, rng: np.random.Generator
) -> None:
    x, states, weights = example(rng)
    cell = LSTMCell(5, activation, recurrent_activation, dialect=dialect, dtype="float64")
    cell.set_weights(weights)
    names = [ACTIVATIONS[dialect][name or "linear"] for name in (activation, recurrent_activation)]
    expected_h, expected_c = naive.cell(x, *states, weights, *names)
    h, (_, c) = cell(x, states)
    assert np.allclose(h, expected_h, atol=1e-12) and np.allclose(c, expected_c, atol=1e-12)


@pytest.mark.goldens
@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_steps_of_the_real_keras(goldens: Any, system: str, dtype: str) -> None:
    """The rule of compare.py: twice Keras's own float32 error and four half ulps, or 1e-10 of float64."""
    compare = goldens.compare()
    store, category, count = compare.Store(str(goldens.data)), "k3_cell_step" if system == "k3" else "cell_step", 0
    for case in store.cases(category):
        arguments = case["layer"]["cells"][0]
        if system not in case["systems"] or case["layer"]["kind"] != "cell":
            continue
        api = "v1" if case["layer"]["api"] == "v1" else "v2"
        defaults = cell_defaults(SYSTEMS[system], api)
        cell = LSTMCell(**{**defaults, **arguments}, dialect=SYSTEMS[system], dtype=dtype)
        get = compare.Getter(store, category, system, case)
        cell.set_weights(get.weights()[0])
        call = case["calls"][0]
        x, batch = get(call["x"]), len(get(call["x"]))
        zeros = np.zeros((batch, cell.units))
        _, (h, c) = cell(x, [zeros if get(call[key]) is None else get(call[key]) for key in ("h0", "c0")])
        for name, value in (("h", h), ("c", c)):
            key = f"{case['id']}/{name}"
            keras, truth = store.f32(category, system, key), store.truth(category, system, key)
            floor = 4 * 2.0**-24 * min(max(1.0, case.get("scale", 1.0)), 1e4)
            if "exponential" in (cell.activation, cell.recurrent_activation):
                floor *= 8
            allowed = 2 * compare.error(keras, truth)[0] + floor if dtype == "float32" else 1e-10
            assert compare.error(value, truth)[0] <= allowed, key
            count += 1
    assert count > 200


def test_the_signature_is_that_of_the_class() -> None:
    parameters = inspect.signature(LSTMCell).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items() if name != "units"}
    own = {"dtype": "float32", "dialect": "tf1", "seed": None, "name": None, "trainable": True}
    assert defaults == {**cell_defaults("tf1"), **own}
    assert next(iter(parameters)) == "units" and nl.LSTMCell is LSTMCell
    call = inspect.signature(LSTMCell.__call__)
    assert list(call.parameters)[1:6] == ["inputs", "states", "training", "dropout_mask", "recurrent_dropout_mask"]


def test_sizes_and_initial_states() -> None:
    cell = LSTMCell(5)
    assert (cell.units, cell.state_size, cell.output_size) == (5, [5, 5], 5)
    h, c = cell.get_initial_state(batch_size=3)
    assert h.shape == c.shape == (3, 5) and h.dtype == np.float32 and not h.any() and h is not c
    h, c = cell.get_initial_state(inputs=np.zeros((2, 7)), dtype="float64")
    assert h.shape == (2, 5) and c.dtype == np.float64
    with pytest.raises(
        ConfigError, match=r"^get_initial_state got neither inputs nor batch_size; expected one of them$"
    ):
        cell.get_initial_state()


def test_packed_weights_are_kept_until_weights_change(rng: np.random.Generator) -> None:
    x, states, weights = example(rng)
    cell = LSTMCell(5)
    cell.set_weights(weights)
    packed = cell.packed()
    assert cell.packed() is packed and cell.packed("float32") is packed
    exact = cell.packed("float64")
    assert exact is not packed and cell.packed("float64") is exact
    h, _ = cpu.step(exact, x, *states)
    single = [np.asarray(weight, np.float32).astype(float) for weight in weights]
    assert np.allclose(h, naive.cell(x, *states, single)[0], atol=1e-13)
    cell.set_weights(weights)
    assert cell.packed() is not packed


def test_the_first_call_makes_weights() -> None:
    cell = LSTMCell(2, seed=5)
    h, _ = cell(np.ones((1, 3)), cell.get_initial_state(batch_size=1))
    assert cell.input_dim == 3
    twin = LSTMCell(2, seed=5)
    twin.build(3)
    assert np.array_equal(twin(np.ones((1, 3)), twin.get_initial_state(batch_size=1))[0], h)


@given(
    batch=st.integers(1, 6),
    input_dim=st.integers(1, 9),
    units=st.integers(1, 9),
    dtype=st.sampled_from(["float32", "float64"]),
    order=st.permutations(range(6)),
)
def test_a_row_depends_on_nothing_else(batch: int, input_dim: int, units: int, dtype: str, order: list[int]) -> None:
    rng = np.random.default_rng(batch)
    x, states, weights = example(rng, batch, input_dim, units)
    cell = LSTMCell(units, dtype=dtype)
    cell.set_weights(weights)
    h, (_, c) = cell(x, states)
    rows = [row for row in order if row < batch]
    shuffled_h, (_, shuffled_c) = cell(x[rows], [state[rows] for state in states])
    assert np.array_equal(h[rows], shuffled_h) and np.array_equal(c[rows], shuffled_c)
    x[rows[0]] = np.nan
    poisoned, _ = cell(x, states)
    assert np.array_equal(poisoned[rows[1:]], h[rows[1:]]) and np.isnan(poisoned[rows[0]]).all()


@pytest.mark.parametrize("source", ["?", "i2", "e", ">f4", "f8"])
def test_other_dtypes_are_cast(source: str, rng: np.random.Generator) -> None:
    _, states, weights = example(rng)
    x = rng.integers(0, 2, (4, 3)).astype(source)
    cell = LSTMCell(5)
    cell.set_weights(weights)
    assert np.array_equal(cell(x, states)[0], cell(x.astype("f4"), states)[0])
    assert np.array_equal(cell(x, states)[0], cell(np.asfortranarray(x), tuple(states))[0])


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (
            lambda cell: cell(np.zeros((2, 4)), [None, None]),
            ShapeError,
            "inputs have 4 features; expected 3, the rows of c's",
        ),
        (
            lambda cell: cell(np.zeros((2, 3, 1)), [None, None]),
            ShapeError,
            "inputs has shape (2, 3, 1); expected (batch, input_dim)",
        ),
        (lambda cell: cell(np.zeros((2, 3)), None), ShapeError, "states is None; expected [h, c], each (batch, units)"),
        (lambda cell: cell(np.zeros((2, 3)), [np.zeros((2, 5))]), ShapeError, "states is [array([[0., 0., 0.,"),
        (
            lambda cell: cell(np.zeros((2, 3)), [np.zeros((2, 5)), np.zeros((1, 5))]),
            ShapeError,
            "state c has shape (1, 5); expected (2, 5) = (batch, units)",
        ),
        (
            lambda cell: cell(np.zeros((2, 3)), [np.zeros((2, 4)), np.zeros((2, 5))]),
            ShapeError,
            "state h has shape (2, 4); expected (2, 5) = (batch, units)",
        ),
        (lambda cell: cell(np.zeros((2, 3), complex), []), DTypeError, "inputs has dtype complex128; expected floats"),
        (lambda cell: cell.packed("float16"), ConfigError, "dtype is 'float16'; expected 'float32' or 'float64'"),
        (
            lambda cell: LSTMCell(2, activation=lambda x: x)([[1.0]], [[[0, 0]]] * 2),
            ConfigError,
            "activation <function",
        ),
    ],
)
def test_errors(
    action: Callable[[LSTMCell], Any], error: type[Exception], message: str, one_line: Callable[[Any], str]
) -> None:
    check_refused(action, error, message, one_line)


def test_a_function_as_activation(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    @numba.njit
    def double(x):  # type: ignore[no-untyped-def]
        return x + x

    x, states, weights = example(rng, batch=1)  # the kernel for one row is compiled soonest
    cell = LSTMCell(5, activation=double, dtype="float64")
    cell.set_weights(weights)
    assert cell.activation is double
    monkeypatch.setitem(naive.ACTIVATIONS, "double", lambda x: x + x)
    assert np.allclose(cell(x, states)[0], naive.cell(x, *states, weights, "double")[0], atol=1e-12)


def test_a_cell_is_made_without_numba() -> None:
    program = (
        "import sys; from numba_lstm.cell import LSTMCell; cell = LSTMCell(2); cell.build(3); cell.get_config(); "
        "cell.masks_for_call(2, True); assert 'numba' not in sys.modules and 'llvmlite' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
