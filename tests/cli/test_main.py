"""The command as a process: exit codes, signals, its imports, and one line for every failure."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from numba_lstm_cli import options, progress
from numba_lstm_cli.main import cli, describe
from support.paths import ROOT

import numba_lstm
from numba_lstm import LSTM, Sequential, save
from numba_lstm.errors import FileFormatError

DATA = ROOT / "data"
NUMBA_LSTM = [sys.executable, "-m", "numba_lstm_cli.main"]
SUBCOMMANDS = ["run", "inspect", "check", "convert", "init", "bench", "cache", "doctor"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def heeded_signals() -> Iterator[None]:
    """A shell's background jobs ignore Ctrl-C, and hand that on: without this the tests would fail there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def called(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [*NUMBA_LSTM, *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=120, check=False
    )


def test_version() -> None:
    result = CliRunner().invoke(cli, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"numba-lstm {numba_lstm.__version__}\n")


@pytest.mark.usefixtures("bench_at_once")
@pytest.mark.parametrize("words", [[], *([name] for name in SUBCOMMANDS)])
def test_help_shows_commands_that_work(words: list[str], folder: Path) -> None:
    result = CliRunner().invoke(cli, [*words, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.stdout
    lines = [line.split() for line in result.stdout.splitlines() if line.startswith("    numba-lstm ")]
    assert lines
    os.symlink(DATA, "data")
    for line in lines:
        ran = CliRunner().invoke(cli, line[1:])
        assert ran.exit_code == 0, ran.output


def test_help_lists_the_subcommands() -> None:
    listed = CliRunner().invoke(cli, ["--help"]).stdout
    assert re.findall(r"^  (\w+)  ", listed[listed.index("Commands:") :], re.MULTILINE) == sorted(SUBCOMMANDS)


def test_help_imports_neither_numpy_nor_numba() -> None:
    lines = [["--help"], ["--version"], *([name, "--help"] for name in SUBCOMMANDS)]
    code = (
        "import sys\nfrom numba_lstm_cli.main import cli\n"
        f"for words in {lines}:\n"
        "    try: cli(words)\n"
        "    except SystemExit: pass\n"
        "    print(sorted(sys.modules.keys() & {'numpy', 'numba', 'llvmlite', 'pyfive'}), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stderr == "[]\n" * len(lines)


def test_inspect_does_not_import_numba() -> None:
    code = (
        "import sys\nfrom numba_lstm_cli.main import cli\n"
        f"try: cli(['inspect', {str(DATA / 'digits/model.h5')!r}])\nexcept SystemExit: pass\n"
        "print('numba' in sys.modules, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stderr == "False\n"


def test_the_choices_are_those_of_the_library() -> None:
    from numba_lstm.semantics.dialects import DIALECTS

    assert options.DIALECTS == DIALECTS


def test_exit_codes_of_the_process(folder: Path) -> None:
    run = ["run", DATA / "digits/model.h5", DATA / "digits/x.npy", "-o", "y.npy"]
    first = called(*run)
    assert (first.returncode, first.stdout) == (0, "")
    assert first.stderr.startswith("360 rows of 8 timesteps in ")
    again = called(*run)
    assert (again.returncode, again.stderr) == (1, "Error: y.npy exists; use --force to replace it\n")
    usage = called("run", "--no-such-option")
    assert usage.returncode == 2
    check = called("check", DATA / "digits/model.h5", DATA / "digits/x.npy", "y.npy", "--rtol", 0, "--atol", 0)
    assert (check.returncode, check.stderr) == (0, "")
    y = np.load("y.npy")
    np.save("y.npy", -y)
    differs = called("check", DATA / "digits/model.h5", DATA / "digits/x.npy", "y.npy")
    assert (differs.returncode, differs.stderr) == (3, "")


def test_a_short_run_never_looks_all_objects_through(folder: Path) -> None:
    code = (
        "import atexit, gc, sys\natexit.register(lambda: print(gc.isenabled(), gc.get_stats()[2]['collections']))\n"
        f"sys.argv = ['numba-lstm', 'run', {str(DATA / 'digits/model.h5')!r}, {str(DATA / 'digits/x.npy')!r}, "
        "'-o', 'y.npy']\nfrom numba_lstm_cli.main import main\nmain()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert result.stdout == "True 0\n"


def long_run() -> list[str]:
    """A run of half a minute or more, in a folder of its own."""
    model = Sequential([LSTM(128)])
    model.reseed(1)
    model.build((None, None, 1))
    save(model, "model.npz")
    np.save("x.npy", np.zeros((4_000, 2_000, 1), np.uint8))
    return [*NUMBA_LSTM, "run", "model.npz", "x.npy", "-o", "y.npy", "--progress", "json", "--threads", "1"]


@pytest.mark.parametrize("rows", [8, 4_000])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.usefixtures("heeded_signals")
def test_signals_leave_nothing_behind(folder: Path, number: signal.Signals, code: int, rows: int) -> None:
    """Between chunks of few rows, and inside one that takes all the time."""
    command = [*long_run(), "--batch-rows", str(rows)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert json.loads(process.stderr.readline())["rows_done"] == 0
        if rows == 8:
            assert json.loads(process.stderr.readline())["rows_done"] >= rows
            assert any(name.endswith(".part") for name in os.listdir())
        else:
            time.sleep(1)
        begin = time.monotonic()
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait(30) == code
    assert time.monotonic() - begin < 5
    lines = [line for line in rest.splitlines() if not line.startswith("{")]
    assert lines == [f"Interrupted by {number.name}; no unfinished output is left"]
    assert sorted(os.listdir()) == ["model.npz", "x.npy"]


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_memory_stays_below_the_limit(folder: Path) -> None:
    """All rows at once would take 700 MB."""
    model = Sequential([LSTM(64, return_sequences=True)])
    model.reseed(1)
    model.build((None, None, 2))
    save(model, "model.npz")
    np.save("x.npy", np.zeros((20_000, 60, 2), np.uint8))
    command = [*NUMBA_LSTM, "run", "model.npz", "x.npy", "-o", "y.npy", "--last-only", "--batch-rows", "20000"]
    # Linux counts what the process that starts another one takes as the other's too: here a small one starts it.
    starter = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stderr=subprocess.DEVNULL, check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    words = [sys.executable, "-c", starter, *command, "--max-memory", "400MB"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 400e6
    assert np.load("y.npy").shape == (20_000, 64)


def test_no_traceback_when_the_reader_of_a_pipe_is_gone(folder: Path) -> None:
    command = [*NUMBA_LSTM, "inspect", str(DATA / "digits/model.h5"), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(30) == 1


def test_names_that_are_no_text(folder: Path) -> None:
    name = os.fsdecode(b"bad\xff\nname.npy")
    result = called("run", DATA / "digits/model.h5", name, "-o", "y.npy")
    assert result.returncode == 1
    assert result.stderr.startswith("Error: bad")
    assert result.stderr.count("\n") == 1
    Path(os.fsdecode(b"m\xff.h5")).write_bytes((DATA / "digits/model.h5").read_bytes())
    result = called("inspect", os.fsdecode(b"m\xff.h5"), PYTHONIOENCODING="utf-8:strict")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("m\\udcff.h5: Keras HDF5 model")


def test_a_defect_is_one_line_and_shows_where_if_asked(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("gate")

    monkeypatch.setattr("numba_lstm.runner.run.plan_jobs", fail)
    words = ["run", "model.h5", "x.npy", "-o", "y.npy"]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: unexpected KeyError: 'gate'; a defect of numba-lstm: NUMBA_LSTM_TRACEBACK=1 shows where\n"
    )
    result = CliRunner().invoke(cli, words, env={"NUMBA_LSTM_TRACEBACK": "1"})
    assert result.exit_code == 1
    assert "Traceback (most recent call last):" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("Error: unexpected KeyError: 'gate'")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FileFormatError("x.npy is\nodd"), "x.npy is odd"),
        (
            MemoryError(),
            "not enough memory; --batch-rows and --max-memory let a run take fewer rows at a time",
        ),
        (
            MemoryError("Unable to allocate 9 TiB"),
            "not enough memory: Unable to allocate 9 TiB; "
            "--batch-rows and --max-memory let a run take fewer rows at a time",
        ),
        (FileNotFoundError(2, "No such file or directory", "x.npy"), "x.npy: No such file or directory"),
        (PermissionError(13, "Permission denied", b"x\xff.npy"), "x\udcff.npy: Permission denied"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (
            OSError("strange"),
            "unexpected OSError: strange; a defect of numba-lstm: NUMBA_LSTM_TRACEBACK=1 shows where",
        ),
    ],
)
def test_descriptions(error: Exception, line: str) -> None:
    assert describe(error) == line


def test_the_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    bar = progress.Bar()
    bar(0, 1000)
    now[0] += 1.9
    bar(100, 1000)
    assert capsys.readouterr().err == ""
    now[0] += 0.1
    bar(250, 1000)
    drawn = capsys.readouterr().err
    assert drawn == "\r[#######.......................] 250 of 1,000 rows, 125 rows/s, 6 s left"
    now[0] += 0.1
    bar(300, 1000)
    assert capsys.readouterr().err == ""
    now[0] += 400
    bar(999, 1000)
    shorter = capsys.readouterr().err
    assert len(shorter) == len(drawn)
    assert shorter.endswith("left  ")
    bar.clear()
    cleared = capsys.readouterr().err
    assert cleared.strip() == ""
    assert len(cleared) > len(shorter.rstrip())
    bar.clear()
    assert capsys.readouterr().err == ""


def test_every_option_has_a_text() -> None:
    for name in ("run", "inspect", "check", "bench", "doctor"):
        for option in cli.commands[name].params:
            assert not isinstance(option, click.Option) or option.help, f"{name} {option.name}"
