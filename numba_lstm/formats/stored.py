"""The content of a model file, as every reader returns it, and the notes of `load` about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numba_lstm.semantics.dialects import Dialect

if TYPE_CHECKING:
    from numba_lstm.model import Sequential


@dataclass(frozen=True)
class StoredArray:
    """An array in a file: its name, shape and dtype, read on demand.

    ``read`` returns a new array, owned by the caller. ``kind`` names an element type that NumPy does not have;
    ``dtype`` is then one of the same size.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    where: str
    read: Callable[[], NDArray[Any]]
    kind: str = ""
    read_transposed: Callable[[], NDArray[Any]] | None = None  # C-ordered, without a second copy on the way

    @property
    def dtype_name(self) -> str:
        """The stored type of the elements, for messages."""
        return self.kind or str(self.dtype)

    @property
    def nbytes(self) -> int:
        """The size in bytes."""
        return prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class StoredModel:
    """The result of a reader: the configuration, if there is one, and how to find the arrays.

    ``arrays`` lists all of them, for files without a configuration. ``match`` takes the model that
    the configuration describes and returns the arrays in the order of its weights; it raises `FileFormatError` where
    they are damaged or do not fit together.
    """

    format: str
    producer: str
    arrays: Callable[[], list[StoredArray]]
    match: Callable[[Sequential], list[StoredArray]]
    config: Any = None
    config_name: str = ""
    keras_version: str | None = None
    keras_backend: str | None = None
    dialect: Dialect | None = None
    dialect_from: str = ""
    notes: list[str] = field(default_factory=list)  # for users, with any configuration
    assumptions: list[str] = field(default_factory=list)  # made by ``config`` where the file is silent


class WeightSource(NamedTuple):
    """One weight of a model: its place in the file, and its stored type."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    where: str


@dataclass(frozen=True)
class LoadReport:
    """The origin of a model: the file's format and producer, the source of its dialect, and notes."""

    format: str
    producer: str
    dialect: Dialect
    dialect_from: str
    notes: list[str]
    weights: list[WeightSource]
