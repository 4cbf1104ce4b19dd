"""The activations against float64 and extended precision, bit for bit over scalars and vectors, and at the corners."""

from __future__ import annotations

from typing import Any

import naive
import numba
import numpy as np
import pytest
from support.goldens import Goldens

from numba_lstm.backends.cpu import stateless
from numba_lstm.kernels import apply, pack, simd
from numba_lstm.semantics.dialects import ACTIVATIONS, ROW_ACTIVATIONS, Dialect

# The three whose bound is promised: in their docstrings, 3 units in the last place.
PROMISED = ("tanh", "sigmoid", "exponential")
BOUND = 3.0
ELEMENTWISE = sorted({name for table in ACTIVATIONS.values() for name in table.values()} - ROW_ACTIVATIONS)


def reference(name: str, numbers: np.ndarray, wide: type) -> np.ndarray:
    """The true value in a precision wider than the one under test."""
    with np.errstate(all="ignore"):
        x = numbers.astype(wide)
        if name == "tanh":
            return np.tanh(x)
        if name == "exponential":
            return np.exp(x)
        e = np.exp(-np.abs(x))
        return np.where(x < 0, e, 1) / (1 + e)


def ulp_error(value: np.ndarray, truth: np.ndarray) -> float:
    """Largest difference in units in the last place of the truth, rounded to value's dtype; NaN only where truth is."""
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = truth.astype(value.dtype)
    assert np.array_equal(np.isnan(value), np.isnan(rounded))
    finite = np.isfinite(rounded) & np.isfinite(value)
    # Next to the largest number, one of the two may be infinite already.
    largest = np.finfo(value.dtype).max
    beyond = ~finite & ~np.isnan(rounded) & (value != rounded)
    assert np.all(np.abs(np.where(np.isfinite(value), value, rounded)[beyond]) > largest * (1 - 1e-6))
    spacing = np.spacing(np.abs(rounded[finite])).astype(truth.dtype)
    difference = np.abs(value[finite].astype(truth.dtype) - truth[finite])
    return float(np.max(difference / spacing, initial=0.0))


