"""The stages of data in an ONNX graph, in terms of rows and features: the parts of `numba_lstm.formats.onnx_trace`.

A stage is an input or an operation that computes new numbers: an LSTM, a dense layer, an activation. Its output has
rows of features: one for each timestep of each row of the batch, timesteps first; an LSTM's final outputs and final
carries follow. Every number of it has a mark, row * features + feature. An operation that only moves numbers moves
their marks, so the marks of a value show how it was put together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numba_lstm.checks import shown
from numba_lstm.errors import FileFormatError
from numba_lstm.formats.onnx_attributes import ATTRIBUTES
from numba_lstm.formats.onnx_wire import GraphConstant, Node

Array = NDArray[Any]

_MOST_MARKS = 2**23
FORWARD, REVERSE, BIDIRECTIONAL = "forward", "reverse", "bidirectional"


class NotAChainError(FileFormatError):
    """The graph computes something that a chain of layers does not."""


class MisreadError(NotAChainError):
    """An LSTM does not get a sequence: as it is where timesteps were taken for the batch."""


@dataclass(frozen=True)
class Grid:
    """The number of timesteps and rows with which a graph is followed."""

    timesteps: int
    batch: int

    @property
    def rows(self) -> int:
        """Rows of a sequence; those of final outputs come behind."""
        return self.timesteps * self.batch


@dataclass(frozen=True, eq=False)
class GraphStage:
    """A stage of the data: `kind` is "input", "embedding", "lstm", "dense" or "activation"."""

    kind: str
    name: str
    features: int
    grid: Grid
    parent: GraphStage | None = None
    activation: str = "linear"
    kernel: GraphConstant | None = None  # of a dense layer, or the table of an embedding
    transposed: bool = False  # whether the kernel is stored as (features, input features)
    bias: GraphConstant | None = None
    lstm: LstmNode | None = None
    inputs: int = 0  # marks of an input that is no sequence

    def __post_init__(self) -> None:
        if self.size > _MOST_MARKS:
            raise FileFormatError("the graph is too large to be followed; export it with fewer timesteps and rows")

    def activations(self) -> tuple[str, ...]:
        """The activations in it."""
        return (self.activation,) if self.lstm is None else tuple(sum(self.lstm.activations, ()))

    def marks(self, first: int = 0, rows: int | None = None) -> Array:
        """The marks of `rows` rows from `first` on, (rows, features)."""
        count = self.grid.rows if rows is None else rows
        start = first * self.features
        return np.arange(start, start + count * self.features, dtype=np.int32).reshape(count, self.features)

    @property
    def size(self) -> int:
        """The number of marks, including those of final outputs and carries."""
        return self.inputs or (self.grid.rows + 2 * self.grid.batch) * self.features

    def sequence(self) -> Array:
        """The marks of the whole sequence, (timesteps, batch, features)."""
        return self.marks().reshape(self.grid.timesteps, self.grid.batch, self.features)


@dataclass(frozen=True, eq=False)
class LstmNode:
    """A plain LSTM node: W (directions, 4*units, input_dim), R (directions, 4*units, units), B (directions, 8*units).

    The gates stand in the order i, o, f, c. Source: ONNX operators, LSTM.
    """

    direction: str
    units: int
    activations: tuple[tuple[str, str], ...]  # of each direction: recurrent_activation, activation
    kernel: GraphConstant
    recurrent_kernel: GraphConstant
    bias: GraphConstant | None
    backwards: bool  # whether the sequence comes turned round
    lengths: str | None
    states: (
        tuple[tuple[tuple[str, int], tuple[str, int]], ...] | None
    )  # of each direction: inputs and places of h and c

    @property
    def directions(self) -> int:
        """1 or 2."""
        return 2 if self.direction == BIDIRECTIONAL else 1


@dataclass(frozen=True, eq=False)
class Marked:
    """A value of the graph that holds data: the marks of a stage's numbers, in the value's shape."""

    stage: GraphStage
    ids: Array


@dataclass(frozen=True, eq=False)
class Joined:
    """A value with data of several stages: their marks, each behind those of the stages before it."""

    stages: tuple[GraphStage, ...]
    ids: Array

    def parts(self) -> list[Marked]:
        """The numbers from each stage, flat."""
        starts = np.cumsum([0, *(stage.size for stage in self.stages)])
        found = []
        for stage, start, end in zip(self.stages, starts[:-1], starts[1:], strict=True):
            found.append(Marked(stage, self.ids[(self.ids >= start) & (self.ids < end)] - start))
        return [part for part in found if part.ids.size]


def joined(values: list[Marked | Joined]) -> tuple[tuple[GraphStage, ...], list[Array]]:
    """The stages of several values, and the marks of each value by them."""
    if len(values) == 1 and isinstance(values[0], Marked):
        return (values[0].stage,), [values[0].ids]
    stages = tuple(dict.fromkeys(one for value in values for one in _stages(value)))
    starts = dict(zip(stages, np.cumsum([0, *(stage.size for stage in stages[:-1])]).tolist(), strict=True))
    marks = []
    for value in values:
        ids = np.asarray(value.ids, np.int64)
        own = np.cumsum([0, *(stage.size for stage in _stages(value))])
        shift = np.array([starts[stage] - start for stage, start in zip(_stages(value), own, strict=False)])
        marks.append(ids + shift[np.searchsorted(own[1:], ids, side="right")])
    return stages, marks


def _stages(value: Marked | Joined) -> tuple[GraphStage, ...]:
    return value.stages if isinstance(value, Joined) else (value.stage,)


def separated(stages: tuple[GraphStage, ...], ids: Array) -> Marked | Joined:
    """The value with those marks, as data of one stage if it is."""
    if len(stages) == 1:
        return Marked(stages[0], ids)
    start = 0
    for stage in stages:
        if ids.size and (ids >= start).all() and (ids < start + stage.size).all():
            return Marked(stage, ids - start)
        start += stage.size
    return Joined(stages, ids)


@dataclass(frozen=True)
class Unsupported:
    """An unknown value: the node that made it."""

    node: Node

    def error(self) -> FileFormatError:
        """The error to raise where the value is needed."""
        where = "" if not self.node.domain else f" of {self.node.domain!r}"
        given = self.node.attributes.items() if self.node.op in ATTRIBUTES and not where else ()
        numbers = [f"{key} {value:g}" for key, value in given if isinstance(value, int | float)]
        options = f" with {', '.join(numbers)}" if numbers else ""
        return FileFormatError(
            f"{self.node.where()} is the operation {shown(self.node.op)}{where}{options}, which is not supported here; "
            "expected LSTM, Gemm, MatMul, Gather of an embedding, activations, and operations that only move numbers"
        )


def settled(value: Marked) -> Marked:
    """The value with final outputs in the place of the last timesteps, if it consists of nothing else.

    Without lengths an LSTM's last timestep is its final output; of a direction that reads backward the first one is.
    """
    lstm, grid = value.stage.lstm, value.stage.grid
    if lstm is None or lstm.lengths is not None or grid.timesteps == 1:
        return value
    rows, features = np.divmod(value.ids, value.stage.features)
    backward = features >= lstm.units if lstm.direction == BIDIRECTIONAL else lstm.direction == REVERSE
    ends = rows // grid.batch == np.where(backward, 0, grid.timesteps - 1)
    if not ends.all():
        return value
    return Marked(value.stage, (grid.rows + rows % grid.batch) * value.stage.features + features)


def rows_of(value: Marked, what: str) -> Array:
    """The number of the row in each place but the last axis. Raises `NotAChainError` unless that one has whole rows."""
    features = value.stage.features
    if value.ids.ndim and value.ids.shape[-1] == features:
        rows: Array = value.ids[..., 0] // features
        if (value.ids == rows[..., np.newaxis] * features + np.arange(features)).all():
            return rows
    raise NotAChainError(f"{what} takes something else than whole rows of features")
