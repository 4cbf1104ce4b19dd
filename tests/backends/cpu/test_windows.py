"""Windows of a record: what their timesteps share is worked out once, with the bits of windows that share nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided, sliding_window_view
from numpy.typing import NDArray

import numba_lstm as nl
from numba_lstm.backends.cpu import packing, policy, run, threads, windows
from numba_lstm.backends.cpu import run as cpu

Array = NDArray[Any]


def small_cell(rng: np.random.Generator, units: int, activation: str) -> packing.PackedCell:
    shapes = (3, 4 * units), (units, 4 * units), (4 * units,)
    weights = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    options: dict[str, Any] = {"activation": activation, "recurrent_activation": "sigmoid", "dialect": "keras3"}
    return packing.pack_cell(*weights, dtype="float32", **options)


@given(
    batch=st.sampled_from([2, 5, 7, 50, 120]),
    length=st.integers(1, 9),
    stride=st.integers(1, 3),
    activation=st.sampled_from(["tanh", "relu"]),
    workers=st.integers(1, 3),
    room=st.sampled_from([0, 1 << 26]),
    extra=st.sampled_from(["nothing", "mask", "dropout_mask", "recurrent_dropout_mask"]),
    options=st.fixed_dictionaries({name: st.booleans() for name in ("go_backwards", "return_sequences")}),
)
def test_the_bits_of_windows_that_are_copies(
    batch: int,
    length: int,
    stride: int,
    activation: str,
    workers: int,
    room: int,
    extra: str,
    options: dict[str, bool],
) -> None:
    rng = np.random.default_rng(length)
    cell = small_cell(rng, 19, activation)
    record = rng.standard_normal(((batch - 1) * stride + length, 3)).astype(np.float32)
    view = sliding_window_view(record, length, axis=0)[::stride].swapaxes(1, 2)
    h, c = rng.standard_normal((2, batch, 19)).astype(np.float32)
    has_masks: dict[str, Array] = {
        "mask": rng.random((batch, length)) < 0.8,
        "dropout_mask": rng.random((4, batch, 3)).astype(np.float32),
        "recurrent_dropout_mask": rng.random((4, batch, 19)).astype(np.float32),
    }
    chosen: dict[str, Any] = {name: array for name, array in has_masks.items() if name == extra}
    before = threads.get_num_threads(), policy.BYTES_OF_SUMS
    try:
        threads.set_num_threads(workers)
        policy.BYTES_OF_SUMS = room
        found = cpu.sequence(cell, view, h, c, **chosen, **options)
    finally:
        threads.set_num_threads(before[0])
        policy.BYTES_OF_SUMS = before[1]
    copied = cpu.sequence(cell, np.ascontiguousarray(view), h, c, **chosen, **options)
    for value, expected in zip(found, copied, strict=True):
        np.testing.assert_array_equal(value, expected)


def test_an_activation_over_all_units(rng: np.random.Generator) -> None:
    cell = small_cell(rng, 19, "softmax")
    view = sliding_window_view(rng.standard_normal((40, 3)).astype(np.float32), 7, axis=0).swapaxes(1, 2)
    h = np.zeros((34, 19), np.float32)
    for value, expected in zip(cpu.sequence(cell, view, h, h), cpu.sequence(cell, view.copy(), h, h), strict=True):
        np.testing.assert_array_equal(value, expected)


def test_each_timestep_meets_the_kernel_once(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    ranges = []
    call_of = run.SumsCall

    def counted(first: int, last: int, *others: Any) -> Any:
        ranges.append((first, last))
        return call_of(first, last, *others)

    monkeypatch.setattr(run, "SumsCall", counted)
    model = nl.Sequential([nl.LSTM(4, return_sequences=True, seed=1), nl.LSTM(5, seed=2)])
    record = rng.standard_normal((500, 3)).astype(np.float32)
    y = model.predict(record, windows=(30, 2))
    # Only the first layer sees windows that overlap.
    assert sum(last - first for first, last in ranges) == 235 * 2 + 30 == 500
    np.testing.assert_array_equal(y[17], model.predict(record[np.newaxis, 34:64])[0])


def test_views_that_are_windows() -> None:
    record = np.arange(60.0).reshape(20, 3)
    view = sliding_window_view(record, 8, axis=0)[::2].swapaxes(1, 2)
    found = windows.record_of(view)
    assert found is not None and found[1] == 2
    assert np.array_equal(found[0], record[:20])
    assert np.array_equal(windows.windows_of(found[0], *view.shape[:2], 2), view)
    assert windows.record_of(view.copy()) is None
    assert windows.record_of(view[:, ::-1]) is None
    assert windows.record_of(view[::-1]) is None
    assert windows.record_of(view[:1]) is None
    assert windows.record_of(sliding_window_view(record, 8, axis=0)[::6].swapaxes(1, 2)) is None
    # A row's stride that is no multiple of a timestep's, and none at all.
    flat = np.arange(60.0)
    assert windows.record_of(as_strided(flat, (9, 8, 2), (24, 16, 8))) is None
    assert windows.record_of(np.broadcast_to(record, (4, 20, 3))) is None
