"""A run whose outputs are compared with expected ones instead of being written."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numba_lstm.errors import ConfigError, DTypeError, ShapeError
from numba_lstm.formats.npy import NpyReader, open_npy
from numba_lstm.model import Sequential
from numba_lstm.runner.engine import Engine
from numba_lstm.runner.options import RunOptions
from numba_lstm.runner.stages import Result

Path = str | os.PathLike[str]


@dataclass(frozen=True)
class Comparison:
    """The differences between outputs and expected values."""

    rows: int
    values: int
    outside: int  # values that differ by more than atol + rtol * |expected|
    largest: float  # the largest difference; infinite where one of the two is NaN or infinite and the other is not
    place: tuple[int, ...]  # where it is
    computed: float  # the two values there
    expected: float
    ulp: float  # the difference there, in units of the expected value's last place
    dtype: str  # the dtype whose last places these are
    accuracy: float | None  # with labels: the share of rows whose class is the label's
    expected_accuracy: float | None  # the same of the expected outputs
    notes: tuple[str, ...] = ()  # assumptions about the model, and changes made to the inputs


def compare_npy(
    model_or_path: Sequential | Path,
    input: Path,
    expected: Path,
    *,
    labels: Path | None = None,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    **options: Any,
) -> Comparison:
    """Run a model over a .npy file and compare its outputs with those in `expected`.

    With `labels` (batch,), integers, the report has the accuracy of both outputs: the class of a row is its largest
    output, or whether its only output is above 0.5. `options` are the fields of `RunOptions` that choose the
    computation. Raises a `NumbaLSTMError` or an `OSError`.
    """
    settings = RunOptions(**options)
    if not (np.isfinite([rtol, atol]).all() and rtol >= 0 and atol >= 0):
        raise ConfigError(f"rtol is {rtol} and atol {atol}; expected finite numbers from 0 up")
    others = {"mask": settings.mask, "lengths": settings.lengths, "initial_state": settings.initial_state}
    with (
        Engine(model_or_path, settings) as engine,
        engine.reader(input, **others) as reader,
        open_npy(expected) as file,
    ):
        known = None if labels is None else _read_labels(labels, reader.rows)
        comparer = Comparer(
            file,
            known,
            rtol,
            atol,
            rows=reader.rows,
            leading=reader.leading(reader.rows),
            time_major=settings.time_major,
        )
        engine.run(reader, comparer, 0, reader.rows, doubles=True)
        notes = (*engine.notes(), reader.conversion(), reader.arrangement())
    return replace(comparer.comparison(), notes=tuple(filter(None, notes)))


def _read_labels(path: Path, rows: int) -> NDArray[Any]:
    with open_npy(path) as file:
        if file.shape != (rows,):
            raise ShapeError(f"{path} has shape {file.shape}; expected {(rows,)}: a label for each row")
        if file.dtype.kind not in "iub":
            raise DTypeError(f"{path} has dtype {file.dtype}; expected integers, the class of each row")
        return file.read()


class Comparer:
    """A last stage that compares and writes nothing."""

    def __init__(
        self,
        expected: NpyReader,
        labels: NDArray[Any] | None,
        rtol: float,
        atol: float,
        *,
        rows: int,
        leading: tuple[int, ...],
        time_major: bool,
    ) -> None:
        self._expected, self._labels = expected, labels
        self._rtol, self._atol = rtol, atol
        self._rows, self._leading, self._time_major = rows, leading, time_major
        self._values = self._outside = 0
        self._largest, self._ulp = -1.0, 0.0
        self._place: tuple[int, ...] = ()
        self._pair = (float("nan"), float("nan"))
        self._right = [0, 0]
        self._dtype = np.dtype(np.float32)

    def write(self, result: Result) -> None:
        """Compare the next rows."""
        computed = result.outputs[0]
        axis = 1 if self._time_major and computed.ndim > 2 else 0
        shape = (len(computed), self._rows, *computed.shape[2:]) if axis else (*self._leading, *computed.shape[1:])
        if self._expected.shape != shape:
            raise ShapeError(f"{self._expected.path} has shape {self._expected.shape}; the model gives {shape}")
        expected = self._read(result, axis)
        if self._labels is not None:
            self._count(self._labels[result.start : result.stop], computed, expected)
        if computed.size:
            self._compare(computed, expected, result.start, axis)

    def _read(self, result: Result, axis: int) -> NDArray[Any]:
        """The expected values of the result's rows, rows first or as `axis` says."""
        if not self._leading:
            return self._expected.read()[np.newaxis]
        if len(self._leading) == 1:
            return self._expected.read_rows(result.start, result.stop, axis=axis)
        each = self._leading[1]
        first = result.start // each
        records = self._expected.read_rows(first, -(-result.stop // each))
        return records.reshape(-1, *records.shape[2:])[result.start - first * each : result.stop - first * each]

    def _compare(self, computed: NDArray[Any], expected: NDArray[Any], first: int, axis: int) -> None:
        with np.errstate(all="ignore"):
            x, y = computed.astype(np.float64), expected.astype(np.float64)
            difference = np.abs(x - y)
            difference[(x == y) | (np.isnan(x) & np.isnan(y))] = 0  # equal infinities, too
            difference[np.isnan(difference)] = np.inf
            within = (difference == 0) | (difference <= self._atol + self._rtol * np.abs(y))
            within[np.isinf(difference)] = False
        self._values += difference.size
        self._outside += int(difference.size - np.count_nonzero(within))
        worst = np.unravel_index(int(np.argmax(difference)), difference.shape)
        if difference[worst] > self._largest:
            self._largest = float(difference[worst])
            row = first + int(worst[axis])
            rest = [int(index) for index in worst[1 + axis :]]
            leading = (int(worst[0]), row) if axis else map(int, np.unravel_index(row, self._leading))
            self._place = (*leading, *rest)
            self._pair = float(x[worst]), float(y[worst])
            # The expected values may be stored in fewer bits than are computed with, or be integers.
            stored = [dtype for dtype in (computed.dtype, expected.dtype) if dtype.kind == "f"]
            self._dtype = min(stored, key=lambda dtype: dtype.itemsize)
            finite = np.isfinite(self._largest)
            self._ulp = self._largest / _last_place(self._pair[1], self._dtype) if finite else np.inf

    def _count(self, labels: NDArray[Any], computed: NDArray[Any], expected: NDArray[Any]) -> None:
        if computed.ndim != 2:
            raise ShapeError(f"labels need outputs (batch, classes); the model gives {self._expected.shape}")
        for index, outputs in enumerate((computed, expected)):
            classes = outputs[:, 0] > 0.5 if outputs.shape[1] == 1 else outputs.argmax(axis=1)
            self._right[index] += int(np.count_nonzero(classes == labels))

    def commit(self) -> None:
        """Nothing is written."""

    def discard(self) -> None:
        """Nothing is written."""

    def comparison(self) -> Comparison:
        """The result over all rows compared so far."""
        accuracies = [right / max(1, self._rows) if self._labels is not None else None for right in self._right]
        return Comparison(
            rows=self._rows,
            values=self._values,
            outside=self._outside,
            largest=max(0.0, self._largest),
            place=self._place,
            computed=self._pair[0],
            expected=self._pair[1],
            ulp=self._ulp,
            dtype=self._dtype.name,
            accuracy=accuracies[0],
            expected_accuracy=accuracies[1],
        )


def _last_place(value: float, dtype: np.dtype[Any]) -> float:
    """The distance from `value` to its neighbour in `dtype`; that of the smallest normal number for smaller values."""
    with np.errstate(all="ignore"):
        magnitude = np.maximum(np.abs(value), np.finfo(dtype).tiny).astype(dtype)
        return float(np.spacing(magnitude))
