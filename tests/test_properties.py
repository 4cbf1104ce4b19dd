"""Properties of every shape: how a computation is cut up never changes a bit, and rows are strangers to each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import numba_lstm as nl

Array = NDArray[Any]
many = settings(max_examples=120)


@dataclass(frozen=True)
class Problem:
    """A cell, a batch and a mask with holes, all from a seed."""

    batch: int
    timesteps: int
    input_dim: int
    units: int
    dtype: str
    dialect: Any
    recurrent_activation: str
    seed: int

    @property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    def layer(self, **options: Any) -> nl.LSTM:
        layer = nl.LSTM(
            self.units,
            recurrent_activation=self.recurrent_activation,
            bias_initializer="uniform",
            dtype=self.dtype,
            dialect=self.dialect,
            seed=self.seed,
            **options,
        )
        layer.build((None, None, self.input_dim))
        return layer

    @property
    def x(self) -> Array:
        return self.rng.normal(size=(self.batch, self.timesteps, self.input_dim)).astype(self.dtype)

    @property
    def mask(self) -> NDArray[np.bool_]:
        return self.rng.random((self.batch, self.timesteps)) < 0.7


PROBLEMS = st.builds(
    Problem,
    batch=st.integers(1, 9),
    timesteps=st.integers(1, 12),
    input_dim=st.sampled_from([1, 2, 3, 8, 17, 130]),
    units=st.sampled_from([1, 3, 8, 16, 17, 33]),
    dtype=st.sampled_from(["float32", "float64"]),
    dialect=st.sampled_from(["tf1", "keras3"]),
    recurrent_activation=st.sampled_from(["hard_sigmoid", "sigmoid"]),
    seed=st.integers(0, 2**32 - 1),
    # Keras 3's hard_sigmoid takes kernels of its own: those of float32 will do, compiling takes time.
).filter(lambda of: (of.dtype, of.dialect, of.recurrent_activation) != ("float64", "keras3", "hard_sigmoid"))


def same(values: Any, others: Any) -> None:
    for value, other in zip(values, others, strict=True):
        np.testing.assert_array_equal(value, other)


@many
@given(PROBLEMS)
def test_a_run_is_repeated_steps(problem: Problem) -> None:
    layer, x = problem.layer(return_sequences=True, return_state=True), problem.x
    cell = layer.cells[0]
    states = cell.get_initial_state(batch_size=problem.batch)
    steps = []
    for t in range(problem.timesteps):
        h, states = cell(x[:, t], states)
        steps.append(h)
    same(layer(x), [np.stack(steps, axis=1), *states])


@many
@given(PROBLEMS, st.data())
def test_time_may_be_split_anywhere(problem: Problem, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, problem.timesteps))
    layer, x, mask = problem.layer(return_sequences=True, return_state=True), problem.x, problem.mask
    whole, *end = layer(x)
    first, *middle = layer(x[:, :cut])
    rest, *states = layer(x[:, cut:], initial_state=middle) if cut < problem.timesteps else (whole[:, :0], *middle)
    same([np.concatenate([first, rest], axis=1), *states], [whole, *end])
    whole, *end = layer(x, mask=mask)
    first, *middle = layer(x[:, :cut], mask=mask[:, :cut])
    if cut < problem.timesteps:
        rest, *states = layer(x[:, cut:], mask=mask[:, cut:], initial_state=middle)
        same(states, end)
        # A masked step repeats the output before it, which the second call does not know.
        same([rest[mask[:, cut:]]], [whole[:, cut:][mask[:, cut:]]])


@many
@given(PROBLEMS, st.data())
def test_a_batch_may_be_split_anywhere(problem: Problem, data: st.DataObject) -> None:
    cuts = sorted({0, *data.draw(st.lists(st.integers(0, problem.batch), max_size=3)), problem.batch})
    layer = problem.layer(return_sequences=True, return_state=True, go_backwards=data.draw(st.booleans()))
    x, mask = problem.x, problem.mask if data.draw(st.booleans()) else None
    parts = []
    for start, stop in pairwise(cuts):
        parts.append(layer(x[start:stop], mask=None if mask is None else mask[start:stop]))
    same(layer(x, mask=mask), [np.concatenate(pieces) for pieces in zip(*parts, strict=True)])


@many
@given(PROBLEMS, st.data())
def test_rows_do_not_see_their_neighbours(problem: Problem, data: st.DataObject) -> None:
    layer, x = problem.layer(return_sequences=True, return_state=True), problem.x
    clean = layer(x)
    row, step = data.draw(st.integers(0, problem.batch - 1)), data.draw(st.integers(0, problem.timesteps - 1))
    x[row, step, -1] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf, 3e38]))
    for value, before in zip(layer(x), clean, strict=True):
        same(np.delete(value, row, axis=0), np.delete(before, row, axis=0))
    spoiled = layer(x)[0][row]
    same([spoiled[:step]], [clean[0][row, :step]])
    if np.isnan(x[row, step, -1]):
        assert np.isnan(spoiled[step:]).all()


@many
@given(PROBLEMS)
def test_going_backwards_is_reading_the_reversed_sequence(problem: Problem) -> None:
    x, mask = problem.x, problem.mask
    options: dict[str, Any] = {"return_sequences": True, "return_state": True}
    backwards = problem.layer(go_backwards=True, **options)(x, mask=mask)
    same(backwards, problem.layer(**options)(x[:, ::-1], mask=mask[:, ::-1]))


@many
@given(PROBLEMS)
def test_memory_layout_does_not_matter(problem: Problem) -> None:
    layer, x = problem.layer(), problem.x
    y = layer(x)
    for guise in (np.asfortranarray(x), x[::-1][::-1], np.repeat(x, 2, axis=0)[::2], x.astype(x.dtype.newbyteorder())):
        same([layer(guise)], [y])
    frozen = x.copy()
    frozen.flags.writeable = False
    same([layer(frozen)], [y])


@pytest.fixture
def threads() -> Iterator[None]:
    before = nl.get_num_threads()
    yield
    nl.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_number_of_threads_changes_no_bit(threads: None, dtype: str) -> None:
    # Large enough that all threads get rows of their own.
    rng = np.random.default_rng(2)
    x = rng.normal(size=(37, 30, 40))
    lstm = nl.LSTM(48, return_sequences=True, dtype=dtype, seed=1)
    model = nl.Sequential([nl.Bidirectional(lstm), nl.Dense(7, "softmax", dtype=dtype)])
    results = []
    for count in (1, 2, 3, 8):
        nl.set_num_threads(count)
        results.append(model(x))
    for result in results[1:]:
        same([result], results[:1])
    nl.set_num_threads(2)
    same([model.predict(x, batch_size=5)], results[:1])


@many
@given(PROBLEMS, st.integers(0, 8))
def test_cutting_a_batch_changes_no_mask_of_dropout(problem: Problem, start: int) -> None:
    start = min(start, problem.batch - 1)
    model = nl.Sequential([problem.layer(dropout=0.4, recurrent_dropout=0.3, implementation=2, return_sequences=True)])
    model.add(nl.Dropout(0.5, dtype=problem.dtype, dialect=problem.dialect, seed=1))
    whole, _ = model.run_rows(problem.x, training=True, draw=2)
    part, _ = model.run_rows(problem.x[start:], training=True, draw=2, first_row=start)
    same([part], [whole[start:]])
