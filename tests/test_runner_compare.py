"""Comparisons: the largest difference, its place, and accuracies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from running import INPUT_DIM, ROWS, TIMESTEPS, a_model, last_output_model, run

from numba_lstm import LSTM, Dense, Sequential
from numba_lstm.runner.compare import compare_npy


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> Path:
    """A working folder with an input x.npy."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", rng.normal(size=(ROWS, TIMESTEPS, INPUT_DIM)).astype(np.float32))
    return tmp_path


def test_compare(folder: Path) -> None:
    model = last_output_model()
    y = run(model)
    found = compare_npy(model, "x.npy", "y.npy")
    assert (found.rows, found.values, found.outside, found.largest) == (ROWS, ROWS * 4, 0, 0.0)
    assert found.accuracy is None
    y[17, 2] = np.nextafter(y[17, 2], np.float32(2)) if abs(y[17, 2]) < 1 else y[17, 2]
    np.save("y.npy", y)
    found = compare_npy(model, "x.npy", "y.npy", batch_rows=5)
    assert found.place == (17, 2)
    assert found.ulp == pytest.approx(1, abs=0.51)  # at a power of two the neighbours are not equally far
    assert found.outside == 0
    assert compare_npy(model, "x.npy", "y.npy", rtol=0, atol=0).outside == 1


def test_compare_counts_nan_and_infinity(folder: Path) -> None:
    x = np.load("x.npy")
    x[3, 2, 1] = np.nan
    np.save("x.npy", x)
    model = last_output_model()
    y = run(model)
    assert np.isnan(y[3]).all()
    assert compare_npy(model, "x.npy", "y.npy").largest == 0
    y[3, 1] = 0.5
    y[5, 0] = np.inf
    np.save("y.npy", y)
    found = compare_npy(model, "x.npy", "y.npy")
    assert (found.outside, found.largest, found.place) == (2, np.inf, (3, 1))


@pytest.mark.parametrize("size", [1, 4, None])
def test_compare_finds_the_place(folder: Path, size: int | None) -> None:
    model, x = a_model(), np.load("x.npy")
    np.save("xt.npy", x.swapaxes(0, 1).copy())
    np.save("record.npy", x[2])
    for inputs, place, options in (
        ("x.npy", (9, 3, 1), {}),
        ("xt.npy", (3, 9, 1), {"time_major": True}),
        ("record.npy", (3, 1), {}),
        ("x.npy", (9, 1, 2, 1), {"window": 4, "stride": 2}),
        ("record.npy", (1, 2, 1), {"window": 4, "stride": 2}),
    ):
        y = run(model, inputs=inputs, **options)
        y[place] += 1
        np.save("y.npy", y)
        found = compare_npy(model, inputs, "y.npy", batch_rows=size, **options)
        assert (found.place, found.outside) == (place, 1)


def test_compare_takes_other_dtypes(folder: Path) -> None:
    model = last_output_model()
    y = run(model)
    np.save("y.npy", y.astype(np.float16))
    found = compare_npy(model, "x.npy", "y.npy", atol=1e-3)
    assert found.dtype == "float16"
    assert 0 < found.ulp <= 0.5
    np.save("y.npy", np.zeros_like(y, dtype=np.int8))
    assert compare_npy(model, "x.npy", "y.npy").dtype == "float32"


def test_accuracies(folder: Path) -> None:
    model = last_output_model()
    y = run(model)
    labels = y.argmax(axis=1)
    labels[:3] = (labels[:3] + 1) % 4
    np.save("labels.npy", labels)
    other = y.copy()
    other[0, labels[0]] = 9
    np.save("y.npy", other)
    found = compare_npy(model, "x.npy", "y.npy", labels="labels.npy", batch_rows=4)
    assert (found.accuracy, found.expected_accuracy) == ((ROWS - 3) / ROWS, (ROWS - 2) / ROWS)


def test_accuracy_of_one_output(folder: Path) -> None:
    model = Sequential([LSTM(1, seed=4), Dense(1, "sigmoid")])
    model.build((None, None, INPUT_DIM))
    y = run(model)
    np.save("labels.npy", y[:, 0] > 0.5)
    assert compare_npy(model, "x.npy", "y.npy", labels="labels.npy").accuracy == 1
