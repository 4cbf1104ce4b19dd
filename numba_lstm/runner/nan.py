"""Counts of rows with NaN, taken while the arrays pass through."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numba_lstm.runner.stages import Result, Writer


def rows_with_nan(array: NDArray[Any], axis: int = 0) -> NDArray[np.bool_] | None:
    """The rows along `axis` that have a NaN, as booleans; None if none has. One pass at the speed of memory."""
    # The maximum of numbers with a NaN among them is NaN; it takes a fraction of the time of isnan.
    if array.dtype.kind != "f" or not array.size or not np.isnan(array.max()):
        return None
    rows: NDArray[np.bool_] = np.isnan(array.max(axis=tuple(n for n in range(array.ndim) if n != axis)))
    return rows


def steps_with_nan(array: NDArray[Any], axis: int, *, features: bool) -> NDArray[np.bool_] | None:
    """The steps with a NaN, (rows, timesteps, ...), or (timesteps, rows, ...) as `axis` says; None if there is none.

    features: whether the last axis of `array` is the features.
    """
    rows = rows_with_nan(array, axis)
    if rows is None:
        return None
    found = np.zeros(array.shape[:-1] if features else array.shape, np.bool_)
    place = (slice(None),) * axis + (rows,)
    nan = np.isnan(array[place])
    found[place] = nan.any(axis=-1) if features else nan
    return found


class NanCounter:
    """A writer that counts the rows with NaN and passes the results on to another writer."""

    def __init__(self, writer: Writer, time_major: bool) -> None:
        self._writer, self._time_major = writer, time_major
        self.rows = 0

    def write(self, result: Result) -> None:
        """Count, and pass on."""
        found = [rows_with_nan(array, self._time_major and array.ndim > 2) for array in result.outputs]
        self.rows += int(np.count_nonzero(sum(rows for rows in found if rows is not None)))
        self._writer.write(result)

    def commit(self) -> None:
        """Hand on."""
        self._writer.commit()

    def discard(self) -> None:
        """Hand on."""
        self._writer.discard()
