"""Warnings of the library on the stderr of each command that computes: one line, once."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numba_lstm_cli.main import cli
from numba_lstm_cli.notices import _NOTICES

import numba_lstm as nl
from numba_lstm import doctor as diagnosis
from numba_lstm.errors import ConfigError
from numba_lstm.kernel_cache import kernel_files
from numba_lstm.kernel_cache.kernel_files import KernelFiles

COMMANDS = {
    "run": ("numba_lstm.runner.run_npy", ["run", "m", "x", "-o", "y"]),
    "check": ("numba_lstm.runner.compare.compare_npy", ["check", "m", "x", "y"]),
    "bench": ("numba_lstm.bench.short.measure", ["bench"]),
    "bench --demo": ("numba_lstm.bench.demo.measure", ["bench", "--demo"]),
    "doctor": ("numba_lstm.doctor.diagnose", ["doctor"]),
}


@pytest.fixture(autouse=True)
def unhandled() -> Iterator[None]:
    """Each test begins and ends without the command's handler."""
    logging.getLogger("numba_lstm").removeHandler(_NOTICES)
    yield
    logging.getLogger("numba_lstm").removeHandler(_NOTICES)


def warns(*_: Any, **__: Any) -> None:
    logging.getLogger("numba_lstm").warning("a kernel in %s cannot be used", "a folder")
    raise ConfigError("the end")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_warning_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, words = COMMANDS[name]
    monkeypatch.setattr(function, warns)
    for _ in range(2):  # a second command in one process has one handler still
        result = CliRunner().invoke(cli, words)
        assert result.stderr == "Warning: a kernel in a folder cannot be used\nError: the end\n"


def test_a_warning_is_json_where_all_lines_are(monkeypatch: pytest.MonkeyPatch) -> None:
    function, words = COMMANDS["run"]
    monkeypatch.setattr(function, warns)
    result = CliRunner().invoke(cli, [*words, "--progress", "json"])
    line, _ = result.stderr.splitlines()
    assert json.loads(line) == {"event": "warning", "message": "a kernel in a folder cannot be used"}


def test_a_folder_that_cannot_be_used_is_one_line_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    model, x = nl.Sequential([nl.Dense(2)]), np.ones((5, 4, 3), np.float32)  # whose kernel is compiled soon
    model.reseed(1)
    model.build((None, 4, 3))
    nl.save(model, tmp_path / "m.npz")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", model(x))
    monkeypatch.setenv("NUMBA_LSTM_CACHE_DIR", str(blocked))
    words = ["check", *(tmp_path / name for name in ("m.npz", "x.npy", "y.npy"))]
    command = [sys.executable, "-m", "numba_lstm_cli.main", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and "the same: all" in done.stdout
    line, compiled = done.stderr.splitlines()
    assert compiled.startswith("compiled dense.dense in ")
    assert line.startswith(f"Warning: compiled kernels are not kept, and each process compiles anew: {blocked}: ")
    assert line.endswith("; NUMBA_LSTM_CACHE_DIR can name a folder of yours")


def test_the_doctor_shows_it_among_its_lines_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("NUMBA_LSTM_CACHE_DIR", str(tmp_path / "a file"))
    monkeypatch.setattr(kernel_files, "_logged", set())
    assert diagnosis.diagnose(check=False)["cache"]["problem"]
    assert KernelFiles().find("a", "", frozenset()) is None  # as the layer that doctor runs would
    assert caplog.messages == []
