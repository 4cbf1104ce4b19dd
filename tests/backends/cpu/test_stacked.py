"""Stacked cells as a wavefront: the bits of one cell after the other, with all options and wherever time is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import numba_lstm as nl
from numba_lstm.backends.cpu import policy, stacked, threads

Array = NDArray[Any]


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_number", 2)
    monkeypatch.setattr(threads, "_crowded_until", 0.0)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A wavefront wherever one is possible, two timesteps at a time; gives the number of cells of each group so far."""
    seen: list[int] = []

    def plan(cells: list[Any], inputs: Array, mask: Array | None) -> tuple[int, int] | None:
        seen.append(len(cells))
        return None if threads.alone() or len(cells) == 1 else (2, 2)

    monkeypatch.setattr(stacked, "wave_of", plan)
    yield seen


def cells_of(units: list[int], input_dim: int, dtype: str, **options: Any) -> list[nl.LSTMCell]:
    cells = []
    for number, n in enumerate(units):
        initial: dict[str, Any] = {"bias_initializer": "uniform", "recurrent_initializer": "glorot_uniform"}
        cells.append(nl.LSTMCell(n, dtype=dtype, seed=number, **initial, **options))
        cells[-1].build(input_dim)
        input_dim = n
    return cells


def same(results: Any, others: Any) -> bool:
    """Whether two layers' results, lists of lists of arrays perhaps, are equal in every bit."""
    if isinstance(results, list):
        return len(results) == len(others) and all(map(same, results, others))
    return bool(results.dtype == others.dtype and np.array_equal(results, others, equal_nan=True))


@settings(max_examples=60)
@given(st.data())
def test_how_time_and_threads_are_shared_changes_no_bit(data: st.DataObject) -> None:
    draw = data.draw
    units = draw(st.lists(st.sampled_from([1, 4, 16, 17, 40]), min_size=2, max_size=4), label="units")
    batch, timesteps = (
        draw(st.sampled_from([1, 2, 3, 5, 7]), label="batch"),
        draw(st.integers(1, 20), label="timesteps"),
    )
    dtype = draw(st.sampled_from(["float32", "float64"]), label="dtype")
    rng = np.random.default_rng(draw(st.integers(0, 999), label="seed"))
    x = rng.normal(size=(batch, timesteps, 3)).astype(dtype)[:, :: draw(st.sampled_from([1, -1]), label="stride")]
    mask = rng.random((batch, timesteps)) < 0.7 if draw(st.booleans(), label="masked") else None
    backwards, masks = (
        draw(st.booleans(), label="go_backwards"),
        draw(st.sampled_from([0, 1, 4]), label="dropout masks"),
    )
    sequences = draw(st.booleans(), label="return_sequences")
    calls = []
    for number, cell in enumerate(cells_of(units, 3, dtype)):
        last = number == len(units) - 1
        inputs, own = rng.random((2, masks, batch, [3, *units][number])), rng.random((2, masks, batch, units[number]))
        call = stacked.CellCall(
            cell.packed(dtype),
            *rng.normal(size=(2, batch, units[number])).astype(dtype),
            mask=mask,
            dropout_mask=inputs[0].astype(dtype) if masks else None,
            recurrent_dropout_mask=own[0].astype(dtype) if masks else None,
            go_backwards=backwards and number == 0,
            return_sequences=sequences or not last,
            zero_output_for_mask=last and draw(st.booleans(), label="zero_output_for_mask"),
        )
        calls.append(call)
    length, workers = draw(st.integers(1, timesteps), label="length"), draw(st.integers(1, 4), label="workers")
    before = policy.BYTES_BETWEEN
    policy.BYTES_BETWEEN = draw(st.sampled_from([1, 2000, before]), label="bytes between the layers")
    try:
        outputs, states = stacked._wavefront(x, calls, length, workers)
    finally:
        policy.BYTES_BETWEEN = before
    expected, expected_states = stacked.in_turn(x, calls)
    assert same([outputs, *states], [expected, *expected_states])


