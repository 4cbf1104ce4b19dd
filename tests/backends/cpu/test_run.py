"""Calls on the CPU: arrays of every kind, threads, and rows that depend on nothing around them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.random_cells import FLOATS, random_cell, random_states

from numba_lstm.backends.cpu import run, threads


@given(
    batch=st.integers(1, 60),
    timesteps=st.integers(1, 6),
    input_dim=st.integers(1, 40),
    units=st.integers(1, 40),
    dtype=st.sampled_from(FLOATS),
    row=st.floats(0, 1, exclude_max=True),
    cut=st.floats(0, 1),
    workers=st.integers(1, 5),
    masked=st.booleans(),
)
def test_nothing_around_a_row_changes_its_bits(
    batch: int,
    timesteps: int,
    input_dim: int,
    units: int,
    dtype: str,
    row: float,
    cut: float,
    workers: int,
    masked: bool,
) -> None:
    """A row alone, in one thread, cut in two in time: the same bits as in the batch on many threads."""
    rng = np.random.default_rng(batch * 1000 + units)
    cell, _ = random_cell(rng, input_dim, units, dtype)
    h, c = random_states(rng, batch, units, dtype)
    x = rng.standard_normal((batch, timesteps, input_dim)).astype(dtype)
    mask = rng.random((batch, timesteps)) < 0.6 if masked else None
    before = threads.get_num_threads()
    try:
        threads.set_num_threads(workers)
        outputs, all_h, all_c = run.sequence(cell, x, h, c, mask=mask, return_sequences=True)
        threads.set_num_threads(1)
        this, at = slice(int(row * batch), int(row * batch) + 1), round(cut * timesteps)
        parts, h_now, c_now = [], h[this], c[this]
        for first, last in ((0, at), (at, timesteps)):
            if first < last:
                marks = None if mask is None else mask[this, first:last]
                y, h_now, c_now = run.sequence(
                    cell, x[this, first:last], h_now, c_now, mask=marks, return_sequences=True
                )
                parts.append(y)
    finally:
        threads.set_num_threads(before)
    assert np.array_equal(h_now, all_h[this])
    assert np.array_equal(c_now, all_c[this])
    if mask is None or mask[this, at:].all():
        # A masked step repeats the last output of its own call, so only unmasked outputs are comparable then.
        assert np.array_equal(np.concatenate(parts, axis=1)[:, at:], outputs[this, at:])


def test_strided_and_read_only_inputs() -> None:
    rng = np.random.default_rng(8)
    cell, _ = random_cell(rng, 4, 6, "float32")
    h, c = random_states(rng, 5, 6, "float32")
    x = rng.standard_normal((5, 7, 4)).astype(np.float32)
    expected, _, _ = run.sequence(cell, x, h, c)
    frozen = x.copy()
    frozen.setflags(write=False)
    wide = np.zeros((5, 14, 8), np.float32)
    wide[:, ::2, ::2] = x
    in_time_order = np.ascontiguousarray(x.transpose(1, 0, 2))
    for same in (
        frozen,
        np.asfortranarray(x),
        wide[:, ::2, ::2],
        in_time_order.transpose(1, 0, 2),
        x[::-1].copy()[::-1],
    ):
        assert np.array_equal(run.sequence(cell, same, h, c)[0], expected)


def test_empty_batch() -> None:
    rng = np.random.default_rng(1)
    cell, _ = random_cell(rng, 2, 3, "float32")
    h, c = random_states(rng, 0, 3, "float32")
    outputs, new_h, new_c = run.sequence(cell, np.zeros((0, 4, 2), np.float32), h, c, return_sequences=True)
    assert outputs.shape == (0, 4, 3) and new_h.shape == new_c.shape == (0, 3)


def test_a_step_is_a_sequence_of_one_timestep() -> None:
    """Of one row, for which memory is kept from call to call, and of several, bit for bit."""
    rng = np.random.default_rng(2)
    cell, _ = random_cell(rng, 4, 6, "float32")
    h, c = random_states(rng, 3, 6, "float32")
    x = rng.standard_normal((3, 4)).astype(np.float32)
    _, all_h, all_c = run.sequence(cell, x[:, np.newaxis], h, c)
    for rows in (slice(0, 3), slice(0, 1), slice(2, 3)):
        new_h, new_c = run.step(cell, x[rows], h[rows], c[rows])
        np.testing.assert_array_equal(new_h, all_h[rows])
        np.testing.assert_array_equal(new_c, all_c[rows])
    kept = new_h.copy()
    run.step(cell, x[:1], h[:1], c[:1])
    np.testing.assert_array_equal(new_h, kept)  # what was handed out is nobody else's
