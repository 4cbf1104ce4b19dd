"""``numba-lstm run``: its options reach the run, and its line says what was done."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numba_lstm_cli.main import cli
from support.paths import ROOT

from numba_lstm import LSTM, Dense, Sequential, load, save

DATA = ROOT / "data"
Command = Callable[..., Result]


@pytest.fixture
def command() -> Command:
    runner = CliRunner()
    return lambda *words: runner.invoke(cli, [str(word) for word in words])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> Path:
    monkeypatch.chdir(tmp_path)
    model = Sequential([LSTM(4, return_sequences=True, recurrent_dropout=0.5), Dense(2)])
    model.reseed(3)
    model.build((None, None, 3))
    save(model, "model.npz")
    np.save("x.npy", rng.normal(size=(9, 6, 3)).astype(np.float32))
    return tmp_path


def test_digits(command: Command) -> None:
    result = command("run", DATA / "digits/model.h5", DATA / "digits/x.npy", "-o", "y.npy")
    assert (result.exit_code, result.stdout) == (0, "")
    assert re.fullmatch(
        r"360 rows of 8 timesteps in [\d.e-]+ s \([\d,]+ rows/s\) on cpu in float32, dialect keras2 -> y\.npy\n",
        result.stderr,
    )
    np.testing.assert_allclose(np.load("y.npy"), np.load(DATA / "digits/y.npy"), rtol=0, atol=1e-6)


def test_sunspots_by_windows(command: Command) -> None:
    result = command(
        "run",
        DATA / "sunspots/model.h5",
        DATA / "sunspots/record.npy",
        "-o",
        "y.npy",
        "--window",
        22,
        "--batch-rows",
        50,
    )
    assert result.exit_code == 0
    assert result.stderr.startswith("288 rows of 22 timesteps in ")
    np.testing.assert_allclose(np.load("y.npy"), np.load(DATA / "sunspots/y.npy"), rtol=0, atol=1e-6)


def test_all_options_at_once(command: Command) -> None:
    model, x = load("model.npz"), np.load("x.npy")
    mask = np.ones((9, 6), bool)
    mask[:, 4:] = False
    np.save("mask.npy", mask)
    result = command(
        *("run", "model.npz", "x.npy", "-o", "y.npy", "--mask", "mask.npy", "--final-state", "s.npy", "--rows", "2:7"),
        *("--batch-rows", 2, "--max-memory", "4GB", "--threads", 1, "--precision", "float64", "--training"),
        *("--seed", 5, "--on-nan", "error", "--device", "cpu", "--last-only", "--dialect", "tf1", "--force"),
    )
    assert result.exit_code == 0, result.output
    assert "5 rows of 6 timesteps" in result.stderr
    assert "on cpu in float64, dialect tf1, seed 5 -> 2 files; x.npy: float32 read as float64" in result.stderr
    model.reseed(5)
    outputs, states = model.run_rows(x, mask=mask, training=True, draw=0, precision="float64", return_state=True)
    assert np.load("y.npy").tobytes() == outputs[2:7, -1].tobytes()
    assert np.load("s.npy").tobytes() == np.concatenate(states, axis=1)[2:7].tobytes()


def test_several_files(command: Command) -> None:
    x = np.load("x.npy")
    np.save("a.npy", x[:4].astype(np.float64))
    np.save("b.npy", x[4:, :5].astype(np.int8))
    result = command("run", "model.npz", "a.npy", "b.npy", "-o", "out")
    assert result.exit_code == 0
    assert "9 rows of 5 to 6 timesteps" in result.stderr
    assert result.stderr.endswith("-> 2 files; a.npy: float64 read as float32; 1 more inputs cast\n")
    assert sorted(os.listdir("out")) == ["a.npy", "b.npy"]


def test_monte_carlo(command: Command) -> None:
    result = command("run", "model.npz", "x.npy", "-o", "y.npy", "--mc-samples", 3, "--batch-rows", 4)
    assert result.exit_code == 0
    seed = re.search(r", seed (\d+) -> 2 files\n", result.stderr)
    assert seed is not None
    assert np.load("y.std.npy").shape == np.load("y.npy").shape == (9, 6, 2)
    assert np.load("y.std.npy").any()
    again = command("run", "model.npz", "x.npy", "-o", "z.npy", "--mc-samples", 3, "--seed", seed[1])
    assert again.exit_code == 0
    assert Path("y.npy").read_bytes() == Path("z.npy").read_bytes()
    assert Path("y.std.npy").read_bytes() == Path("z.std.npy").read_bytes()


def test_verbose(command: Command) -> None:
    np.savez("bare.npz", kernel=np.ones((3, 8)), recurrent_kernel=np.ones((2, 8)), bias=np.ones(8))
    result = command("run", "bare.npz", "x.npy", "-o", "y.npy", "--verbose", "--batch-rows", 4)
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert lines[0].startswith("bare npz, ")
    assert "x.npy: float32 read as float64" in lines
    assert "up to 4 rows at a time" in lines
    assert "wrote y.npy (9, 6, 2)" in lines
    assert lines[-1].startswith("9 rows of 6 timesteps in ")


def test_what_was_assumed_is_said_without_verbose(command: Command) -> None:
    np.savez("bare.npz", kernel=np.ones((3, 8), "f4"), recurrent_kernel=np.ones((2, 8), "f4"), bias=np.ones(8, "f4"))
    result = command("run", "bare.npz", "x.npy", "-o", "y.npy")
    assert result.stderr.count("\n") == 1
    assert "-> y.npy; " in result.stderr
    assert "a bare LSTMCell is run as RNN(cell, return_sequences=True)" in result.stderr


def test_json_progress(command: Command) -> None:
    result = command("run", "model.npz", "x.npy", "-o", "y.npy", "--progress", "json", "--batch-rows", 3)
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["progress", "progress", "done"]
    assert (lines[0]["rows_done"], lines[0]["rows"]) == (0, 9)
    assert (lines[1]["rows_done"], lines[1]["rows"]) == (9, 9)
    assert lines[-1].keys() == {
        *("event", "rows", "timesteps", "seconds", "rows_per_second", "device", "precision", "dialect", "seed"),
        *("chunk_rows", "outputs", "notes", "origin", "device_notes", "nan_rows"),
    }
    assert lines[-1]["nan_rows"] == {"inputs": 0, "outputs": 0}
    assert lines[-1]["outputs"] == {"y.npy": [9, 6, 2]}


@pytest.mark.parametrize("size", [2, 9])
def test_rows_with_nan_are_counted(command: Command, size: int) -> None:
    x = np.load("x.npy")
    x[7, 2, 0] = x[1, 5, 1] = np.nan
    np.save("nan.npy", x)
    np.save("lengths.npy", np.array([6, 5, 6, 6, 6, 6, 6, 6, 6]))
    words = ["run", "model.npz", "nan.npy", "-o", "y.npy", "--batch-rows", size]
    for more, said in (
        ([], "-> y.npy; NaN in 2 rows of the inputs and 2 rows of the outputs"),
        (["--verbose"], "-> y.npy; NaN in 2 rows of the inputs and 2 rows of the outputs"),
        (["--lengths", "lengths.npy"], "-> y.npy; NaN in 1 row of the inputs and 1 row of the outputs"),
    ):
        result = command(*words, *more, "--force")
        assert result.exit_code == 0 and result.stderr.splitlines()[-1].endswith(said)
    result = command(*words, "--mc-samples", 2, "--seed", 1, "--progress", "json", "--force")
    assert json.loads(result.stderr.splitlines()[-1])["nan_rows"] == {"inputs": 2, "outputs": 2}
    assert "NaN" not in command("run", "model.npz", "x.npy", "-o", "y.npy", "--force").stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--mask", "a.npy", "--lengths", "b.npy"], "--mask and --lengths exclude each other; give one of them"),
        (["--seed", "3"], "--seed needs --training or --mc-samples: without them nothing is drawn"),
        (["--stride", "3"], "--stride needs --window: it is the distance from one window to the next"),
        (["--carry-state"], "--carry-state needs --batch-rows: how many rows a batch has"),
        (["--carry-state", "--batch-rows", "2", "--mc-samples", "2"], "--carry-state and --mc-samples exclude"),
        (["--rows", "5"], "'5' is no range of rows; expected the first and one past the last, as 0:100"),
        (["--rows", "5:5"], "'5:5' holds no rows; expected the first and one past the last, as 0:100"),
        (["--max-memory", "lots"], "'lots' is no amount of memory; expected one as 500MB or 2GB"),
        (["--max-memory", "0"], "'0' is no amount of memory; expected one as 500MB or 2GB"),
        (["--batch-rows", "0"], "Invalid value for '--batch-rows': 0 is not in the range x>=1."),
        (["--dialect", "keras4"], "'keras4' is not one of 'tf1', 'keras2', 'keras3'."),
        (["--resume"], "No such option"),
    ],
)
def test_usage(command: Command, words: list[str], message: str) -> None:
    result = command("run", "model.npz", "x.npy", "-o", "y.npy", *words)
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: ")
    assert message in result.stderr
    assert not Path("y.npy").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.npz", "x.npy", "-o", "there.npy"], "there.npy exists; use --force to replace it"),
        (["missing.npz", "x.npy", "-o", "y.npy"], "missing.npz: No such file or directory"),
        (["model.npz", "missing.npy", "-o", "y.npy"], "missing.npy: No such file or directory"),
        (["model.npz", "x.npy", "-o", "no/y.npy"], "no: no such folder to write to"),
        (["model.npz", "x.npy", "-o", "y.npy", "--precision", "tf32"], "precision is 'tf32', which needs CUDA kernels"),
        (
            ["model.npz", "x.npy", "-o", "y.npy", "--max-memory", "1MB"],
            "--max-memory is 1 MB, too little for a row of x.npy",
        ),
        (
            ["model.npz", "nan.npy", "-o", "y.npy", "--on-nan", "error"],
            "nan.npy has a NaN in row 7, timestep 2; expected",
        ),
        (["model.npz", "cut.npy", "-o", "y.npy"], "cut.npy holds 600 bytes of data; expected 648 for shape (9, 6, 3)"),
        (["model.npz", "garbage.npy", "-o", "y.npy"], "garbage.npy is not a .npy file: it begins with"),
        (["garbage.npy", "x.npy", "-o", "y.npy"], "garbage.npy is "),
        (["model.npz", "object.npy", "-o", "y.npy"], "object.npy holds objects, which need pickle"),
    ],
)
def test_errors(command: Command, words: list[str], message: str) -> None:
    x = np.load("x.npy")
    Path("there.npy").write_text("precious")
    Path("cut.npy").write_bytes(Path("x.npy").read_bytes()[:-48])
    Path("garbage.npy").write_bytes(b"\0garbage" * 20)
    x[7, 2, 0] = np.nan
    np.save("nan.npy", x)
    np.save("object.npy", np.array([None]), allow_pickle=True)
    before = sorted(os.listdir())
    result = command("run", *words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {message}")
    assert result.stderr.count("\n") == 1
    assert sorted(os.listdir()) == before
    assert Path("there.npy").read_text() == "precious"


def test_a_missing_package(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyfive", None)
    result = command("run", DATA / "digits/model.h5", DATA / "digits/x.npy", "-o", "y.npy")
    assert result.exit_code == 1
    assert "pip install 'numba_lstm[h5]'" in result.stderr
    assert result.stderr.count("\n") == 1
