"""The folder of compiled kernels: trusted or not and why, and what is removed from it."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import pytest

from numba_lstm.kernel_cache import cache_folder

OLD, OLDER = "0" * 20, "1" * 20
posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="this platform has no owners and modes")


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty base folder, named in the variable."""
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv(cache_folder.VARIABLE, str(folder))
    return folder


def version(base: Path, name: str, days: float = 0, *files: str) -> Path:
    """A folder of some version, last used `days` days ago."""
    folder = base / name
    folder.mkdir(mode=0o700)
    for file in files or ("sequence-abc.kernel",):
        (folder / file).write_bytes(b"12345")
    before = time.time() - days * 86_400
    os.utime(folder, (before, before))
    return folder


def test_a_new_version_removes_what_was_not_used_for_a_month(base: Path) -> None:
    month, week = version(base, OLD, 31), version(base, OLDER, 7)
    folder, problem = cache_folder.prepared()
    assert problem is None and folder is not None
    assert folder.parent == base and folder.stat().st_mode & 0o777 == 0o700
    assert not month.exists() and week.exists()


def test_a_version_that_is_there_removes_nothing_and_is_marked_as_used(base: Path) -> None:
    current, _ = cache_folder.prepared()
    assert current is not None
    before = time.time() - 40 * 86_400
    os.utime(current, (before, before))
    old = version(base, OLD, 31)
    assert cache_folder.prepared() == (current, None)
    assert old.exists()
    assert time.time() - current.stat().st_mtime < 100


def test_what_was_not_made_here_is_not_touched(base: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "sequence-abc.kernel").write_text("")
    (base / OLDER).symlink_to(elsewhere)
    version(base, "photographs", 400)
    (base / ("2" * 20)).write_text("a file")
    mixed = version(base, OLD, 400, "a.kernel", "a.kernel.12.34", "notes.txt")
    assert [one.path for one in cache_folder.kept(base)] == [mixed]
    (one,) = cache_folder.kept(base)
    assert (one.kernels, one.bytes) == (2, 10)
    assert not cache_folder.remove(one)
    assert [path.name for path in mixed.iterdir()] == ["notes.txt"]
    assert (base / "photographs" / "sequence-abc.kernel").exists()
    assert (elsewhere / "sequence-abc.kernel").exists()


def test_another_process_may_remove_it_first(base: Path) -> None:
    version(base, OLD)
    (one,) = cache_folder.kept(base)
    assert cache_folder.remove(one)
    assert cache_folder.remove(one)


@posix
def test_a_folder_that_others_can_write_to_is_not_trusted(base: Path) -> None:
    base.chmod(0o777)
    reason = f"others can write to {base} (mode 0777); chmod go-w makes it usable"
    assert cache_folder.prepared() == (None, reason)
    base.chmod(0o700)
    folder, _ = cache_folder.prepared()
    assert folder is not None
    folder.chmod(0o757)
    assert cache_folder.prepared()[1] == f"others can write to {folder} (mode 0757); chmod go-w makes it usable"


@posix
def test_a_folder_of_somebody_else_is_not_trusted(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(base, 4321, -1) if os.getuid() == 0 else monkeypatch.setattr(os, "geteuid", lambda: 4322)
    folder, reason = cache_folder.prepared()
    assert folder is None and reason is not None
    assert re.fullmatch(r".* belongs to user \d+, not to you \(\d+\) or root", reason)


def test_a_file_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    monkeypatch.setenv(cache_folder.VARIABLE, str(blocked / "below"))
    assert cache_folder.prepared() == (None, f"{blocked}: Not a directory")


def test_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(cache_folder.VARIABLE, raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    assert cache_folder.prepared() == (None, "Could not determine home directory")


@posix
def test_a_folder_that_cannot_be_marked_or_cleaned_is_used(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    current, _ = cache_folder.prepared()
    assert current is not None
    before = time.time() - 40 * 86_400
    os.utime(current, (before, before))

    def read_only(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(current))

    monkeypatch.setattr(os, "utime", read_only)
    monkeypatch.setattr(os, "mkdir", read_only)
    assert cache_folder.prepared() == (current, None)
    current.rmdir()
    assert cache_folder.prepared() == (None, f"{current}: Permission denied")


def test_without_numba(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_folder, "find_spec", lambda name: None)
    cache_folder.source_stamp.cache_clear()
    folder, reason = cache_folder.prepared()
    assert folder is None and reason is not None and "numba" in reason


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the variable is one of other systems")
@pytest.mark.parametrize("value", ["", "relative", "./here"])
def test_an_empty_or_relative_xdg_folder_is_ignored(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cache_folder.VARIABLE, raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert cache_folder.base_folder() == Path("/home/somebody/.cache/numba_lstm")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_folder.base_folder() == Path("/elsewhere/numba_lstm")
