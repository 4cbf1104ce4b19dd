"""Outputs under races, kills, full disks and strange streams: absent or whole, and never somebody else's."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numba_lstm_cli.main import cli
from support.running import write_model_and_inputs

from numba_lstm import load, run_npy, save
from numba_lstm.errors import ConfigError, OutputExistsError
from numba_lstm.formats import atomic
from numba_lstm.formats.atomic import AtomicFile, publish
from numba_lstm.formats.npy import NpyWriter, write_npy

NUMBA_LSTM = [sys.executable, "-m", "numba_lstm_cli.main"]
POSIX = pytest.mark.skipif(os.name != "posix", reason="modes, links and signals of POSIX")
SUFFIXES = ("npz", "safetensors", "h5")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and an input, in which the test runs."""
    monkeypatch.chdir(tmp_path)
    write_model_and_inputs()
    return tmp_path


def called(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(cli, list(map(str, words)))
    return result.exit_code, result.stderr


def parts() -> list[str]:
    return [name for name in os.listdir() if name.startswith(".numba_lstm")]


# -- without --force nothing is replaced --


class Meanwhile:
    """Has a file come when an `AtomicFile` is finished, and its place is still free."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, make: Callable[[], object]) -> None:
        finish = AtomicFile.finish

        def finished(file: AtomicFile) -> None:
            finish(file)
            make()

        monkeypatch.setattr(AtomicFile, "finish", finished)


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize(
    "words",
    [
        ["run", "m.npz", "x.npy", "-o", "new.npy"],
        ["run", "m.npz", "x.npy", "-o", "y.npy", "--final-state", "new.npy"],
        ["run", "m.npz", "x.npy", "-o", "new.npy", "--mc-samples", "2"],
        *(["init", "--units", "4", "--input-dim", "3", f"new.{suffix}"] for suffix in SUFFIXES),
        *(["convert", "m.npz", f"new.{suffix}"] for suffix in SUFFIXES),
    ],
    ids=" ".join,
)
def test_what_came_meanwhile_stays(
    words: list[str], links: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = next(word for word in words if word.startswith("new."))
    Meanwhile(monkeypatch, lambda: Path(name).write_text("precious"))
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    assert called(*words) == (1, f"Error: {name} exists; use --force to replace it\n")
    assert Path(name).read_text() == "precious"
    assert sorted(os.listdir()) == sorted({"m.npz", "x.npy", name})


def no_links(*_: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize("links", [True, False])
def test_the_other_half_of_a_set_goes_again(links: bool, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard deviation has its place before the mean is refused."""
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    Meanwhile(monkeypatch, lambda: Path("y.npy").write_text("precious"))
    code, line = called("run", "m.npz", "x.npy", "-o", "y.npy", "--mc-samples", 2)
    assert (code, line) == (1, "Error: y.npy exists; use --force to replace it\n")
    assert sorted(os.listdir()) == ["m.npz", "x.npy", "y.npy"]
    assert Path("y.npy").read_text() == "precious"


def test_a_set_that_was_half_replaced_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def fails(source: str, target: str) -> None:
        if target.endswith("y.npy"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        replace(source, target)

    monkeypatch.setattr(os, "replace", fails)
    code, line = called("run", "m.npz", "x.npy", "-o", "y.npy", "--mc-samples", 2, "--force")
    assert (code, line) == (1, "Error: y.npy: Input/output error; replaced before that: y.std.npy\n")
    assert parts() == []


@pytest.mark.parametrize("links", [True, False])
def test_one_of_many_writers_wins(links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    start, ends = threading.Barrier(8), []

    def write(number: int) -> None:
        for turn in range(20):
            start.wait()
            try:
                with AtomicFile(tmp_path / f"{turn}", replace=False) as output:
                    output.file.write(bytes([number]) * 1000)
                ends.append((turn, number))
            except OutputExistsError:
                pass

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(turn for turn, _ in ends) == list(range(20))
    assert all((tmp_path / f"{turn}").read_bytes() == bytes([number]) * 1000 for turn, number in ends)
    assert len(list(tmp_path.iterdir())) == 20


@POSIX
@pytest.mark.parametrize("target", ["nowhere", "there"])
def test_a_link_that_came_meanwhile_is_not_followed(target: str, folder: Path) -> None:
    Path("there").write_text("precious")
    output = AtomicFile("y", replace=False)
    output.file.write(b"new")
    os.symlink(target, "y")
    with pytest.raises(OutputExistsError):
        output.commit()
    assert Path("there").read_text() == "precious" and not Path("nowhere").exists()
    assert parts() == []


def test_save_replaces_unless_it_is_told_not_to(folder: Path) -> None:
    model = load("m.npz")
    for suffix in SUFFIXES:
        save(model, f"a.{suffix}")
        save(model, f"a.{suffix}")
        with pytest.raises(OutputExistsError, match=rf"^a\.{suffix} exists"):
            save(model, f"a.{suffix}", replace=False)


# -- what is read is not written --


@POSIX
def test_no_output_is_a_file_that_is_read(folder: Path) -> None:
    model = load("m.npz")
    Path("c.json").write_text('{"class_name": "LSTM", "config": {"units": 4}}')
    os.link("m.npz", "hard.npz")
    os.link("m.npz", "hard.npy")
    os.symlink("m.npz", "soft.npy")
    os.link("x.npy", "x2.npy")
    np.save("mask.npy", np.ones((6, 5)))
    for words in (
        ["run", "m.npz", "x.npy", "-o", "hard.npy"],
        ["run", "m.npz", "x.npy", "-o", "soft.npy"],
        ["run", "m.npz", "x.npy", "-o", "x2.npy"],
        ["run", "m.npz", "x.npy", "-o", "y.npy", "--final-state", "x2.npy"],
        ["run", "m.npz", "x.npy", "-o", "mask.npy", "--mask", "mask.npy"],
        ["init", "--config", "c.json", "--input-dim", "3", "c.json"],
        ["convert", "m.npz", "hard.npz"],
        ["convert", "m.npz", "c.json", "--config", "c.json", "--to", "npz"],
    ):
        before = {name: Path(name).read_bytes() for name in os.listdir()}
        code, line = called(*words, "--force")
        assert code == 1 and line.count("\n") == 1, (words, line)
        assert "is also read by this run; name another file" in line or "is the model itself" in line
        assert {name: Path(name).read_bytes() for name in os.listdir()} == before
    with pytest.raises(ConfigError, match=r"^output config\.npy is also read by this run; name another file$"):
        run_npy("m.npz", "x.npy", "config.npy", config="config.npy")
    os.mkdir("in")
    for name in ("a", "a.std"):
        np.save(f"in/{name}.npy", np.ones((6, 5, 3)))
    with pytest.raises(ConfigError, match=r"^two outputs of this run would both be written to out.a\.std\.npy"):
        run_npy(model, "in", "out", mc_samples=2)
    with pytest.raises(ConfigError, match=r"is also read by this run"):
        run_npy(model, ["in/a.npy", "x.npy"], "in", mask="in", force=True)


# -- the mode of a file that is replaced --


@POSIX
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o666])
def test_a_replaced_file_keeps_its_mode(mode: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    write = atomic._Raw.write

    def writing(raw: Any, data: Any) -> int:
        seen.append(stat.S_IMODE(os.fstat(raw.fileno()).st_mode))
        return write(raw, data)

    monkeypatch.setattr(atomic._Raw, "write", writing)
    before = os.umask(0o022)
    try:
        for words in (
            ["run", "m.npz", "x.npy", "-o", "old.npy"],
            ["init", "--units", "2", "--input-dim", "3", "old.npz"],
            *(["convert", "m.npz", f"old.{suffix}"] for suffix in SUFFIXES),
        ):
            name = next(word for word in words if word.startswith("old"))
            Path(name).write_text("old")
            os.chmod(name, mode)
            assert called(*words, "--force")[0] == 0
            assert stat.S_IMODE(os.stat(name).st_mode) == mode
            assert Path(name).read_bytes() != b"old"
        assert set(seen) == {mode}  # before any data were written
        run_npy("m.npz", "x.npy", "new.npy")
        assert stat.S_IMODE(os.stat("new.npy").st_mode) == 0o644
    finally:
        os.umask(before)


@POSIX
def test_a_replaced_file_keeps_its_owner_where_that_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, path = [], tmp_path / "a"
    path.write_text("old")
    os.chmod(path, 0o664)
    own = os.stat(path)
    foreign = os.stat_result([*own[:4], own.st_uid + 1, own.st_gid + 1, *own[6:]])
    monkeypatch.setattr(os, "stat", lambda name, **_: foreign if str(name) == str(path) else own)
    monkeypatch.setattr(os, "fchown", lambda _, user, group: asked.append((user, group)) or no_links())
    file = AtomicFile(path)
    assert asked == [(own.st_uid + 1, own.st_gid + 1), (-1, own.st_gid + 1)]
    assert stat.S_IMODE(os.fstat(file.file.fileno()).st_mode) == 0o644  # our group is not the one that might write
    file.discard()


def test_a_file_that_is_given_up_goes_with_the_object(folder: Path) -> None:
    AtomicFile("y")
    NpyWriter("z.npy", (3,), np.float32)
    assert parts() == []


@POSIX
def test_signals_wait_while_a_set_is_put_in_its_places(folder: Path, ctrl_c: None) -> None:
    class Late(AtomicFile):
        def place(self) -> None:
            super().place()
            signal.raise_signal(signal.SIGINT)

    files = [Late("a"), Late("b")]
    with pytest.raises(KeyboardInterrupt):
        publish(files)
    assert Path("a").exists() and Path("b").exists()
    assert parts() == []


# -- disks and streams --


def raised(error: OSError) -> int:
    raise error


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (errno.ENOSPC, "No space left on device; free some, or write to another disk"),
        (errno.EDQUOT, "Disk quota exceeded; free some of your own, or write to another disk"),
        (errno.EIO, "Input/output error"),
    ],
)
@pytest.mark.parametrize("where", ["write", "fsync", "close"])
def test_a_full_disk_is_one_line(
    number: int, line: str, where: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    Path("old.npy").write_text("old")
    if where == "write":
        monkeypatch.setattr(
            atomic._Raw, "write", lambda raw, _: raised(raw.named(OSError(number, os.strerror(number))))
        )
    elif where == "fsync":
        monkeypatch.setattr(os, "fsync", fails)
    else:
        monkeypatch.setattr(AtomicFile, "_keep_access", fails)
    for words in (
        ["run", "m.npz", "x.npy", "-o", "old.npy", "--force"],
        ["run", "m.npz", "x.npy", "-o", "y.npy"],
        *(["convert", "m.npz", f"new.{suffix}"] for suffix in SUFFIXES),
    ):
        name = next(word for word in words if word.startswith(("old", "y", "new")))
        assert called(*words) == (1, f"Error: {name}: {line}\n")
    assert sorted(os.listdir()) == ["m.npz", "old.npy", "x.npy"]
    assert Path("old.npy").read_text() == "old"


@POSIX
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_limit_on_the_size_of_files_is_one_line(suffix: str, folder: Path) -> None:
    import resource

    done = subprocess.run(
        [*NUMBA_LSTM, "init", "--units", "100", "--input-dim", "9", f"big.{suffix}"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: big.{suffix}: File too large; raise the limit on the size of files (ulimit -f), or write to another "
        "kind of disk\n"
    )
    assert sorted(os.listdir()) == ["m.npz", "x.npy"]


RUN = [*NUMBA_LSTM, "run", "m.npz", "x.npy", "-o", "y.npy", "--force"]
INSPECT = [*NUMBA_LSTM, "inspect", "m.npz"]


@POSIX
@pytest.mark.parametrize(
    ("command", "streams", "code", "said"),
    [
        (RUN, "2>&-", 0, ""),
        (RUN, "2>/dev/full", 0, ""),
        (RUN, "<&- >&- 2>&-", 0, ""),
        ([*RUN, "--progress", "json"], "2>/dev/full", 0, ""),
        ([*RUN, "--on-nan", "nonsense"], "2>&-", 2, ""),
        ([*RUN[:-1], "--lengths", "missing.npy"], "2>&-", 1, ""),
        (INSPECT, ">&-", 1, "Error: standard output: it is closed, and the result goes there\n"),
        (INSPECT, ">/dev/full", 1, "Error: standard output: No space left on device\n"),
        ([*INSPECT, "--json"], ">/dev/full", 1, "Error: standard output: No space left on device\n"),
        ([*NUMBA_LSTM, "--help"], ">/dev/full", 1, "Error: No space left on device\n"),
        (INSPECT, ">/dev/full 2>/dev/full", 1, ""),
    ],
)
def test_streams_that_are_closed_or_full(command: list[str], streams: str, code: int, said: str, folder: Path) -> None:
    if "/dev/full" in streams and not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {streams}', "sh", *command], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr, done.stdout) == (code, said, "")
    if command is RUN:
        assert np.load("y.npy").shape == (6, 4)
    assert parts() == []


def test_write_npy_refuses_too(folder: Path) -> None:
    write_npy("a.npy", np.zeros(3))
    writer = NpyWriter("a.npy", (3,), np.float64, replace=False)
    writer.write_rows(np.ones(3))
    with pytest.raises(OutputExistsError, match=r"^a\.npy exists"):
        writer.commit()
    assert np.load("a.npy").tolist() == [0, 0, 0]
    assert parts() == []