def in_turn(run: Callable[[], Any]) -> Any:
    """The result of `run` without a wavefront."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stacked, "wave_of", lambda *given: None)
        return run()


def model(*, training: bool = False, **options: Any) -> nl.Sequential:
    """A bit of everything: what runs together is named in the test below."""
    rate = 0.3 if training else 0.0
    common: dict[str, Any] = {"dialect": "keras2", "dtype": "float32"}
    more: dict[str, Any] = {"return_sequences": True, **common, **options}
    cells = [nl.LSTMCell(n, recurrent_dropout=rate, seed=n, **common) for n in (4, 3)]
    layers = [
        nl.LSTM(5, dropout=rate, seed=1, **more),
        nl.Dropout(0.5, seed=2, **common),
        nl.LSTM(4, seed=3, **more),
        nl.RNN(cells, **more),
        nl.LSTM(3, go_backwards=True, seed=4, **more),
        nl.LSTM(6, seed=5, **more),
        nl.Bidirectional(nl.LSTM(4, seed=6, **more), **common),
        nl.LSTM(5, seed=7, **more),
        nl.LSTM(4, seed=8, **{**more, "return_sequences": False}, return_state=True),
    ]
    made = nl.Sequential(layers)
    made.build((2, 11, 3))
    return made


def test_neighbouring_layers_of_a_model_run_together(rng: np.random.Generator, always: list[int]) -> None:
    x, mask = rng.normal(size=(2, 11, 3)).astype(np.float32), rng.random((2, 11)) < 0.7
    together = [model()(x), model()(x, mask=mask), *model().run_rows(x, mask=mask, return_state=True)]
    # (The directions of Bidirectional ask as well, each by itself.)
    assert always[:5] == [4, 2, 2, 4, 2]
    always.clear()
    dropped = model(training=True)(x, training=True)
    assert always[:2] == [3, 2], "Dropout that drops stands between"
    apart = [in_turn(lambda: model()(x)), in_turn(lambda: model()(x, mask=mask))]
    apart += in_turn(lambda: model().run_rows(x, mask=mask, return_state=True))
    assert same(together, apart) and same(dropped, in_turn(lambda: model(training=True)(x, training=True)))


@pytest.mark.parametrize(
    "options",
    [{"stateful": True}, {"time_major": True}, {"unroll": True}, {"stateful": True, "time_major": True}],
    ids=str,
)
def test_options_of_layers(rng: np.random.Generator, always: list[int], options: dict[str, Any]) -> None:
    x = rng.normal(size=(2, 11, 3)).astype(np.float32)
    mask = rng.random((2, 11)) < 0.7
    if "time_major" in options:
        x, mask = x.swapaxes(0, 1), mask.T

    def twice() -> list[Any]:
        first = [
            nl.LSTM(4, go_backwards=True, return_sequences=True, zero_output_for_mask=True, seed=1, **options),
            nl.LSTM(5, return_sequences=True, seed=2, **options),
            nl.LSTM(3, return_sequences=True, seed=3, **options),
        ]
        made = nl.Sequential(first)
        return [made(x, mask=mask), made(x[::-1], mask=mask), *(layer.states or [] for layer in first)]

    results = twice()
    # Zeros that are put in afterwards stand between the first layer and the next.
    assert always == ([2] if "unroll" in options else [3]) * 2
    assert same(results, in_turn(twice))


def test_a_cell_in_two_layers(rng: np.random.Generator, always: list[int]) -> None:
    """Its dropout masks are drawn for one layer after the other, so the layers run one after the other."""
    x = rng.normal(size=(2, 6, 3)).astype(np.float32)

    def run() -> Any:
        cell = nl.LSTMCell(3, dropout=0.4, seed=1, dialect="keras3")
        layers = [nl.RNN(cell, return_sequences=True, dialect="keras3") for _ in range(2)]
        return nl.Sequential(layers)(x, training=True)

    together = run()
    assert not always and same(together, in_turn(run))


def test_several_python_threads_at_once(rng: np.random.Generator, always: list[int]) -> None:
    made = nl.RNN(cells_of([20, 16, 5], 3, "float32"), return_sequences=True)
    batches = rng.normal(size=(12, 1, 40, 3)).astype(np.float32)
    expected = in_turn(lambda: [made(x) for x in batches])
    with ThreadPoolExecutor(4) as pool:
        assert same(list(pool.map(made, batches)), expected)
    assert same(threads.together([lambda: made(batches[0]), lambda: made(batches[1])]), expected[:2])


def test_when_layers_share_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def plan(batch: int = 1, timesteps: int = 2000, units: tuple[int, ...] = (64, 64), **more: Any) -> Any:
        cells = [cell.packed("float32") for cell in cells_of(list(units), 64, "float32")]
        x = more.get("x", np.broadcast_to(np.float32(0), (batch, timesteps, 64)))
        return stacked.wave_of(cells, x, more.get("mask"))

    length, workers = plan()
    assert 6 <= length < 1000 and length % 6 == 0 and workers == 2
    assert plan(units=(64, 64, 64))[1] == 2 and plan(batch=3)
    assert plan(units=(64,)) is None, "one layer"
    assert plan(batch=6) is None, "rows enough"
    assert plan(batch=0) is None
    assert plan(timesteps=20) is None, "little work"
    assert plan(timesteps=20_000, units=(128, 4)) is None, "one layer has nearly all of it"
    lengths = np.arange(2000) < np.array([[100], [2000]])
    assert plan(batch=2, mask=lengths[::-1]) and plan(batch=2, mask=lengths) is None, "rows to be sorted"
    assert plan(units=(256, 256)) is None, "two threads share the units of each"
    assert plan(units=(256, 64)) and plan(units=(128, 128))
    record = np.zeros((2003, 64), np.float32)
    view = np.lib.stride_tricks.sliding_window_view(record, 2000, axis=0).swapaxes(1, 2)
    assert plan(x=view) is None, "windows that share sums"
    assert threads.together([plan, plan]) == [None, None]
    monkeypatch.setattr(threads, "_number", 3)
    assert plan()[1] == 2 and plan(units=(64, 64, 64, 64))[1] == 3
    assert plan(units=(256, 256, 256))[1] == 3
    with monkeypatch.context() as patch:
        patch.setattr(threads, "crowded", lambda: True)
        assert plan() is None, "other processes have the CPUs"
    monkeypatch.setattr(threads, "_number", 1)
    assert plan() is None
