"""Errors of a run: one line each, and no file left behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numba_lstm import LSTM, Dense, Embedding, Sequential, run_npy
from numba_lstm.errors import (
    ConfigError,
    DTypeError,
    NonFiniteError,
    OutputExistsError,
    ShapeError,
)
from numba_lstm.formats import save
from numba_lstm.runner.compare import compare_npy

OneLine = Callable[[pytest.ExceptionInfo[BaseException]], str]


@pytest.fixture
def model() -> Sequential:
    model = Sequential([LSTM(4, return_sequences=True, seed=4)])
    model.build((None, None, 3))
    return model


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> Path:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", rng.normal(size=(6, 5, 3)).astype(np.float32))
    np.save("record.npy", rng.normal(size=(5, 3)).astype(np.float32))
    return tmp_path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 2}, "stride needs window: it is the distance from one window to the next"),
        ({"rows": (2, 7)}, "rows is 2:7, but x.npy has 6 rows; expected a range within 0:6"),
        ({"rows": (6, None)}, "rows is 6:, but x.npy has 6 rows; expected a range within 0:6"),
    ],
)
def test_options(model: Sequential, options: dict[str, Any], message: str, one_line: OneLine) -> None:
    with pytest.raises((ConfigError, ShapeError)) as info:
        run_npy(model, "x.npy", "y.npy", **options)
    assert one_line(info) == message
    assert sorted(os.listdir()) == ["record.npy", "x.npy"]


def test_an_unknown_option(model: Sequential) -> None:
    with pytest.raises(TypeError, match="btach_rows"):
        run_npy(model, "x.npy", "y.npy", btach_rows=3)


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (
            np.zeros(4),
            {},
            "in.npy has shape (4,); expected (batch, timesteps, input_dim), or one record (timesteps, input_dim)",
        ),
        (
            np.zeros((2, 2, 2, 3)),
            {},
            "in.npy has shape (2, 2, 2, 3); expected (batch, timesteps, input_dim), or one record",
        ),
        (np.zeros((4, 3)), {"time_major": True}, "in.npy has shape (4, 3); expected (timesteps, batch, input_dim)"),
        (np.zeros((2, 5, 4)), {}, "in.npy has shape (2, 5, 4), input_dim 4; expected 3, as in the model"),
        (np.zeros((5, 4)), {}, "in.npy has shape (5, 4), input_dim 4; expected 3, as in the model"),
        (np.zeros((2, 0, 3)), {}, "in.npy has shape (2, 0, 3); expected one timestep or more"),
        (np.zeros((2, 5, 3)), {"window": 6}, "in.npy has 5 timesteps; expected at least 6, the window"),
        (np.zeros((2, 5, 3), complex), {}, "in.npy holds complex numbers (dtype '<c16')"),
    ],
)
def test_inputs(model: Sequential, array: Any, options: dict[str, Any], message: str, one_line: OneLine) -> None:
    np.save("in.npy", array)
    with pytest.raises((ShapeError, DTypeError)) as info:
        run_npy(model, "in.npy", "y.npy", **options)
    assert message in one_line(info)
    assert sorted(os.listdir()) == ["in.npy", "record.npy", "x.npy"]


def test_indices(one_line: OneLine) -> None:
    model = Sequential([Embedding(9, 4), LSTM(3)])
    model.build((None, None))
    with pytest.raises(ShapeError) as info:
        run_npy(model, "x.npy", "y.npy")
    assert one_line(info) == "x.npy has shape (6, 5, 3); expected (batch, timesteps), or one record (timesteps)"


@pytest.mark.parametrize(
    ("option", "array", "message"),
    [
        ("mask", np.ones((6, 4)), "a.npy has shape (6, 4); expected (6, 5): the shape of the input without input_dim"),
        ("lengths", np.ones(5, int), "a.npy has shape (5,); expected (6,): a length for each row"),
        ("lengths", np.ones(6), "a.npy has dtype float64; expected integers, a length for each row"),
        (
            "lengths",
            np.array([1, 2, 6, 0, 0, 0]),
            "a.npy has length 6 at row 2; expected 0 to 5, the timesteps of x.npy",
        ),
        (
            "lengths",
            np.array([1, 2, 3, 0, -1, 0]),
            "a.npy has length -1 at row 4; expected 0 to 5, the timesteps of x.npy",
        ),
        ("initial_state", np.ones((6, 4)), "a.npy has shape (6, 4); expected (6, 8): (rows, h and c of each layer)"),
    ],
)
def test_files_beside_the_input(model: Sequential, option: str, array: Any, message: str, one_line: OneLine) -> None:
    np.save("a.npy", array)
    with pytest.raises((ShapeError, DTypeError)) as info:
        run_npy(model, "x.npy", "y.npy", batch_rows=2, **{option: "a.npy"})
    assert one_line(info) == message
    assert sorted(os.listdir()) == ["a.npy", "record.npy", "x.npy"]


def test_outputs_that_are_there(model: Sequential) -> None:
    Path("s.npy").write_text("precious")
    with pytest.raises(OutputExistsError, match=r"^s\.npy exists"):
        run_npy(model, "x.npy", "new.npy", final_state="s.npy")
    assert Path("s.npy").read_text() == "precious"
    run_npy(model, "x.npy", "s.npy", force=True)
    assert np.load("s.npy").shape == (6, 5, 4)


def test_an_output_that_came_while_the_run_was_going(model: Sequential, one_line: OneLine) -> None:
    def meanwhile(done: int, rows: int) -> None:
        if done:
            Path("y.npy").write_text("precious")

    with pytest.raises(OutputExistsError) as info:
        run_npy(model, "x.npy", "y.npy", progress=meanwhile)
    assert one_line(info) == "y.npy exists; use force=True to replace it"
    assert Path("y.npy").read_text() == "precious"
    assert sorted(os.listdir()) == ["record.npy", "x.npy", "y.npy"]


@pytest.mark.parametrize("options", [{}, {"mask": "missing.npy"}, {"initial_state": "missing.npy"}])
def test_files_that_are_missing(model: Sequential, options: dict[str, Any]) -> None:
    with pytest.raises(FileNotFoundError, match="No such file or directory"):
        run_npy(model, "x.npy" if options else "missing.npy", "y.npy", **options)
    assert sorted(os.listdir()) == ["record.npy", "x.npy"]


def test_a_model_is_not_written_over(model: Sequential, one_line: OneLine) -> None:
    save(model, "m.npz")
    os.link("m.npz", "y.npy")
    with pytest.raises(ConfigError) as info:
        run_npy("m.npz", "x.npy", "y.npy", force=True)
    assert one_line(info) == "output y.npy is also read by this run; name another file"


def test_a_folder_with_one_bad_file_computes_nothing(model: Sequential) -> None:
    Path("in").mkdir()
    np.save("in/a.npy", np.load("x.npy"))
    np.save("in/b.npy", np.zeros((2, 5, 4)))
    with pytest.raises(ShapeError, match="input_dim 4"):
        run_npy(model, "in", "out", progress=lambda *_: pytest.fail("the run began"))
    assert not Path("out").exists()


@pytest.mark.parametrize("size", [1, 4, 6])
def test_nan_in_the_input(model: Sequential, size: int, one_line: OneLine) -> None:
    x = np.load("x.npy")
    x[4, 3, 1] = np.nan
    np.save("x.npy", x)
    run_npy(model, "x.npy", "kept.npy", batch_rows=size)
    assert np.isnan(np.load("kept.npy")[4, 3:]).all()
    assert np.isfinite(np.load("kept.npy")[[0, 1, 2, 3, 5]]).all()
    with pytest.raises(NonFiniteError) as info:
        run_npy(model, "x.npy", "y.npy", on_nan="error", batch_rows=size)
    assert one_line(info) == (
        "x.npy has a NaN in row 4, timestep 3; expected numbers; mask that step, or let it through with on_nan='keep'"
    )
    np.save("lengths.npy", np.array([5, 5, 5, 5, 3, 5]))
    run_npy(model, "x.npy", "y.npy", on_nan="error", batch_rows=size, lengths="lengths.npy")
    np.save("xt.npy", x.swapaxes(0, 1))
    with pytest.raises(NonFiniteError, match="row 4, timestep 3"):
        run_npy(model, "xt.npy", "yt.npy", on_nan="error", batch_rows=size, time_major=True)
    assert sorted(os.listdir()) == ["kept.npy", "lengths.npy", "record.npy", "x.npy", "xt.npy", "y.npy"]


@pytest.mark.parametrize("time_major", [False, True])
def test_nan_that_arises(time_major: bool, one_line: OneLine) -> None:
    model = Sequential([LSTM(4, return_sequences=True, seed=4), Dense(2)])
    model.build((None, None, 3))
    kernel, bias = model.layers[1].get_weights()
    kernel[:] = np.inf
    model.layers[1].set_weights([kernel, bias])
    x = np.zeros((6, 5, 3), np.float32)
    x[3] = 1
    np.save("x.npy", x.swapaxes(0, 1) if time_major else x)
    with pytest.raises(NonFiniteError) as info:
        run_npy(model, "x.npy", "y.npy", on_nan="error", batch_rows=6, time_major=time_major)
    assert one_line(info) == (
        "y.npy would hold a NaN in row 0; expected numbers; look for infinities in that row and in the weights, "
        "or let it through with on_nan='keep'"
    )
    assert not Path("y.npy").exists()


def test_memory(model: Sequential, one_line: OneLine) -> None:
    with pytest.raises(ConfigError) as info:
        run_npy(model, "x.npy", "y.npy", max_memory=10**6)
    assert one_line(info).startswith(
        "max_memory is 1 MB, too little for a row of x.npy and the program itself; expected at least "
    )


def test_a_full_disk_leaves_nothing(model: Sequential, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "y.npy")

    monkeypatch.setattr("numba_lstm.formats.npy.NpyWriter.write_rows", full)
    with pytest.raises(OSError, match="No space left"):
        run_npy(model, "x.npy", "y.npy", batch_rows=2)
    assert sorted(os.listdir()) == ["record.npy", "x.npy"]


def test_comparisons(model: Sequential, one_line: OneLine) -> None:
    run_npy(model, "x.npy", "y.npy")
    np.save("short.npy", np.load("y.npy")[:5])
    np.save("labels.npy", np.zeros(6, int))
    np.save("few.npy", np.zeros(5, int))
    np.save("floats.npy", np.zeros(6))
    cases: list[tuple[dict[str, Any], str]] = [
        ({"expected": "short.npy"}, "short.npy has shape (5, 5, 4); the model gives (6, 5, 4)"),
        ({"labels": "labels.npy"}, "labels need outputs (batch, classes); the model gives (6, 5, 4)"),
        ({"labels": "few.npy"}, "few.npy has shape (5,); expected (6,): a label for each row"),
        ({"labels": "floats.npy"}, "floats.npy has dtype float64; expected integers, the class of each row"),
        ({"rtol": -1.0}, "rtol is -1.0 and atol 1e-06; expected finite numbers from 0 up"),
        ({"atol": float("nan")}, "rtol is 1e-05 and atol nan; expected finite numbers from 0 up"),
    ]
    for options, message in cases:
        with pytest.raises((ShapeError, DTypeError, ConfigError)) as info:
            compare_npy(model, "x.npy", **{"expected": "y.npy", **options})
        assert one_line(info) == message
