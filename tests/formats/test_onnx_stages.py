"""Values of a graph as marks: which numbers of which stages they are, joined, parted, and told as rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from numba_lstm.errors import FileFormatError
from numba_lstm.formats.onnx_stages import (
    GraphStage,
    Grid,
    Joined,
    LstmNode,
    Marked,
    NotAChainError,
    joined,
    rows_of,
    separated,
    settled,
)
from numba_lstm.formats.onnx_wire import GraphConstant

GRID = Grid(timesteps=3, batch=2)
WEIGHTS = GraphConstant(None, "w", (1,), np.dtype("f4"), 0)  # type: ignore[arg-type]
FORWARD = LstmNode("forward", 2, (("sigmoid", "tanh"),), WEIGHTS, WEIGHTS, None, False, None, None)


def stage(name: str, features: int = 4, lstm: LstmNode | None = None) -> GraphStage:
    return GraphStage("lstm" if lstm else "input", name, features, GRID, lstm=lstm)


def test_marks_count_rows_and_then_final_outputs() -> None:
    one = stage("x")
    assert one.size == (3 * 2 + 2 * 2) * 4
    np.testing.assert_array_equal(one.sequence(), np.arange(24).reshape(3, 2, 4))
    np.testing.assert_array_equal(one.marks(6, 2), [[24, 25, 26, 27], [28, 29, 30, 31]])
    with pytest.raises(FileFormatError, match="the graph is too large to be followed"):
        stage("x", 2**30)


def test_values_of_several_stages_are_joined_and_parted() -> None:
    """Numbers moved among others remain the same numbers of the same stage."""
    one, other = stage("a"), stage("b", 3)
    a, b = Marked(one, one.marks()), Marked(other, other.marks())
    stages, (first, second, third) = joined([a, b, a])
    assert stages == (one, other)
    np.testing.assert_array_equal(first, third)
    both = separated(stages, np.concatenate([first.ravel(), second.ravel()])[::-1])
    assert isinstance(both, Joined)
    for part, whole in zip(both.parts(), (a, b), strict=True):
        assert part.stage is whole.stage
        np.testing.assert_array_equal(part.ids[::-1], whole.ids.ravel())
    alone = separated(stages, second[2:])
    assert isinstance(alone, Marked) and alone.stage is other
    np.testing.assert_array_equal(alone.ids, b.ids[2:])
    again, (moved, added) = joined([both, Marked(stage("c"), one.marks())])
    assert again[:2] == stages and moved.max() < one.size + other.size <= added.min()


def test_rows_are_whole() -> None:
    one = stage("x")
    value = Marked(one, one.sequence().swapaxes(0, 1))
    np.testing.assert_array_equal(rows_of(value, "it"), [[0, 2, 4], [1, 3, 5]])
    for ids in (one.sequence()[..., ::-1], one.sequence()[..., :3], one.sequence().ravel()[1:5], np.int32(0)):
        with pytest.raises(NotAChainError, match=r"^it takes something else than whole rows of features$"):
            rows_of(Marked(one, np.asarray(ids)), "it")


@pytest.mark.parametrize(
    ("direction", "features", "last", "first"),
    [("forward", 2, [0, 1], []), ("reverse", 2, [], [0, 1]), ("bidirectional", 4, [0, 1], [2, 3])],
)
def test_the_last_timestep_is_the_final_output(
    direction: str, features: int, last: list[int], first: list[int]
) -> None:
    """Of a direction that reads backward the first one is; with lengths neither."""
    one = stage("y", features, replace(FORWARD, direction=direction))
    sequence = one.sequence()
    ends = np.concatenate([sequence[-1][:, last], sequence[0][:, first]], axis=1)
    np.testing.assert_array_equal(settled(Marked(one, ends)).ids, one.marks(6, 2))
    others = np.concatenate([sequence[1][:, last], sequence[1][:, first]], axis=1)
    np.testing.assert_array_equal(settled(Marked(one, others)).ids, others)
    padded = stage("y", features, replace(FORWARD, direction=direction, lengths="n"))
    np.testing.assert_array_equal(settled(Marked(padded, ends)).ids, ends)
