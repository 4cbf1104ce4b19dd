"""Comparisons: the largest difference, its place, and accuracies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.running import INPUT_DIM, ROWS, TIMESTEPS, a_model, last_output_model, run

from numba_lstm import LSTM, Dense, Sequential
from numba_lstm.errors import ConfigError, DTypeError, ShapeError
from numba_lstm.formats.npy import open_npy
from numba_lstm.runner.compare import Comparer, Comparison, compare_npy
from numba_lstm.runner.stages import Result


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


def compared(
    path: Path, computed: Any, expected: Any, labels: Any = None, rtol: float = 0.0, atol: float = 0.0
) -> Comparison:
    """Outputs (batch, ...) that were computed, row by row, beside expected ones in a file."""
    np.save(path / "expected.npy", expected)
    with open_npy(path / "expected.npy") as file:
        known = None if labels is None else np.asarray(labels)
        rows = len(computed)
        comparer = Comparer(file, known, rtol, atol, rows=rows, leading=(rows,), time_major=False)
        for row in range(rows):
            comparer.write(Result(row, row + 1, (computed[row : row + 1],), None))
        return comparer.comparison()


@pytest.mark.parametrize(
    ("computed", "expected", "rtol", "atol", "outside"),
    [
        (2.0, 1.0, 0.75, 0.0, 1),  # relative to the expected value, not to the computed one
        (1.0, 2.0, 0.75, 0.0, 0),
        (-1.0, -2.0, 0.75, 0.0, 0),
        (1.0, -1.0, 1.0, 0.0, 1),
        (1.5, 1.0, 0.0, 0.5, 0),  # up to the tolerance, it included
        (1.5, 1.0, 0.0, 0.49, 1),
        (1.5, 1.0, 0.25, 0.25, 0),
        (1.5, 1.0, 0.25, 0.24, 1),
        (1.5, 1.0, 0.5, 0.0, 0),
        (0.0, 0.0, 0.0, 0.0, 0),
        (np.inf, np.inf, 0.0, 0.0, 0),
        (np.inf, -np.inf, 1.0, 1.0, 1),
        (3e38, np.inf, 1.0, 1.0, 1),
        (np.inf, 3e38, 1.0, 1.0, 1),
        (np.nan, np.nan, 0.0, 0.0, 0),
        (np.nan, 1.0, 1.0, 9.0, 1),
        (1.0, np.nan, 1.0, 9.0, 1),
    ],
)
def test_tolerances(tmp_path: Path, computed: float, expected: float, rtol: float, atol: float, outside: int) -> None:
    pair = np.float32([[computed]]), np.float32([[expected]])
    found = compared(tmp_path, *pair, rtol=rtol, atol=atol)
    assert (found.values, found.outside) == (1, outside)
    same = np.array_equal(*pair, equal_nan=True)
    finite = np.isfinite(computed) and np.isfinite(expected)
    assert found.largest == (0 if same else abs(computed - expected) if finite else np.inf)
    assert found.place == (0, 0)
    assert np.array_equal([found.computed, found.expected], np.ravel(pair), equal_nan=True)


def test_the_first_of_the_largest_differences_is_told(tmp_path: Path) -> None:
    expected = np.zeros((3, 2, 2), np.float32)
    computed = expected.copy()
    computed[1, 1, 0], computed[2, 0, 1], computed[0, 0, 0] = -2, 2, 1
    found = compared(tmp_path, computed, expected)
    assert (found.place, found.largest, found.computed, found.expected) == ((1, 1, 0), 2.0, -2.0, 0.0)
    assert (found.rows, found.values, found.outside) == (3, 12, 3)


@pytest.mark.parametrize(
    ("value", "dtypes", "place"),
    [
        (1.0, "ff", 2**-23),
        (1.0, "dd", 2**-52),
        (1.0, "df", 2**-23),
        (1.0, "fd", 2**-23),
        (1.0, "fe", 2**-10),
        (-3.0, "ff", 2**-22),
        (2.0, "fi", 2**-22),
        (0.0, "ff", 2.0**-149),
        (1e-42, "ff", 2.0**-149),
    ],
)
def test_last_places_are_those_of_the_expected_value(tmp_path: Path, value: float, dtypes: str, place: float) -> None:
    computed = np.array([[value + 0.25]], dtypes[0])
    found = compared(tmp_path, computed, np.array([[value]], dtypes[1]))
    assert found.ulp == found.largest / place
    assert (
        found.dtype == {"f": "float32", "d": "float64", "e": "float16"}[min(dtypes.replace("i", "f"), key="efd".find)]
    )


def test_nothing_differs_in_nothing(tmp_path: Path) -> None:
    found = compared(tmp_path, np.zeros((0, 3), "f"), np.zeros((0, 3), "f"), labels=[])
    assert (found.rows, found.values, found.outside, found.largest, found.place, found.ulp) == (0, 0, 0, 0, (), 0)
    assert (found.accuracy, found.expected_accuracy) == (0, 0)


def test_classes_of_single_outputs_and_of_many(tmp_path: Path) -> None:
    half = np.float32(0.5)
    outputs = np.array([[half], [np.nextafter(half, half * 2)], [0.4], [0.6]], np.float32)
    found = compared(tmp_path, outputs, 1 - outputs, labels=[0, 1, 0, 1])  # exactly 0.5 is class 0
    assert (found.accuracy, found.expected_accuracy) == (1.0, 0.25)
    several = np.float32([[1, 2, 2], [3, 0, 1]])  # the first of equal ones
    assert compared(tmp_path, several, several, labels=[1, 0]).accuracy == 1.0
    assert compared(tmp_path, several, several, labels=[2, 0]).accuracy == 0.5
    assert compared(tmp_path, several, several).accuracy is None


def test_what_cannot_be_compared(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ShapeError, match=r"^labels need outputs \(batch, classes\); the model gives \(2, 3, 4\)$"):
        compared(tmp_path, np.zeros((2, 3, 4), "f"), np.zeros((2, 3, 4), "f"), labels=[0, 1])
    with pytest.raises(ShapeError, match=r"expected.npy has shape \(2, 4\); the model gives \(2, 3\)$"):
        compared(tmp_path, np.zeros((2, 3), "f"), np.zeros((2, 4), "f"))
    np.save("y.npy", np.zeros(ROWS))
    with pytest.raises(DTypeError, match=r"^y.npy has dtype float64; expected integers, the class of each row$"):
        compare_npy(last_output_model(), "x.npy", "y.npy", labels="y.npy")
    np.save("y.npy", np.zeros(ROWS + 1, np.int8))
    with pytest.raises(
        ShapeError, match=rf"^y.npy has shape \({ROWS + 1},\); expected \({ROWS},\): a label for each row$"
    ):
        compare_npy(last_output_model(), "x.npy", "x.npy", labels="y.npy")
    for wrong in ({"rtol": -1.0}, {"atol": -1e-9}, {"rtol": np.inf}, {"atol": np.nan}):
        with pytest.raises(ConfigError, match="expected finite numbers from 0 up"):
            compare_npy(last_output_model(), "x.npy", "y.npy", **wrong)
