"""The last stage of a run over files: outputs and final states, each a .npy file that appears when it is whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numba_lstm.errors import Argument, Message, NonFiniteError, OutputExistsError
from numba_lstm.formats.npy import NpyWriter, commit_all
from numba_lstm.runner.jobs import check_absent
from numba_lstm.runner.stages import Result

Path = str | os.PathLike[str]


class FileWriter:
    """Writes a run of `rows` rows: one file for each output, and one (rows, states) for the final states if asked for.

    `leading`: the axes of the rows in the outputs' shapes, several or none (one record has no batch axis).
    `time_major`: sequences have the timesteps first instead. Existing files are replaced only with `replace`.
    With `refuse_nan`, `write` raises `NonFiniteError` for a NaN.
    """

    def __init__(
        self,
        outputs: Sequence[Path],
        final_state: Path | None,
        *,
        rows: int,
        leading: tuple[int, ...] | None = None,
        time_major: bool = False,
        refuse_nan: bool = False,
        replace: bool = False,
    ) -> None:
        self._outputs = [_Output(path, rows, replace, leading, time_major) for path in outputs]
        self._final_state = None if final_state is None else _Output(final_state, rows, replace)
        self._refuse_nan, self._replace = refuse_nan, replace

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The files that were begun, and their final shapes."""
        return {os.fspath(output.path): output.shape for output in reversed(self._all())}

    def write(self, result: Result) -> None:
        """Take the next rows."""
        if self._refuse_nan:
            for output, array in zip(self._outputs, result.outputs, strict=True):
                output.check_nan(array, result.start)
        for output, array in zip(self._outputs, result.outputs, strict=True):
            output.write(array)
        if self._final_state and result.final_state is not None:
            self._final_state.write(result.final_state)

    def commit(self) -> None:
        """Publish all files or none, the main output last: if it exists, so do the others.

        Raises `OutputExistsError` if a file appeared meanwhile under one of the names and `replace` is False.
        """
        self._check_absent()  # refused before anything is flushed to the disk
        try:
            commit_all([output.file for output in self._all() if output.file])
        except OutputExistsError:
            self._check_absent()  # names the argument of a run
            raise

    def _check_absent(self) -> None:
        for output in () if self._replace else self._all():
            check_absent(output.path)

    def discard(self) -> None:
        """Leave nothing that was not committed."""
        for output in self._all():
            if output.file:
                output.file.discard()

    def _all(self) -> list[_Output]:
        return [*([self._final_state] if self._final_state else []), *reversed(self._outputs)]


class _Output:
    """One file, created when the first rows show its shape."""

    def __init__(
        self, path: Path, rows: int, replace: bool, leading: tuple[int, ...] | None = None, time_major: bool = False
    ) -> None:
        self.path = path
        self.file: NpyWriter | None = None
        self.shape: tuple[int, ...] = ()
        self._rows, self._replace, self._time_major = rows, replace, time_major
        self._leading = (rows,) if leading is None else leading

    def write(self, array: NDArray[Any]) -> None:
        """`array` holds the next rows."""
        if self.file is None:
            axis = self._axis(array)
            shape = (*array.shape[:axis], self._rows, *array.shape[axis + 1 :])
            self.shape = shape if axis else (*self._leading, *shape[1:])
            self.file = NpyWriter(self.path, shape, array.dtype, axis=axis, shown_as=self.shape, replace=self._replace)
        self.file.write_rows(array)

    def _axis(self, array: NDArray[Any]) -> int:
        return 1 if self._time_major and array.ndim > 2 else 0

    def check_nan(self, array: NDArray[Any], start: int) -> None:
        """Raise `NonFiniteError` for a NaN in rows that begin at `start`."""
        bad = np.isnan(array)
        if not bad.any():
            return
        row = start + int(np.argwhere(bad)[0][self._axis(array)])
        raise NonFiniteError(
            Message(
                f"{os.fspath(self.path)} would hold a NaN in row {row}; expected numbers; look for infinities in that "
                "row and in the weights, or let it through with ",
                Argument("on_nan", "keep"),
            )
        )
