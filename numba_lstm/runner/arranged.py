"""A .npy file read with a last axis of length 1 added or dropped."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from numba_lstm.formats.npy import NpyReader
from numba_lstm.layers.fit import with_axes


class Arranged:
    """An `NpyReader` that adds a last axis (`added` is 1) or drops it (-1); all else is delegated to the reader."""

    def __init__(self, file: NpyReader, added: int) -> None:
        self._file, self._added = file, added

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape with the axis added, or without it."""
        return (*self._file.shape, 1) if self._added > 0 else self._file.shape[:-1]

    def read(self, *arguments: Any, **options: Any) -> NDArray[Any]:
        """As `NpyReader.read`."""
        array: NDArray[Any] = with_axes(self._file.read(*arguments, **options), self._added)
        return array

    def read_rows(self, *arguments: Any, **options: Any) -> NDArray[Any]:
        """As `NpyReader.read_rows`."""
        array: NDArray[Any] = with_axes(self._file.read_rows(*arguments, **options), self._added)
        return array

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def note(self) -> str:
        """The change of shape, in one line of text."""
        what = "got a last axis of length 1" if self._added > 0 else "lost its last axis of length 1"
        return f"{self._file.path} {what}, as in Keras: {self.shape}"
