"""The paths of a run: where each output goes, and what must not be written there. Nothing is computed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from numba_lstm.errors import ConfigError, FileFormatError, OutputExistsError
from numba_lstm.runner.jobs import Job, plan_jobs
from numba_lstm.runner.options import RunOptions

OneLine = Callable[[pytest.ExceptionInfo[BaseException]], str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Path("empty").mkdir()
    for name in ("x.npy", "record.npy", "in/x.npy", "in/b.npy", "in/.hidden.npy", "in/notes.txt"):
        Path(name).write_text("x")


def test_one_file() -> None:
    options = RunOptions(mask="m.npy", initial_state="h.npy", final_state="s.npy")
    jobs, folders = plan_jobs("x.npy", "y.npy", options)
    expected = Job(Path("x.npy"), Path("y.npy"), None, Path("m.npy"), None, Path("h.npy"), Path("s.npy"))
    assert (jobs, folders) == ([expected], [])
    assert jobs[0].written == [Path("y.npy"), Path("s.npy")]
    assert jobs[0].read == [Path("x.npy"), Path("m.npy"), Path("h.npy")]
    assert plan_jobs("x.npy", "empty", RunOptions())[0][0].output == Path("empty/x.npy")


def test_a_folder() -> None:
    """Its files in the order of their names, without hidden and other ones; what belongs to them has their names."""
    jobs, folders = plan_jobs("in", "out", RunOptions(lengths="l", mc_samples=2))
    assert folders == [Path("out")]
    assert [job.input for job in jobs] == [Path("in/b.npy"), Path("in/x.npy")]
    assert [job.lengths for job in jobs] == [Path("l/b.npy"), Path("l/x.npy")]
    assert jobs[1].written == [Path("out/x.npy"), Path("out/x.std.npy")]
    assert plan_jobs(["x.npy", "record.npy"], "out", RunOptions(final_state="s"))[1] == [Path("out"), Path("s")]


def test_outputs_that_are_there(one_line: OneLine) -> None:
    for name in ("y.npy", "z.std.npy"):
        Path(name).write_text("precious")
    os.symlink("nowhere", "link.npy")
    for output, mc_samples, there in (("y.npy", None, "y.npy"), ("z.npy", 2, "z.std.npy"), ("link.npy", 2, "link.npy")):
        with pytest.raises(OutputExistsError) as info:
            plan_jobs("x.npy", output, RunOptions(mc_samples=mc_samples))
        assert one_line(info) == f"{there} exists; use force=True to replace it"
        plan_jobs("x.npy", output, RunOptions(mc_samples=mc_samples, force=True))
    plan_jobs("x.npy", "z.npy", RunOptions())


FORCE = {"force": True}


@pytest.mark.parametrize(
    ("inputs", "output", "options", "kind", "message"),
    [
        ("x.npy", "x.npy", FORCE, ConfigError, "output x.npy is also read by this run; name another file"),
        ("x.npy", "./in/../x.npy", FORCE, ConfigError, "is also read by this run"),
        ("x.npy", "hard.npy", FORCE, ConfigError, "is also read by this run"),
        ("x.npy", "y.npy", {"mask": "y.npy"}, ConfigError, "is also read by this run"),
        ("x.npy", "y.npy", {"config": "y.npy"}, ConfigError, "is also read by this run"),
        ("x.npy", "m.npy", {}, ConfigError, "is also read by this run"),
        ("in", "in", FORCE, ConfigError, "is also read by this run"),
        (
            "x.npy",
            "y.csv",
            {},
            ConfigError,
            "output y.csv does not end in .npy, the format that is written; name it y.csv.npy",
        ),
        ("x.npy", "no/y.npy", {}, OSError, "no such folder to write to"),
        (
            "x.npy",
            "s.npy",
            {"final_state": "s.npy"},
            ConfigError,
            "s.npy is both output and final state; name two files",
        ),
        (
            "x.npy",
            "y.npy",
            {"mc_samples": 2, "final_state": "y.std.npy"},
            ConfigError,
            "mc_samples and final_state exclude each other",
        ),
        ("empty", "out", {}, FileFormatError, "empty holds no .npy files; expected some, or the name of a file"),
        (
            ["x.npy", "in/x.npy"],
            "out",
            {},
            ConfigError,
            f"x.npy and {Path('in/x.npy')} would both be written to {Path('out/x.npy')}; rename one",
        ),
        ("in", "out", {"final_state": "out"}, ConfigError, "is both output and final state"),
        (
            "in",
            "record.npy",
            {},
            FileFormatError,
            "record.npy is a file; expected a folder, because there are several inputs",
        ),
    ],
)
def test_places(
    inputs: Any, output: str, options: dict[str, Any], kind: type[Exception], message: str, one_line: OneLine
) -> None:
    os.link("x.npy", "hard.npy")
    with pytest.raises(kind) as info:
        plan_jobs(inputs, output, RunOptions(**options), model="m.npy")
    assert message in one_line(info)
    assert sorted(os.listdir()) == ["empty", "hard.npy", "in", "record.npy", "x.npy"]


def test_two_outputs_under_one_name() -> None:
    """The deviations of one file, and the outputs of another."""
    with pytest.raises(ConfigError, match=r"two outputs of this run would both be written to out.a\.std\.npy"):
        plan_jobs(["a.npy", "a.std.npy"], "out", RunOptions(mc_samples=2))
