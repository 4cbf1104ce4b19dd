"""The weights of a cell: made, set, returned, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.random_cells import check_refused

from numba_lstm.cell import LSTMCell
from numba_lstm.errors import ConfigError, DTypeError, ShapeError


def example(rng: np.random.Generator, batch: int = 4, input_dim: int = 3, units: int = 5, bias: bool = True) -> Any:
    """Inputs, states and weights."""
    weights = [rng.standard_normal((input_dim, 4 * units)), rng.standard_normal((units, 4 * units))]
    if bias:
        weights.append(rng.standard_normal(4 * units))
    states = [rng.standard_normal((batch, units)), rng.standard_normal((batch, units))]
    return rng.standard_normal((batch, input_dim)), states, weights


@pytest.mark.parametrize("use_bias", [True, False])
def test_weights(use_bias: bool, rng: np.random.Generator) -> None:
    cell = LSTMCell(5, use_bias=use_bias)
    assert not cell.built and cell.get_weights() == [] and cell.input_dim is None
    cell.build((None, 3))
    assert cell.built and cell.input_dim == 3
    weights = cell.get_weights()
    names, shapes = cell.weight_names(), cell.weight_shapes(3)
    assert names == ["kernel", "recurrent_kernel", "bias"][: 2 + use_bias]
    assert [weight.shape for weight in weights] == shapes == [(3, 20), (5, 20), (20,)][: 2 + use_bias]
    assert cell.count_params() == 60 + 100 + 20 * use_bias
    assert (cell.bias is None) == (not use_bias)
    cell.build(3)
    assert all(np.array_equal(one, other) for one, other in zip(weights, cell.get_weights(), strict=True))
    x, states, others = example(rng, bias=use_bias)
    before = cell(x, states)[0]
    cell.set_weights(others)
    after = cell(x, states)[0]
    assert not np.array_equal(before, after)
    # What was given out or taken is not shared.
    others[0][:] = 0
    cell.get_weights()[0][:] = 0
    assert np.array_equal(cell(x, states)[0], after)
    with pytest.raises(ValueError, match="read-only"):
        cell.kernel[:] = 0  # type: ignore[index]


def test_weights_before_build_tell_the_input_dim(rng: np.random.Generator) -> None:
    x, states, weights = example(rng)
    cell = LSTMCell(5)
    cell.set_weights([weight.tolist() for weight in weights])
    assert cell.input_dim == 3
    twin = LSTMCell(5)
    twin.set_weights([np.asfortranarray(weight.astype(">f4")) for weight in weights])
    assert np.array_equal(cell(x, states)[0], twin(x, states)[0])


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (lambda cell: cell.build(4), ShapeError, "inputs have 4 features; expected 3, the rows of c's kernel"),
        (
            lambda cell: cell.set_weights([np.zeros((3, 20))]),
            ShapeError,
            "c got 1 weights; expected 3: kernel, recurrent_kernel, bias",
        ),
        (
            lambda cell: cell.set_weights([np.zeros((3, 16)), np.zeros((5, 20)), np.zeros(20)]),
            ShapeError,
            "kernel has shape (3, 16); expected (3, 20) = (input_dim, 4 * units)",
        ),
        (
            lambda cell: cell.set_weights([np.zeros((3, 20)), np.zeros((20, 5)), np.zeros(20)]),
            ShapeError,
            "recurrent_kernel has shape (20, 5); expected (5, 20) = (units, 4 * units)",
        ),
        (
            lambda cell: cell.set_weights([np.zeros((3, 20)), np.zeros((5, 20)), np.zeros(40)]),
            ShapeError,
            "bias has shape (40,); expected (20,) = (4 * units,)",
        ),
        (
            lambda cell: cell.set_weights([np.zeros((3, 20)), np.zeros((5, 20)), np.array(["a"] * 20)]),
            DTypeError,
            "bias has dtype str; expected floats, integers or booleans; convert it first, with .astype(float)",
        ),
        (lambda cell: LSTMCell(2).build(0), ConfigError, "input_dim is 0; expected an integer from 1 to 268435456"),
        (lambda cell: LSTMCell(2).build((3, None)), ConfigError, "input_dim is None; expected an integer from 1 to"),
        (
            lambda cell: LSTMCell(65_536).build(3),
            ConfigError,
            "lstm_cell: recurrent_kernel would have shape (65536, 262144) = (units, 4 * units) and 68.7 GB; "
            "expected at most 2147483648 elements; make the layer smaller",
        ),
        (
            lambda cell: LSTMCell(2).count_params(),
            ConfigError,
            "lstm_cell has no weights yet; call build(input_dim) or set_weights before count_params",
        ),
        (
            lambda cell: LSTMCell(2).packed(),
            ConfigError,
            "lstm_cell has no weights yet; call build(input_dim) or set_weig",
        ),
        (
            lambda cell: LSTMCell(2, use_bias=False).set_weights([np.zeros((3, 8)), np.zeros((2, 8)), np.zeros(8)]),
            ShapeError,
            "lstm_cell got 3 weights; expected 2: kernel, recurrent_kernel; use_bias is False",
        ),
        (
            lambda cell: LSTMCell(2).set_weights([np.zeros(8), np.zeros((2, 8)), np.zeros(8)]),
            ShapeError,
            "kernel has shape (8,); expected (8, 8) = (input_dim, 4 * units)",
        ),
        (lambda cell: cell.reseed("a"), ConfigError, "seed is 'a'; expected an integer from"),
    ],
)
def test_errors(
    action: Callable[[LSTMCell], Any], error: type[Exception], message: str, one_line: Callable[[Any], str]
) -> None:
    check_refused(action, error, message, one_line)


def test_weights_wait_until_they_are_looked_at() -> None:
    """Once their input_dim is known; until then there are none."""
    cell = LSTMCell(2, seed=3)
    cell.expect(3)
    assert not cell.built
    kernel = cell.kernel
    assert cell.built and kernel is not None and kernel.shape == (3, 8)
    with pytest.raises(AttributeError, match="has no attribute 'kernels'"):
        cell.kernels  # noqa: B018
    assert LSTMCell(2).kernel is None


def test_one_weight_is_assigned() -> None:
    cell = LSTMCell(2, dtype="float64")
    with pytest.raises(
        ConfigError, match=r"no weights yet; call build\(input_dim\) or set_weights before assigning bias"
    ):
        cell.bias = np.zeros(8)
    cell.build(3)
    kernel = cell.kernel
    cell.bias = range(8)
    np.testing.assert_array_equal(cell.get_weights()[2], np.arange(8.0))
    np.testing.assert_array_equal(cell.kernel, kernel)
    with pytest.raises(ShapeError, match=r"^lstm_cell: bias has shape \(4,\); expected \(8,\) = \(4 \* units,\)$"):
        cell.bias = np.zeros(4)
