"""The first stage of a run over files: rows, or windows of a record, with the masks and states that go with them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from math import prod
from types import TracebackType
from typing import Any, NamedTuple, Self, cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from numba_lstm.errors import Argument, DTypeError, Message, NonFiniteError, ShapeError
from numba_lstm.formats.npy import Empty, NpyReader, open_npy
from numba_lstm.layers.fit import axes_to_add, check_timesteps
from numba_lstm.runner.arranged import Arranged
from numba_lstm.runner.nan import steps_with_nan
from numba_lstm.runner.stages import Chunk

Path = str | os.PathLike[str]


class _Rows(NamedTuple):
    """Rows or records, their mask, and which steps have a NaN; None where none has."""

    inputs: NDArray[Any]
    mask: NDArray[np.bool_] | None
    nan: NDArray[np.bool_] | None


class FileReader:
    """Rows of a .npy file: (batch, timesteps, *features), or time-major, or one record (timesteps, *features).

    `made_for` has the model's timesteps, None for any number, and its features, none for a model that takes indices.
    A last axis that Keras adds or drops, as `adds` tells, may be missing or superfluous; (timesteps, 1) is still a
    record. With `window` and `stride` a row is a window of a record, and a chunk of them is one view if possible.
    `mask` names a file of the input's shape without input_dim, `lengths` one of (batch,), `initial_state` one of (rows,
    state_size). Floats are read as `dtype`.
    `nan_rows` counts the rows read so far that have a NaN in a step that is not masked; with `refuse_nan`, `read`
    raises `NonFiniteError` for the first of them. Raises `ShapeError` and `DTypeError` for files that do not fit.
    """

    def __init__(
        self,
        path: Path,
        *,
        made_for: Sequence[int | None],
        state_size: int,
        dtype: str,
        indices: bool = False,
        adds: bool = False,
        time_major: bool = False,
        window: int | None = None,
        stride: int = 1,
        mask: Path | None = None,
        lengths: Path | None = None,
        initial_state: Path | None = None,
        refuse_nan: bool = False,
    ) -> None:
        self._dtype = dtype
        self._input_dtype = None if indices else dtype  # indices stay as they are stored
        self._window, self._stride = window, stride
        self._axis = 1 if time_major else 0
        self._refuse_nan = refuse_nan
        self.nan_rows = 0
        self._block: tuple[int, int, _Rows] | None = None
        with ExitStack() as files:
            self._inputs = files.enter_context(open_npy(path))
            features = tuple(made_for[1:])
            if adds and (added := _axes_to_add(self._inputs.shape, features, time_major)):
                self._inputs = cast(NpyReader, Arranged(self._inputs, added))
            shape = self._inputs.shape
            self.is_record = _is_record(path, shape, features, time_major)
            leading = shape if indices else shape[:-1]
            records, steps = (1, shape[0]) if self.is_record else (shape[self._axis], shape[1 - self._axis])
            if steps == 0:
                raise ShapeError(f"{path} has shape {shape}; expected one timestep or more")
            if window is not None and window > steps:
                raise ShapeError(f"{path} has {steps} timesteps; expected at least {window}, the window")
            self.timesteps = steps if window is None else window
            check_timesteps(str(path), self.timesteps, made_for[0])
            self._each = 1 if window is None else (steps - window) // stride + 1  # rows a record
            self.rows = records * self._each
            axes = leading if self.is_record else leading[1:]
            shorter = leading[: len(leading) - len(axes) + 1]  # a mask of the timesteps alone
            self._mask = _open(files, mask, leading, "the shape of the input without input_dim", shorter)
            self._lengths = _open(files, lengths, (records,), "a length for each row")
            self._states = _open(files, initial_state, (self.rows, state_size), "(rows, h and c of each layer)")
            if self._lengths and self._lengths.dtype.kind not in "iu":
                raise DTypeError(f"{lengths} has dtype {self._lengths.dtype}; expected integers, a length for each row")
            self._files = files.pop_all()

    @property
    def name(self) -> str:
        """The input's path."""
        return str(self._inputs.path)

    @property
    def rows_each(self) -> int:
        """The rows per entry of the input's first axis: the windows of a record in a batch, otherwise 1."""
        return 1 if self.is_record else self._each

    def leading(self, rows: int) -> tuple[int, ...]:
        """The leading axes of the outputs for `rows` rows: (rows,), (records, windows), or () for one record."""
        if self._window is None:
            return () if self.is_record else (rows,)
        return (rows,) if self.is_record else (rows // self._each, self._each)

    @property
    def row_bytes(self) -> int:
        """The bytes of a row until it is computed."""
        shape, dtype = self._inputs.shape, np.dtype(self._input_dtype or self._inputs.dtype)
        step = dtype.itemsize * prod(shape[1 if self.is_record else 2 :])
        steps = self.timesteps
        if self._window is not None and self.is_record:
            steps = min(steps, self._stride)  # the rest of the window is shared with the one before
        copies = 2 if self._inputs.header.fortran_order else 1
        return copies * steps * (step + (self._mask is not None or self._lengths is not None))

    @property
    def held_bytes(self) -> int:
        """The bytes of the records of a batch, beside their windows."""
        if self._window is None or self.is_record:
            return 0
        dtype = np.dtype(self._input_dtype or self._inputs.dtype)
        return 2 * dtype.itemsize * prod(self._inputs.shape[1:])

    def conversion(self) -> str | None:
        """The conversion made on reading the input, in one line of text; None if there is none."""
        return self._inputs.conversion(self._input_dtype or self._inputs.dtype.newbyteorder("="))

    def arrangement(self) -> str | None:
        """The change made to the shape of the input, in one line of text; None if there is none."""
        return self._inputs.note() if isinstance(self._inputs, Arranged) else None

    def read(self, start: int, stop: int, empty: Empty = np.empty) -> Chunk:
        """Rows start to stop. empty: allocates the array for inputs that are read in one part."""
        inputs, mask, nan = (self._read if self._window is None else self._read_windows)(start, stop, empty)
        if self._lengths:
            mask = self._mask_of_lengths(self._lengths, start, stop)
        states = self._states.read_rows(start, stop, dtype=self._dtype) if self._states else None
        if nan is not None:
            if mask is not None:
                nan = nan & mask.reshape(mask.shape + (1,) * (nan.ndim - mask.ndim))
            self._count_nan(start, np.any(nan, axis=tuple(range(2, nan.ndim))))
        return Chunk(start, stop, inputs, mask, states)

    def _read(self, start: int, stop: int, empty: Empty) -> _Rows:
        if self.is_record:
            inputs = self._inputs.read(self._input_dtype)[None]
            return self._rows(inputs, self._mask.read()[None] != 0 if self._mask else None)
        inputs = self._inputs.read_rows(start, stop, axis=self._axis, dtype=self._input_dtype, empty=empty)
        return self._rows(inputs, self._mask.read_rows(start, stop, axis=self._axis) != 0 if self._mask else None)

    def _rows(self, inputs: NDArray[Any], mask: NDArray[np.bool_] | None) -> _Rows:
        return _Rows(inputs, mask, steps_with_nan(inputs, self._axis, features=self._input_dtype is not None))

    def _read_windows(self, start: int, stop: int, empty: Empty) -> _Rows:
        window, stride = self._window or 1, self._stride
        if self.is_record:
            begin, end = start * stride, (stop - 1) * stride + window
            inputs = self._inputs.read_rows(begin, end, dtype=self._input_dtype, empty=empty)[None]
            records = self._rows(inputs, self._mask.read_rows(begin, end)[None] != 0 if self._mask else None)
            skip = 0
        else:
            first = start // self._each
            skip = start - first * self._each
            records = self._records(first, -(-stop // self._each))

        def windows(array: NDArray[Any] | None) -> Any:
            return None if array is None else _windows(array, window, stride)[skip : skip + stop - start]

        return _Rows(*map(windows, records))

    def _records(self, first: int, last: int) -> _Rows:
        # Kept for the next call, since the chunks of one long record's windows follow one another.
        if self._block is None or self._block[:2] != (first, last):
            self._block = None
            inputs = self._inputs.read_rows(first, last, dtype=self._input_dtype)
            mask = self._mask.read_rows(first, last) != 0 if self._mask else None
            self._block = (first, last, self._rows(inputs, mask))
        return self._block[2]

    def _mask_of_lengths(self, file: NpyReader, start: int, stop: int) -> NDArray[np.bool_]:
        lengths = file.read_rows(start, stop)
        wrong = np.flatnonzero((lengths < 0) | (lengths > self.timesteps))
        if wrong.size:
            row = int(wrong[0])
            raise ShapeError(
                f"{file.path} has length {lengths[row]} at row {start + row}; expected 0 to {self.timesteps}, "
                f"the timesteps of {self._inputs.path}"
            )
        mask: NDArray[np.bool_] = np.arange(self.timesteps) < lengths[:, None]
        return np.ascontiguousarray(mask.T) if self._axis else mask

    def _count_nan(self, start: int, nan: Any) -> None:
        """`nan`: which steps have one, (rows, timesteps), or (timesteps, rows) if time-major."""
        self.nan_rows += int(np.count_nonzero(nan.any(axis=1 - self._axis)))
        if self._refuse_nan and nan.any():
            place = np.argwhere(nan)[0]
            row, step = start + int(place[self._axis]), int(place[1 - self._axis])
            text = f"{self._inputs.path} has a NaN in row {row}, timestep {step}; expected numbers; mask that step, "
            raise NonFiniteError(Message(text, "or let it through with ", Argument("on_nan", "keep")))

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _axes_to_add(shape: tuple[int, ...], features: tuple[int | None, ...], time_major: bool) -> int:
    """As `fit.axes_to_add`; an input that is a record without an added axis stays one."""
    if len(shape) == len(features) + 1 and features and shape[-1] == features[-1] and not time_major:
        return 0
    return axes_to_add(shape, (None, None, *features), "keras3")


def _is_record(path: Path, shape: tuple[int, ...], features: tuple[int | None, ...], time_major: bool) -> bool:
    """Whether a file is one record without a batch axis. Raises `ShapeError` for a wrong rank or number of features."""
    names = ["timesteps", *(["input_dim"] if len(features) == 1 else map(str, features))]
    batch = ["timesteps", "batch", *names[1:]] if time_major else ["batch", *names]
    if len(shape) not in (len(batch),) if time_major else len(shape) not in (len(batch), len(names)):
        record = "" if time_major else f", or one record ({', '.join(names)})"
        raise ShapeError(f"{path} has shape {shape}; expected ({', '.join(batch)}){record}")
    for n, expected in zip(shape[len(shape) - len(features) :], features, strict=True):
        if expected is not None and n != expected:
            if len(features) > 1:
                raise ShapeError(f"{path} has shape {shape}; expected ({', '.join(batch)}), as in the model")
            raise ShapeError(
                f"{path} has shape {shape}, input_dim {n}; expected {expected}, as in the model; "
                "give the features it was made for"
            )
    return len(shape) == len(names)


def _open(
    files: ExitStack, path: Path | None, shape: tuple[int, ...], words: str, other: tuple[int, ...] | None = None
) -> NpyReader | None:
    """Another file of the run, of exactly `shape`, or `other`."""
    if path is None:
        return None
    file = files.enter_context(open_npy(path))
    if file.shape not in (shape, other):
        raise ShapeError(f"{path} has shape {file.shape}; expected {shape}: {words}")
    return file


def _windows(records: NDArray[Any], window: int, stride: int) -> NDArray[Any]:
    """(records, timesteps, ...) -> (records * windows, window, ...): a view of one record, a copy of several."""
    # Writeable, though nobody writes: a read-only array would make numba compile every kernel a second time.
    views = np.moveaxis(sliding_window_view(records, window, axis=1, writeable=True)[:, ::stride], -1, 2)
    return views[0] if len(views) == 1 else views.reshape(-1, *views.shape[2:])
