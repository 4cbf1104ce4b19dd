"""``numba-lstm check``: what differs, where, and the exit code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numba_lstm_cli.check import lines
from numba_lstm_cli.main import cli
from support.paths import ROOT

from numba_lstm.runner.compare import Comparison

DATA = ROOT / "data"
DIGITS = [DATA / "digits/model.h5", DATA / "digits/x.npy"]
Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    return lambda *words: runner.invoke(cli, ["check", *(str(word) for word in words)])


def test_digits_have_keras_accuracy(command: Command) -> None:
    result = command(*DIGITS, DATA / "digits/y.npy", "--labels", DATA / "digits/labels.npy")
    assert (result.exit_code, result.stderr) == (0, "")
    accuracy, difference, verdict = result.stdout.splitlines()
    y, labels = np.load(DATA / "digits/y.npy"), np.load(DATA / "digits/labels.npy")
    share = f"{np.mean(y.argmax(axis=1) == labels):.2%}"
    assert accuracy == f"accuracy {share} of 360 rows; {share} with the outputs in {DATA / 'digits/y.npy'}"
    assert difference.startswith("largest difference ")
    assert float(difference.split()[2]) < 1e-6
    assert "ulp of float32) at [" in difference
    assert difference.endswith(" expected")
    assert verdict == "the same: all 3,600 values within rtol 1e-05, atol 1e-06"


def test_sunspots(command: Command) -> None:
    result = command(DATA / "sunspots/model.h5", DATA / "sunspots/x.npy", DATA / "sunspots/y.npy")
    assert result.exit_code == 0
    result = command(DATA / "sunspots/model.h5", DATA / "sunspots/record.npy", DATA / "sunspots/y.npy", "--window", 22)
    assert result.exit_code == 0


def test_differences_end_in_3(command: Command) -> None:
    y = np.load(DATA / "digits/y.npy")
    y[12, 3] += 0.5
    y[300, 0] = np.nan
    np.save("y.npy", y)
    result = command(*DIGITS, "y.npy", "--batch-rows", 100)
    assert (result.exit_code, result.stderr) == (3, "")
    difference, verdict = result.stdout.splitlines()
    assert difference.startswith("largest difference inf (inf ulp of float32) at [300, 0]: ")
    assert difference.endswith(" computed, nan expected")
    assert verdict == "different: 2 of 3,600 values beyond rtol 1e-05, atol 1e-06"
    assert command(*DIGITS, DATA / "digits/y.npy", "--rtol", 0, "--atol", 0).exit_code == 3
    assert command(*DIGITS, "y.npy", "--atol", "inf").exit_code == 1


def test_one_value_outside_ends_in_3(command: Command) -> None:
    y = np.load(DATA / "digits/y.npy")
    y[359, 9] += 0.5
    np.save("y.npy", y)
    result = command(*DIGITS, "y.npy")
    assert result.exit_code == 3
    assert result.stdout.endswith("\ndifferent: 1 of 3,600 values beyond rtol 1e-05, atol 1e-06\n")
    assert "] at [" not in result.stdout and " at [359, 9]: " in result.stdout
    assert command(*DIGITS, "y.npy", "--atol", "0.5001").exit_code == 0


def test_what_is_said() -> None:
    found = Comparison(
        *(2, 1234, 5, 0.25, (1, 3), 0.75, 1.0, 2.5, "float16"), accuracy=0.5, expected_accuracy=0.25
    )  # fmt: skip
    assert lines(found, 0.001, 0.125, "y.npy") == [
        "accuracy 50.00% of 2 rows; 25.00% with the outputs in y.npy",
        "largest difference 0.25 (2.5 ulp of float16) at [1, 3]: 0.75 computed, 1 expected",
        "different: 5 of 1,234 values beyond rtol 0.001, atol 0.125",
    ]
    same = replace(found, outside=0, accuracy=None)
    assert lines(same, 0, 0, "y.npy")[-1] == "the same: all 1,234 values within rtol 0, atol 0"
    assert len(lines(same, 0, 0, "y.npy")) == 2
    assert lines(replace(same, largest=0.0), 0, 0, "y")[0] == "no difference in 1,234 values"


def test_no_difference(command: Command) -> None:
    CliRunner().invoke(cli, ["run", *map(str, DIGITS), "-o", "y.npy"])
    result = command(*DIGITS, "y.npy", "--rtol", 0, "--atol", 0, "--threads", 1, "--batch-rows", 7)
    assert result.exit_code == 0
    assert result.stdout == "no difference in 3,600 values\nthe same: all 3,600 values within rtol 0, atol 0\n"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["x.npy"], 1, "x.npy has shape (360, 8, 8); the model gives (360, 10)"),
        (["missing.npy"], 1, "missing.npy: No such file or directory"),
        (["y.npy", "--labels", "y.npy"], 1, "y.npy has shape (360, 10); expected (360,): a label for each row"),
        (["y.npy", "--atol", "nan"], 1, "rtol is 1e-05 and atol nan; expected finite numbers from 0 up"),
        (["y.npy", "--rtol", "-1"], 2, "-1.0 is not in the range x>=0."),
        (["y.npy", "--stride", "2"], 2, "--stride needs --window: it is the distance from one window to the next"),
    ],
)
def test_errors(command: Command, words: list[str], code: int, message: str) -> None:
    np.save("x.npy", np.load(DIGITS[1]))
    np.save("y.npy", np.load(DATA / "digits/y.npy"))
    result = command(*DIGITS, *words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert code == 2 or result.stderr == f"Error: {message}\n"
