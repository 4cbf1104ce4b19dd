"""A device whose memory is too small: chunks are halved until they fit, and the bits stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.running import INPUT_DIM, ROWS, TIMESTEPS, a_model, identical, run

import numba_lstm as nl
from numba_lstm.errors import DeviceMemoryError
from numba_lstm.model import Sequential
from numba_lstm.runner.pieces import InPieces
from numba_lstm.runner.stages import Chunk, Result


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Models refuse more than four rows, or more than the number put at the end; how many they were asked for."""
    whole, asked = Sequential.run_rows, [4]

    def run_rows(self: Sequential, x: Any, **options: Any) -> Any:
        rows = x.shape[1 if options["time_major"] else 0]
        asked.insert(-1, rows)
        if rows > asked[-1]:
            raise DeviceMemoryError("the GPU has too little free memory for this; take fewer rows at a time")
        return whole(self, x, **options)

    monkeypatch.setattr(Sequential, "run_rows", run_rows)
    return asked


def files(folder: Path) -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((ROWS, TIMESTEPS, INPUT_DIM)).astype(np.float32)
    np.save(folder / "x.npy", x)
    np.save(folder / "time_first.npy", x.swapaxes(0, 1))
    np.save(folder / "mask.npy", rng.random((ROWS, TIMESTEPS)) < 0.7)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.npy", {}),
        ("x.npy", {"mask": "mask.npy", "final_state": "end.npy", "training": True, "seed": 1}),
        ("time_first.npy", {"time_major": True}),
        ("x.npy", {"mc_samples": 3, "seed": 2}),
    ],
    ids=["plain", "mask and states", "time first", "samples"],
)
def test_pieces_give_the_bits_of_the_whole(
    name: str, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_memory: list[int]
) -> None:
    monkeypatch.chdir(tmp_path)
    files(tmp_path)
    model = a_model()
    small_memory[-1] = ROWS
    expected = run(model, "whole.npy", name, **options)
    states = np.load("end.npy") if "final_state" in options else None
    small_memory[:] = [4]
    identical(run(model, "y.npy", name, batch_rows=11, **options), expected)
    if states is not None:
        identical(np.load("end.npy"), states)
    # 11 rows and 5 are too many; from then on nothing is tried that is known not to fit.
    assert small_memory[:3] == [11, 5, 2]
    assert max(small_memory[2:-1]) == 2


def test_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_memory: list[int]) -> None:
    monkeypatch.chdir(tmp_path)
    files(tmp_path)
    report = nl.run_npy(a_model(), "x.npy", "y.npy", batch_rows=8)
    assert "the GPU's memory took 4 rows at a time instead of a whole chunk" in report.notes


def test_each_file_is_tried_anew_and_the_smallest_piece_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_memory: list[int]
) -> None:
    monkeypatch.chdir(tmp_path)
    files(tmp_path)
    np.save("a.npy", np.load("x.npy"))

    def progress(done: int, rows: int) -> None:
        small_memory[-1] = 5 if done >= ROWS else 2  # of the first file, and of the second

    report = nl.run_npy(a_model(), ["a.npy", "x.npy"], "out", batch_rows=11, progress=progress)
    assert small_memory[:3] == [11, 5, 2] and small_memory.count(11) == 2 and small_memory.count(5) > 2
    assert "the GPU's memory took 2 rows at a time instead of a whole chunk" in report.notes


def test_a_row_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_memory: list[int]) -> None:
    monkeypatch.chdir(tmp_path)
    files(tmp_path)
    small_memory[-1] = 0
    with pytest.raises(DeviceMemoryError, match="too little free memory"):
        nl.run_npy(a_model(), "x.npy", "y.npy")
    assert not (tmp_path / "y.npy").exists()


def pieces_of(
    rows: int, *, time_major: bool, timesteps: bool, fits: int
) -> tuple[Result, Result, list[tuple[int, int]]]:
    """The result of a chunk in pieces, that of the whole, and what was computed. Every array holds its row's number."""
    asked = []
    numbers = np.arange(100, 100 + rows, dtype=np.float32)

    def compute(chunk: Chunk) -> Result:
        asked.append((chunk.start, chunk.stop))
        x = chunk.inputs.swapaxes(0, 1) if time_major else chunk.inputs
        assert chunk.mask is not None and chunk.initial_state is not None
        mask = chunk.mask.T if time_major else chunk.mask
        for array in (x[:, 0, 0], mask[:, 1], chunk.initial_state[:, 1]):  # what belongs to a row came with it
            np.testing.assert_array_equal(array, numbers[chunk.start - 5 : chunk.stop - 5])
        if len(x) > fits:
            raise DeviceMemoryError("too little")
        y = x[:, 0] if not timesteps else chunk.inputs.copy()
        return Result(chunk.start, chunk.stop, (y, 2 * y), chunk.initial_state + 1)

    x = np.repeat(np.repeat(numbers[:, None], 3, axis=1)[:, :, None], 2, axis=2)
    mask = np.repeat(numbers[:, None], 3, axis=1)
    if time_major:
        x, mask = x.swapaxes(0, 1), mask.T
    chunk = Chunk(5, 5 + rows, x, mask, np.repeat(numbers[:, None], 4, axis=1))
    cut = InPieces(compute, time_major=time_major)(chunk)
    tried, fits = list(asked), rows
    return cut, compute(chunk), tried


@pytest.mark.parametrize("timesteps", [True, False], ids=["sequences", "last alone"])
@pytest.mark.parametrize("time_major", [True, False], ids=["time first", "rows first"])
def test_every_array_is_cut_and_joined_along_its_rows(time_major: bool, timesteps: bool) -> None:
    for rows, fits, expected in (
        (7, 3, [(5, 12), (5, 8), (8, 11), (11, 12)]),
        (2, 1, [(5, 7), (5, 6), (6, 7)]),
        (5, 5, [(5, 10)]),
        (9, 2, [(5, 14), (5, 9), (5, 7), (7, 9), (9, 11), (11, 13), (13, 14)]),
    ):
        cut, whole, tried = pieces_of(rows, time_major=time_major, timesteps=timesteps, fits=fits)
        assert tried == expected
        assert (cut.start, cut.stop) == (5, 5 + rows)
        for one, other in zip((*cut.outputs, cut.final_state), (*whole.outputs, whole.final_state), strict=True):
            np.testing.assert_array_equal(one, other)


def test_an_empty_chunk_is_computed_once() -> None:
    none = Chunk(0, 0, np.zeros((0, 3, 2)), None, None)
    asked = []

    def compute(chunk: Chunk) -> Result:
        asked.append(len(chunk.inputs))
        return Result(0, 0, (chunk.inputs,), None)

    result = InPieces(compute)(none)
    assert asked == [0] and result.final_state is None and result.outputs[0].shape == (0, 3, 2)


def test_what_another_thread_found_too_large_is_not_tried() -> None:
    asked: list[int] = []

    def compute(chunk: Chunk) -> Result:
        asked.append(chunk.stop - chunk.start)
        if len(asked) == 1:
            pieces.rows = 2  # which the other one found meanwhile
            raise DeviceMemoryError("too little")
        return Result(chunk.start, chunk.stop, (chunk.inputs,), None)

    pieces = InPieces(compute)
    x = np.arange(11.0)[:, None]
    np.testing.assert_array_equal(pieces(Chunk(0, 11, x, None, None)).outputs[0], x)
    assert asked == [11, 2, 2, 2, 2, 2, 1] and pieces.rows == 2
