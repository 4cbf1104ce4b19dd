"""Batches of rows of unequal lengths: taken longest first, answered in the caller's order, bit for bit."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import numba_lstm as nl
from numba_lstm.backends.cpu import packing, policy, ragged, threads
from numba_lstm.backends.cpu import run as cpu

Array = NDArray[Any]


def small_cell(rng: np.random.Generator, input_dim: int, units: int) -> packing.PackedCell:
    weights = [rng.standard_normal(shape).astype(np.float32) for shape in ((input_dim, 4 * units), (units, 4 * units))]
    return packing.pack_cell(
        *weights,
        rng.standard_normal(4 * units).astype(np.float32),
        activation="tanh",
        recurrent_activation="sigmoid",
        dialect="keras3",
        dtype="float32",
    )


@given(
    batch=st.sampled_from([2, 3, 5, 7, 30, 130]),
    timesteps=st.integers(1, 9),
    workers=st.integers(1, 3),
    at_once=st.sampled_from([0, 1 << 20]),
    holes=st.booleans(),
    left=st.booleans(),
    dropout=st.booleans(),
    options=st.fixed_dictionaries(
        {name: st.booleans() for name in ("go_backwards", "return_sequences", "zero_output_for_mask")}
    ),
    seed=st.integers(0, 9),
)
def test_each_row_as_if_it_were_alone(
    batch: int,
    timesteps: int,
    workers: int,
    at_once: int,
    holes: bool,
    left: bool,
    dropout: bool,
    options: dict[str, bool],
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    cell = small_cell(rng, 3, 19)
    x = rng.standard_normal((batch, timesteps, 3)).astype(np.float32)
    h, c = rng.standard_normal((2, batch, 19)).astype(np.float32)
    mask = np.arange(timesteps) < rng.integers(0, timesteps + 1, (batch, 1))
    mask = mask[:, ::-1] if left else mask
    mask = mask & (rng.random(mask.shape) < 0.8) if holes else mask
    factors = {"dropout_mask": rng.random((4, batch, 3)), "recurrent_dropout_mask": rng.random((1, batch, 19))}
    chosen = {name: array.astype(np.float32) for name, array in factors.items()} if dropout else {}
    before = threads.get_num_threads(), ragged.BYTES_AT_ONCE
    try:
        threads.set_num_threads(workers)
        ragged.BYTES_AT_ONCE = at_once
        together = cpu.sequence(cell, x, h, c, mask=mask, **chosen, **options)
    finally:
        threads.set_num_threads(before[0])
        ragged.BYTES_AT_ONCE = before[1]
    for row in range(batch):
        this = slice(row, row + 1)
        own = {name: array[:, this] for name, array in chosen.items()}
        alone = cpu.sequence(cell, x[this], h[this], c[this], mask=mask[this], **own, **options)
        for value, expected in zip(together, alone, strict=True):
            np.testing.assert_array_equal(value[this], expected)


def test_lengths_of_a_model(rng: np.random.Generator) -> None:
    model = nl.Sequential(
        [
            nl.Bidirectional(nl.LSTM(5, return_sequences=True, seed=1)),
            nl.LSTM(4, return_sequences=True, seed=2),
            nl.LSTM(6, seed=3),
        ]
    )
    x = rng.standard_normal((40, 12, 3)).astype(np.float32)
    lengths = rng.integers(1, 13, 40)
    y = model.predict(x, lengths=lengths)
    for row, length in enumerate(lengths):
        np.testing.assert_array_equal(y[row], model.predict(x[row : row + 1, :length])[0])


def test_the_work_follows_the_sum_of_the_lengths(rng: np.random.Generator) -> None:
    lengths = rng.integers(0, 201, 5000)
    mask = np.arange(200) < lengths[:, np.newaxis]
    order = ragged.longest_first(mask)
    assert order is not None
    done = []

    def call(x: Array, h: Array, c: Array, **others: Any) -> tuple[Array, Array, Array]:
        assert others["mask"].shape == x.shape[:2]
        assert np.all(np.diff(np.count_nonzero(others["mask"], axis=1)) <= 0)
        done.append(x.shape[0] * x.shape[1])
        return h, h, c

    h = np.zeros((5000, 2), np.float32)
    x = np.zeros((5000, 200, 30), np.float32)
    ranges = [(0, 2400), (2400, 5000)]
    ragged.in_order(
        order, ranges, call, x, h, h, mask, (None, None), return_sequences=False, zero_output_for_mask=False
    )
    assert len(done) > 10
    assert sum(done) < 1.05 * lengths.sum()


def test_what_is_left_as_it_is() -> None:
    steps = np.arange(8)
    assert ragged.longest_first(np.ones((5, 8), bool)) is None
    assert ragged.longest_first(np.zeros((0, 8), bool)) is None
    assert ragged.longest_first(steps < np.array([[7], [5], [5], [0]])) is None
    # Holes in rows that begin and end together: sorting saves nothing.
    assert ragged.longest_first(np.array([[1, 0, 0, 1], [1, 1, 1, 1]], bool)) is None
    assert np.array_equal(ragged.longest_first(steps < np.array([[1], [8], [4], [8]])), [1, 3, 2, 0])


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_threads_share_the_work_and_not_the_rows(parts: int) -> None:
    shares = np.sort(np.random.default_rng(parts).integers(0, 100, 600))[::-1]
    ranges = policy.split(600, parts, whole=6, shares=shares)
    assert [first for first, _ in ranges] == [0, *(last for _, last in ranges[:-1])] and ranges[-1][1] == 600
    assert all(first % 6 == 0 and first < last for first, last in ranges)
    work = [shares[first:last].sum() for first, last in ranges]
    assert len(work) == parts and max(work) - min(work) < 1200
    assert policy.split(5, parts, whole=6, shares=shares[:5]) == [(0, 5)]
    idle = policy.split(600, parts, whole=6, shares=np.zeros(600, int))
    assert idle[0][0] == 0 and idle[-1][1] == 600 and all(a[1] == b[0] for a, b in pairwise(idle))
