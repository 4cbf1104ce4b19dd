"""A device whose memory is too small: chunks are halved until they fit, and the bits stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from running import INPUT_DIM, ROWS, TIMESTEPS, a_model, identical, run

import numba_lstm as nl
from numba_lstm.errors import DeviceMemoryError
from numba_lstm.model import Sequential


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


def test_a_row_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_memory: list[int]) -> None:
    monkeypatch.chdir(tmp_path)
    files(tmp_path)
    small_memory[-1] = 0
    with pytest.raises(DeviceMemoryError, match="too little free memory"):
        nl.run_npy(a_model(), "x.npy", "y.npy")
    assert not (tmp_path / "y.npy").exists()
