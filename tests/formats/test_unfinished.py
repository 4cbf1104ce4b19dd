"""Files that are being made: what dead processes left is removed, and nothing that somebody makes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.running import write_model_and_inputs

from numba_lstm import run_npy
from numba_lstm.formats import unfinished
from numba_lstm.formats.atomic import AtomicFile

POSIX = pytest.mark.skipif(os.name != "posix", reason="processes that fork")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and an input, in which the test runs."""
    monkeypatch.chdir(tmp_path)
    write_model_and_inputs()
    return tmp_path


def parts() -> list[str]:
    return [name for name in os.listdir() if name.startswith(".numba_lstm")]


def test_what_a_killed_run_left_is_removed_by_the_next_one(folder: Path) -> None:
    code = (
        "import os, subprocess, sys\nfrom numba_lstm.formats import unfinished\n"
        "open(unfinished.begin(sys.argv[1]), 'w').write('part')\n"
        "print(os.getpid(), flush=True)\n"
        "input() if len(sys.argv) > 2 else None\nos._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, "."], check=False, capture_output=True)
    (dead,) = parts()
    host = dead.split("-")[1]
    Path(dead.replace(host, "00000000")).touch()  # of another host
    Path(".numba_lstm-0123456789ab.part").touch()  # of a version before this one: nobody knows whose
    kept = {dead.replace(host, "00000000"), ".numba_lstm-0123456789ab.part"}
    with subprocess.Popen([sys.executable, "-c", code, ".", "wait"], stdin=-1, stdout=-1) as alive:
        assert alive.stdout is not None
        alive.stdout.readline()
        (living,) = set(parts()) - kept - {dead}
        run_npy("m.npz", "x.npy", "y.npy")
        assert set(parts()) == {*kept, living}
        # Its number is another process's now, which began at another time.
        if sys.platform == "linux":
            fields = living.split("-")
            fields[3] = "1"
            os.rename(living, "-".join(fields))
            run_npy("m.npz", "x.npy", "y2.npy")
            assert set(parts()) == kept
        alive.kill()


def test_a_start_that_is_unknown_is_no_reason_to_remove(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "_state", lambda process: ("", 0))
    assert not unfinished._is_dead(os.getppid(), 0)
    assert not unfinished._is_dead(os.getppid(), 12345)
    monkeypatch.setattr(unfinished, "_exists", lambda process: False)
    assert unfinished._is_dead(os.getppid(), 0)


@POSIX
def test_a_forked_child_leaves_its_parents_files_alone(folder: Path) -> None:
    output = AtomicFile("y")
    output.file.write(b"first")
    process = os.fork()
    if not process:
        output.discard()
        unfinished.remove_all()
        os._exit(0)
    assert os.waitpid(process, 0)[1] == 0
    output.file.write(b" second")
    output.commit()
    assert Path("y").read_bytes() == b"first second"


def test_what_this_process_makes_is_removed_when_it_must_end(tmp_path: Path) -> None:
    """Files first, then the folders they are in; what is whole, and what others put beside, stays."""
    out = tmp_path / "out"
    unfinished.begin_folder(out)
    kept, part = unfinished.begin(tmp_path), unfinished.begin(out)
    for path in (kept, part):
        Path(path).touch()
        assert unfinished.is_own(path)
    unfinished.drop(kept)
    assert not unfinished.is_own(kept)
    unfinished.remove_all()
    assert [str(path) for path in tmp_path.iterdir()] == [kept]
    unfinished.begin_folder(out)
    (out / "of somebody else").touch()
    unfinished.remove(out)
    assert out.is_dir() and unfinished.is_own(str(out))  # it is not empty, and may be so later
    unfinished.drop(out)
