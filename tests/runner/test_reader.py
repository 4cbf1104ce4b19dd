"""runner/reader.py: every row of a file with what belongs to it, however the rows are cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from numba_lstm.errors import NonFiniteError, ShapeError
from numba_lstm.runner.reader import FileReader

RECORDS, TIMESTEPS, D = 5, 9, 2


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> Path:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", rng.normal(size=(RECORDS, TIMESTEPS, D)))
    np.save("mask.npy", rng.integers(0, 2, (RECORDS, TIMESTEPS)))
    return tmp_path


def reader(**options: Any) -> FileReader:
    return FileReader("x.npy", **{"made_for": (None, D), "state_size": 6, "dtype": "float32", **options})


def windows(array: NDArray[Any], length: int, stride: int) -> NDArray[Any]:
    """Of every record, one after the other, by plain indexing."""
    starts = range(0, array.shape[1] - length + 1, stride)
    return np.stack([record[start : start + length] for record in array for start in starts])


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize(("length", "stride"), [(3, 1), (3, 2), (4, 3), (9, 1)])
def test_windows_of_a_batch(folder: Path, length: int, stride: int, size: int) -> None:
    """Chunks that begin and end inside a record, in records that the chunk before had as well, or not."""
    x, mask = windows(np.load("x.npy"), length, stride), windows(np.load("mask.npy"), length, stride)
    with reader(window=length, stride=stride, mask="mask.npy") as file:
        assert (file.rows, file.timesteps, file.rows_each) == (len(x), length, len(x) // RECORDS)
        assert file.leading(len(x)) == (RECORDS, len(x) // RECORDS)
        starts = [*range(0, len(x), size), 0, len(x) // 2]  # and some of them once more
        for start in starts:
            stop = min(start + size, len(x))
            chunk = file.read(start, stop)
            assert (chunk.start, chunk.stop) == (start, stop)
            np.testing.assert_array_equal(chunk.inputs, x[start:stop].astype(np.float32))
            np.testing.assert_array_equal(chunk.mask, mask[start:stop] != 0)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_windows_of_a_record(folder: Path, stride: int, size: int) -> None:
    x, mask = np.load("x.npy").reshape(1, -1, D), np.load("mask.npy").reshape(1, -1)
    np.save("x.npy", x[0])
    np.save("mask.npy", mask[0])
    x, mask = windows(x, 4, stride), windows(mask, 4, stride)
    with reader(window=4, stride=stride, mask="mask.npy") as file:
        assert (file.rows, file.rows_each, file.leading(file.rows)) == (len(x), 1, (len(x),))
        for start in range(0, len(x), size):
            chunk = file.read(start, min(start + size, len(x)))
            np.testing.assert_array_equal(chunk.inputs, x[start : start + size].astype(np.float32))
            np.testing.assert_array_equal(chunk.mask, mask[start : start + size] != 0)


@pytest.mark.parametrize("options", [{}, {"window": 3, "stride": 2}], ids=["rows", "windows"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int32"])
@pytest.mark.parametrize("computed", ["float32", "float64"])
def test_states_are_those_of_the_rows_in_the_models_dtype(
    folder: Path, options: dict[str, Any], dtype: str, computed: str
) -> None:
    rows = RECORDS * (4 if options else 1)
    states = (np.arange(rows * 6).reshape(rows, 6) / (3 if dtype[0] == "f" else 1)).astype(dtype)
    np.save("states.npy", states)
    with reader(initial_state="states.npy", dtype=computed, **options) as file:
        chunk = file.read(2, 5)
    assert chunk.initial_state is not None and chunk.initial_state.dtype == computed
    np.testing.assert_array_equal(chunk.initial_state, states[2:5].astype(computed))
    assert chunk.inputs.dtype == computed and chunk.mask is None


@pytest.mark.parametrize("time_major", [False, True])
def test_lengths_belong_to_rows(folder: Path, time_major: bool) -> None:
    lengths = np.array([9, 0, 4, 1, 8], np.uint16)
    np.save("lengths.npy", lengths)
    if time_major:
        np.save("x.npy", np.load("x.npy").swapaxes(0, 1))
    with reader(lengths="lengths.npy", time_major=time_major) as file:
        file.read(0, 1)
        mask = file.read(0, 4).mask
    assert mask is not None and mask.flags.c_contiguous
    rows = mask.T if time_major else mask
    assert rows.tolist() == [[step < length for step in range(TIMESTEPS)] for length in lengths[:4]]
    for wrong in (10, -1):
        np.save("lengths.npy", np.array([9, 0, 4, wrong, wrong], np.int8))
        with (
            reader(lengths="lengths.npy", time_major=time_major) as file,
            pytest.raises(
                ShapeError, match=f"lengths.npy has length {wrong} at row 3; expected 0 to 9, the timesteps of"
            ),
        ):
            file.read(1, 5)


@pytest.mark.parametrize("time_major", [False, True])
def test_rows_with_nan_are_counted_and_named(folder: Path, time_major: bool) -> None:
    x = np.load("x.npy")
    x[1, 3, 0] = x[1, 4, 1] = x[4, 0, 1] = np.nan
    mask = np.ones((RECORDS, TIMESTEPS), bool)
    mask[4, 0] = False  # which hides that one
    for array, name in ((x, "x.npy"), (mask, "mask.npy")):
        np.save(name, array.swapaxes(0, 1) if time_major else array)
    with reader(time_major=time_major) as file:
        for start in range(RECORDS):
            file.read(start, start + 1)
        assert file.nan_rows == 2
    with reader(time_major=time_major, mask="mask.npy") as file:
        file.read(0, 5)
        assert file.nan_rows == 1
    with reader(time_major=time_major, mask="mask.npy", refuse_nan=True) as file:
        file.read(2, 5)
        with pytest.raises(
            NonFiniteError, match=r"^x\.npy has a NaN in row 1, timestep 3; expected numbers; mask that"
        ):
            file.read(0, 3)


def test_windows_with_nan_are_counted(folder: Path) -> None:
    x = np.load("x.npy")
    x[1, 3, 0] = np.nan
    np.save("x.npy", x)
    with reader(window=3, stride=2) as file:  # windows begin at 0, 2, 4 and 6
        for start in range(0, file.rows, 3):
            file.read(start, min(start + 3, file.rows))
        assert file.nan_rows == 1
    with (
        reader(window=3, stride=1, refuse_nan=True) as file,
        pytest.raises(NonFiniteError, match=r"row 8, timestep 2;"),
    ):
        file.read(2, 20)


def test_what_a_row_takes(folder: Path) -> None:
    np.save("record.npy", np.zeros((30, D)))
    np.save("f.npy", np.asfortranarray(np.load("x.npy")))
    sizes = {}
    for name, options in {
        "rows": {},
        "masked": {"mask": "mask.npy"},
        "float64": {"dtype": "float64"},
        "windows": {"window": 4, "stride": 3},
    }.items():
        with reader(**options) as file:
            sizes[name] = file.row_bytes, file.held_bytes
    assert sizes == {
        "rows": (9 * 8, 0),
        "masked": (9 * (8 + 1), 0),
        "float64": (9 * 16, 0),
        "windows": (4 * 8, 2 * 9 * 8),
    }
    options = {"made_for": (None, D), "state_size": 6, "dtype": "float32"}
    with FileReader("record.npy", window=7, stride=2, **options) as file:
        assert (file.row_bytes, file.held_bytes) == (2 * 8, 0)  # the other five steps are the window before's too
    with FileReader("record.npy", window=2, stride=5, **options) as file:
        assert file.row_bytes == 2 * 8
    with FileReader("f.npy", **options) as file:
        assert file.row_bytes == 2 * 9 * 8
