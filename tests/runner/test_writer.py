"""runner/writer.py: what belongs together has its place together, the main output last."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pytest

from numba_lstm.errors import NonFiniteError, OutputExistsError, ShapeError
from numba_lstm.formats.atomic import AtomicFile
from numba_lstm.runner.stages import Result
from numba_lstm.runner.writer import FileWriter


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def result(start: int, stop: int, *, axis: int = 0, timesteps: int | None = 3) -> Result:
    """Rows with their own numbers in them; the second output is ten times the first, the states have a half more."""
    rows = np.repeat(np.arange(start, stop, dtype=np.float32)[:, None], 2, axis=1)
    outputs = rows if timesteps is None else np.stack([rows] * timesteps, axis=1 - axis)
    return Result(start, stop, (outputs, 10 * outputs), np.hstack([rows, rows]) + 0.5)


@pytest.mark.parametrize("replace", [False, True])
def test_the_main_output_comes_last(monkeypatch: pytest.MonkeyPatch, replace: bool) -> None:
    placed, place = [], AtomicFile.place

    def placing(file: AtomicFile) -> None:
        placed.append(file.path.name)
        place(file)

    monkeypatch.setattr(AtomicFile, "place", placing)
    writer = FileWriter(["y.npy", "y.std.npy"], "state.npy", rows=4, replace=replace)
    writer.write(result(0, 4))
    assert placed == []
    writer.commit()
    assert placed == ["state.npy", "y.std.npy", "y.npy"]
    assert list(writer.shapes.items()) == [("y.npy", (4, 3, 2)), ("y.std.npy", (4, 3, 2)), ("state.npy", (4, 4))]


@pytest.mark.parametrize("cuts", [[0, 5], [0, 1, 2, 5], [0, 4, 5]])
@pytest.mark.parametrize(("axis", "timesteps"), [(0, 3), (1, 3), (1, None)], ids=["rows", "time first", "last alone"])
def test_rows_come_where_they_belong(cuts: list[int], axis: int, timesteps: int | None) -> None:
    writer = FileWriter(["y.npy", "y.std.npy"], "state.npy", rows=5, time_major=axis == 1)
    for start, stop in itertools.pairwise(cuts):
        writer.write(result(start, stop, axis=axis, timesteps=timesteps))
    writer.commit()
    whole = result(0, 5, axis=axis, timesteps=timesteps)
    for name, array in zip(("y.npy", "y.std.npy", "state.npy"), (*whole.outputs, whole.final_state), strict=True):
        np.testing.assert_array_equal(np.load(name), array)
    assert sorted(os.listdir()) == ["state.npy", "y.npy", "y.std.npy"]


def test_axes_of_windows_and_of_one_record() -> None:
    for name, leading, shape in (("w.npy", (3, 2), (3, 2, 3, 2)), ("r.npy", (), (3, 2))):
        rows = 6 if leading else 1
        writer = FileWriter([name], None, rows=rows, leading=leading)
        writer.write(Result(0, rows, result(0, rows).outputs[:1], None))
        writer.commit()
        np.testing.assert_array_equal(np.load(name), result(0, rows).outputs[0].reshape(shape))


@pytest.mark.parametrize("axis", [0, 1])
def test_a_nan_is_named_by_its_row_and_nothing_is_written(axis: int) -> None:
    writer = FileWriter(["y.npy", "y.std.npy"], "s.npy", rows=9, time_major=axis == 1, refuse_nan=True)
    writer.write(result(0, 4, axis=axis))
    bad = result(4, 9, axis=axis)
    bad.outputs[1][(1, 2, 0) if axis else (2, 1, 0)] = np.nan
    message = r"^y\.std\.npy would hold a NaN in row 6; expected numbers; .* or let it through with on_nan='keep'$"
    with pytest.raises(NonFiniteError, match=message):
        writer.write(bad)
    writer.discard()
    assert os.listdir() == []


def test_all_or_none() -> None:
    writer = FileWriter(["y.npy", "y.std.npy"], "s.npy", rows=4)
    writer.write(result(0, 3))
    with pytest.raises(ShapeError, match="got 3 rows; expected 4"):
        writer.commit()
    assert os.listdir() == []
    writer = FileWriter(["y.npy", "y.std.npy"], "s.npy", rows=3)
    writer.write(result(0, 3))
    Path("y.std.npy").touch()
    with pytest.raises(OutputExistsError, match=r"^y\.std\.npy exists; use force=True to replace it$"):
        writer.commit()
    writer.discard()
    assert os.listdir() == ["y.std.npy"]


def test_an_output_that_comes_at_the_last_moment_is_refused_in_a_runs_words(monkeypatch: pytest.MonkeyPatch) -> None:
    finish = AtomicFile.finish

    def finished(file: AtomicFile) -> None:
        finish(file)
        Path("y.npy").touch()

    monkeypatch.setattr(AtomicFile, "finish", finished)
    writer = FileWriter(["y.npy"], "s.npy", rows=3)
    writer.write(Result(0, 3, result(0, 3).outputs[:1], result(0, 3).final_state))
    with pytest.raises(OutputExistsError, match=r"^y\.npy exists; use force=True to replace it$"):
        writer.commit()
    assert os.listdir() == ["y.npy"] and Path("y.npy").stat().st_size == 0
