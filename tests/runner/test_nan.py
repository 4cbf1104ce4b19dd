"""Rows with NaN: what a run counts, beside a count done plainly on the files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.running import INPUT_DIM, ROWS, TIMESTEPS, a_model, last_output_model

from numba_lstm import LSTM, Dense, Embedding, Sequential, run_npy
from numba_lstm.runner.nan import NanCounter, rows_with_nan, steps_with_nan
from numba_lstm.runner.stages import Result


@pytest.fixture
def x(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> Any:
    """Inputs with NaN in four rows, in x.npy and with the timesteps first in xt.npy; infinities are none."""
    monkeypatch.chdir(tmp_path)
    x = rng.normal(size=(ROWS, TIMESTEPS, INPUT_DIM)).astype(np.float32)
    x[[2, 9, 9, 22, 11], [0, 3, 4, 6, 5], [1, 0, 2, 2, 1]] = np.nan
    x[5, 3, 0], x[6, 3, 0] = np.inf, -np.inf
    np.save("x.npy", x)
    np.save("xt.npy", x.swapaxes(0, 1).copy())
    np.save("record.npy", x[9])
    return x


def rows_of(path: str, axis: int = 0) -> int:
    return int(np.isnan(np.moveaxis(np.load(path), axis, 0)).reshape(np.load(path).shape[axis], -1).any(1).sum())


@pytest.mark.parametrize("size", [1, 4, None])
def test_counts(x: Any, size: int | None) -> None:
    for model in (a_model(), last_output_model()):
        report = run_npy(model, "x.npy", "y.npy", force=True, batch_rows=size)
        assert report.nan_rows == (4, rows_of("y.npy")) == (4, 4)
        report = run_npy(model, "x.npy", "y.npy", force=True, batch_rows=size, last_only=True, rows=(3, 12))
        assert report.nan_rows == (2, 2)
        report = run_npy(model, "xt.npy", "y.npy", force=True, batch_rows=size, time_major=True)
        assert report.nan_rows == (4, rows_of("y.npy", np.load("y.npy").ndim - 2)) == (4, 4)
    Path("in").mkdir()
    np.save("in/a.npy", x)
    np.save("in/b.npy", x[:3])
    assert run_npy(model, "in", "out", batch_rows=size).nan_rows == (5, 5)


@pytest.mark.parametrize("size", [1, 4, None])
def test_counts_of_steps_that_count(x: Any, size: int | None) -> None:
    model = last_output_model()
    lengths = np.full(ROWS, TIMESTEPS)
    lengths[[9, 22]] = 3, 6
    np.save("lengths.npy", lengths)
    np.save("mask.npy", np.arange(TIMESTEPS) < lengths[:, None])
    for options in ({"lengths": "lengths.npy"}, {"mask": "mask.npy"}):
        assert run_npy(model, "x.npy", "y.npy", force=True, batch_rows=size, **options).nan_rows == (2, 2)


@pytest.mark.parametrize("size", [1, 4, None])
def test_counts_of_windows(x: Any, size: int | None) -> None:
    model = last_output_model()
    nan = np.isnan(x).any(-1)
    for window, stride in ((3, 1), (2, 2)):
        expected = sum(nan[9, t : t + window].any() for t in range(0, TIMESTEPS - window + 1, stride))
        options: dict[str, Any] = {"window": window, "stride": stride, "batch_rows": size, "force": True}
        assert run_npy(model, "record.npy", "y.npy", **options).nan_rows == (expected, rows_of("y.npy"))
        expected = sum(nan[:, t : t + window].any(1).sum() for t in range(0, TIMESTEPS - window + 1, stride))
        report = run_npy(model, "x.npy", "y.npy", **options)
        assert report.nan_rows == (expected, np.isnan(np.load("y.npy")).any(-1).sum())
    assert run_npy(model, "record.npy", "y.npy", force=True).nan_rows == (1, 1)


def test_nan_of_the_inputs_alone_and_of_the_outputs_alone(x: Any) -> None:
    model = Sequential([LSTM(4, activation="relu", seed=1), Dense(2)])
    model.build((None, None, INPUT_DIM))
    kernel, bias = model.layers[1].get_weights()
    model.layers[1].set_weights([np.full_like(kernel, np.inf), bias])
    np.save("x.npy", np.nan_to_num(x, nan=1, posinf=0, neginf=0))
    report = run_npy(model, "x.npy", "y.npy")
    assert report.nan_rows == (0, rows_of("y.npy")) and rows_of("y.npy") > 0
    words = Sequential([Embedding(5, 3), LSTM(2, seed=1)])
    words.build((None, None))
    np.save("words.npy", np.zeros((3, 4), np.int32))
    assert run_npy(words, "words.npy", "y.npy", force=True).nan_rows == (0, 0)


def test_what_counts_as_nan(rng: np.random.Generator) -> None:
    for dtype in (np.float16, np.float32, np.float64):
        for size in (1, 7, 64, 1000):
            x = rng.normal(size=(size, 2, 3)).astype(dtype)
            x[0, 0, 0], x[-1, -1, -1] = np.inf, -np.inf
            for array in (x, x[::2], x.T, x[:0]):
                assert rows_with_nan(array) is None and steps_with_nan(array, 0, features=True) is None
            for row in {0, size // 2, size - 1}:
                with_nan = x.copy()
                with_nan[row, 1, 1] = np.nan
                for axis, array in ((0, with_nan), (1, with_nan.swapaxes(0, 1).copy()), (1, with_nan.swapaxes(0, 1))):
                    rows, steps = rows_with_nan(array, axis), steps_with_nan(array, axis, features=True)
                    assert rows is not None and np.flatnonzero(rows).tolist() == [row]
                    assert steps is not None and steps.shape == array.shape[:2]
                    assert np.argwhere(steps).tolist() == [[row, 1][:: 1 - 2 * axis]]
    assert rows_with_nan(np.ones((3, 2), np.int32)) is None
    indices = np.array([[1, np.nan], [2, 3]])
    assert np.array_equal(steps_with_nan(indices, 0, features=False), [[False, True], [False, False]])


@pytest.mark.parametrize("time_major", [False, True])
def test_a_row_counts_once_in_whichever_outputs_it_has_a_nan(time_major: bool) -> None:
    written = []
    writer: Any = SimpleNamespace(write=written.append)
    counter = NanCounter(writer, time_major)
    shape = (3, 5, 2) if time_major else (5, 3, 2)
    first, second, last = np.zeros(shape), np.zeros(shape), np.zeros((5, 2))
    for array, rows in ((first, (1, 3)), (second, (3, 4))):
        for row in rows:
            array[(2, row, 0) if time_major else (row, 2, 0)] = np.nan
    last[0, 1] = np.nan
    for outputs, total in (((first, second), 3), ((second,), 5), ((last,), 6), ((np.zeros(shape),), 6)):
        result = Result(0, 5, outputs, None)
        counter.write(result)
        assert counter.rows == total and written[-1] is result