def sample(dtype: type, points: int) -> np.ndarray:
    """Numbers of both signs, equally many of each exponent, with the special ones."""
    rng = np.random.default_rng(7)
    bits, mantissa = (np.uint32, 23) if dtype is np.float32 else (np.uint64, 52)
    exponents = 2 ** (np.dtype(dtype).itemsize * 8 - 1 - mantissa)
    each = -(-points // (2 * exponents))
    fractions = rng.integers(0, 2**mantissa, (2 * exponents, each), dtype=bits)
    fractions[:, 0] = 0
    high = np.arange(2 * exponents, dtype=bits) << bits(mantissa)
    return (high[:, np.newaxis] | fractions).reshape(-1).view(dtype)


@pytest.mark.parametrize("name", PROMISED)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_error_in_ulp(name: str, dtype: type) -> None:
    wide = np.float64 if dtype is np.float32 else np.longdouble
    if np.finfo(wide).nmant <= np.finfo(dtype).nmant:
        pytest.skip("this platform's long double is no wider than float64")
    x = sample(dtype, 400_000)
    assert ulp_error(stateless.activate(name, "keras2", x), reference(name, x, wide)) <= BOUND


@pytest.mark.slow
@pytest.mark.parametrize("name", PROMISED)
def test_every_float32(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    worst = 0.0
    for start in range(0, 2**32, 2**24):
        x = np.arange(start, start + 2**24, dtype=np.int64).astype(np.uint32).view(np.float32)
        worst = max(worst, ulp_error(stateless.activate(name, "keras2", x), reference(name, x, np.float64)))
    with capsys.disabled():
        print(f"\n{name}: {worst:.3f} ulp over every float32")
    assert worst <= BOUND


@pytest.mark.slow
@pytest.mark.parametrize("name", PROMISED)
def test_float64_over_every_exponent(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    x = sample(np.float64, 100_000_000)
    parts = np.array_split(x, 50)
    worst = max(
        ulp_error(stateless.activate(name, "keras2", part), reference(name, part, np.longdouble)) for part in parts
    )
    # Most exponents lie where the results are 0, 1 or x itself: the interesting range once more, as densely.
    rng = np.random.default_rng(11)
    for _ in range(50):
        part = rng.uniform(-40, 40, 2_000_000) if name != "exponential" else rng.uniform(-746, 710, 2_000_000)
        worst = max(worst, ulp_error(stateless.activate(name, "keras2", part), reference(name, part, np.longdouble)))
    with capsys.disabled():
        print(f"\n{name}: {worst:.3f} ulp over {x.size + 100_000_000} float64")
    assert worst <= BOUND


@numba.njit(error_model="numpy")
def one_by_one(code: int, x: int, y: int, size: int, like: Any) -> None:
    """Each number by itself, where a kernel takes a vector at a time."""
    from_memory, to_memory = simd.memory_at(x, like), simd.memory_at(y, like)
    for i in range(size):
        to_memory[i] = apply.elementwise(code, from_memory[i])


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scalar_and_vector_have_the_same_bits(name: str, dtype: type) -> None:
    x = np.concatenate([sample(dtype, 4096), np.linspace(-20, 20, 4096).astype(dtype)])
    dialect = next(d for d, table in ACTIVATIONS.items() if name in table.values())
    many = stateless.activate(next(k for k, v in ACTIVATIONS[dialect].items() if v == name), dialect, x)
    one = np.empty_like(x)
    one_by_one(apply.CODES[name], pack.address(x), pack.address(one), x.size, x.dtype.type(0))
    bits = np.uint32 if dtype is np.float32 else np.uint64
    nan = np.isnan(one)
    assert np.array_equal(nan, np.isnan(many))
    assert np.array_equal(one[~nan].view(bits), many[~nan].view(bits))


# Keras's names that the oracle has under another one.
OTHER_NAMES = {"swish": "silu", "hard_swish": "hard_silu"}


def test_every_name_of_every_dialect_is_the_function_of_the_oracle() -> None:
    x = np.concatenate([np.linspace(-30, 30, 6001), [-1, -0.5, -0.0, 0, 0.5, 1, -1e-9, 1e-9, 700]])
    for dialect, names in ACTIVATIONS.items():
        for name in names.keys() - ROW_ACTIVATIONS:
            other = OTHER_NAMES.get(name, name)
            if (dialect, name) == ("keras3", "hard_sigmoid"):
                other = "hard_sigmoid_keras3"
            with np.errstate(over="ignore"):
                truth = naive.ACTIVATIONS[other](x)
            found = stateless.activate(name, dialect, x)
            assert np.allclose(found, truth, rtol=1e-14, atol=1e-14), (dialect, name)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_float32_agrees_with_float64(name: str) -> None:
    dialect = next(d for d, table in ACTIVATIONS.items() if name in table.values())
    keras_name = next(k for k, v in ACTIVATIONS[dialect].items() if v == name)
    x = np.linspace(-30, 30, 20_001).astype(np.float32)
    single = stateless.activate(keras_name, dialect, x)
    double = stateless.activate(keras_name, dialect, x.astype(np.float64))
    # A few roundings of intermediate results, each half a unit of a number of the size of the result.
    assert np.max(np.abs(single - double) / np.maximum(np.abs(double), 1)) < 8 * 2**-24


def test_denormal_results_are_the_true_values() -> None:
    x = np.float32([-88.0, -95.0, -100.0, -103.0])
    truth = np.exp(x.astype(np.float64)).astype(np.float32)
    assert np.all(truth > 0)
    assert np.array_equal(stateless.activate("sigmoid", "tf1", x), truth)
    assert np.array_equal(stateless.activate("exponential", "tf1", x), truth)
    tiny = np.float32([1e-40, -1e-45])
    assert np.array_equal(stateless.activate("tanh", "tf1", tiny), tiny)


def test_signed_zero_infinity_and_nan() -> None:
    x = np.float32([0.0, -0.0, np.inf, -np.inf, np.nan])
    y = stateless.activate("tanh", "tf1", x)
    assert np.array_equal(y[:4], [0, 0, 1, -1])
    assert np.array_equal(np.signbit(y[:2]), [False, True])
    assert np.isnan(y[4])
    assert np.array_equal(stateless.activate("sigmoid", "tf1", x)[:4], [0.5, 0.5, 1, 0])
    assert np.array_equal(stateless.activate("exponential", "tf1", x)[:4], [1, 1, np.inf, 0])


@pytest.mark.goldens
@pytest.mark.parametrize(("system", "dialect"), [("tf115", "tf1"), ("tf215", "keras2"), ("k3", "keras3")])
def test_as_close_to_the_truth_as_keras(goldens: Goldens, system: str, dialect: Dialect) -> None:
    """Every name of the full set: at most twice Keras's own error and four half-ulps; NaN and infinity as in Keras."""
    keras = goldens.arrays(f"activations__{system}.npz")
    truth = goldens.arrays(f"activations__{'k3torch' if system == 'k3' else system}.npz")
    numbers = goldens.arrays("activations_inputs.npz")["x"]

    def error(value: np.ndarray, exact: np.ndarray) -> float:
        both = np.isfinite(value) & np.isfinite(exact)
        return float(np.max(np.abs(value[both] - exact[both]) / np.maximum(1, np.abs(exact[both])), initial=0))

    names = sorted(key.removesuffix("/f32") for key in keras if key.endswith("/f32"))
    assert len(names) >= 11
    for name in names:
        of_keras, exact = keras[f"{name}/f32"], truth[f"{name}/f64"]
        value = stateless.activate(name, dialect, numbers[: exact.size].reshape(exact.shape))
        assert error(value, exact) <= 2 * error(of_keras, exact) + 4 * 2**-24, name
        assert np.array_equal(np.isnan(value), np.isnan(of_keras)), name
        assert np.array_equal(np.isinf(value), np.isinf(of_keras)), name
