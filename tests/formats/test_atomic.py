"""formats/atomic.py: what is on the disk when, seen in the calls to the system."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from numba_lstm.errors import FileFormatError
from numba_lstm.formats.atomic import AtomicFile, publish

POSIX = pytest.mark.skipif(os.name != "posix", reason="folders are opened on POSIX alone")


@POSIX
@pytest.mark.parametrize("replace", [False, True])
def test_names_are_on_the_disk_after_the_files_and_before_commit_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: bool
) -> None:
    """A power cut after `commit` finds the file: its folder is synced when all names are there, and once."""
    targets = [tmp_path / "a" / "one", tmp_path / "a" / "two", tmp_path / "b" / "three"]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    synced, sync = [], os.fsync

    def fsync(handle: int) -> None:
        what, there = os.fstat(handle), [path.exists() for path in targets]
        folder = next((name for name in "ab" if os.path.samestat(what, os.stat(tmp_path / name))), "")
        assert folder or (stat.S_ISREG(what.st_mode) and what.st_size == 5)
        synced.append((folder, *there))
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    files = [AtomicFile(path, replace=replace) for path in targets]
    for file in files:
        file.file.write(b"whole")
    publish(files)
    assert synced[:3] == [("", False, False, False)] * 3
    assert sorted(synced[3:]) == [("a", True, True, True), ("b", True, True, True)]
    assert [path.read_bytes() for path in targets] == [b"whole"] * 3
    assert sorted(os.listdir(tmp_path / "a")) == ["one", "two"]


@POSIX
def test_a_folder_that_cannot_be_synced_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync, handles = os.fsync, []

    def fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            handles.append(handle)
            raise OSError(22, "Invalid argument")
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with AtomicFile(tmp_path / "y") as file:
        file.file.write(b"1")
    assert (tmp_path / "y").read_bytes() == b"1" and len(handles) == 1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handles[0])  # it was closed


def test_a_set_that_fails_has_no_name_and_no_part(tmp_path: Path) -> None:
    files = [AtomicFile(tmp_path / name, replace=False) for name in ("one", "two", "three")]
    (tmp_path / "three").write_text("precious")
    with pytest.raises(FileExistsError, match="three exists; use replace=True to replace it"):
        publish(files)
    assert os.listdir(tmp_path) == ["three"] and (tmp_path / "three").read_text() == "precious"
    for file in files:
        file.discard()  # once more does no harm


@POSIX
def test_what_is_no_place_for_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, what in (
        (tmp_path, "a folder"),
        (tmp_path / "pipe", "a device or a pipe"),
        (Path(os.devnull), "a device"),
    ):
        with pytest.raises(FileFormatError, match=f"is {what}"):
            AtomicFile(path)
    assert os.listdir(tmp_path) == ["pipe"]
