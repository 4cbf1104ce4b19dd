"""Files of compiled kernels: swapped, damaged, foreign, read-only or gone, they are never used and never in the way."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numba_lstm.kernel_cache import cache_folder, frame, kernel_files
from numba_lstm.kernel_cache.kernel_files import KernelFiles

NAME, KEY = "sequence-0123.kernel", b"sequence (float32)"
posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="this platform has no owners and modes")


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A base folder, named in the variable; nothing was logged yet."""
    monkeypatch.setenv(cache_folder.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(kernel_files, "_logged", set())
    return tmp_path / "cache"


@pytest.fixture
def files(base: Path) -> KernelFiles:
    """With one kernel."""
    files = KernelFiles()
    files.write(NAME, KEY, b"code")
    return files


def read(files: KernelFiles, name: str = NAME, key: bytes = KEY) -> bytes | None:
    folder = files._folder()
    payload = None if folder is None else files._read(folder, name, key)
    return None if payload is None else bytes(payload)


def folder_of(files: KernelFiles) -> Path:
    assert files.path is not None
    return files.path


def descriptor_of(files: KernelFiles) -> Any:
    assert not isinstance(files._opened, str)
    return files._opened.descriptor


def test_what_was_written_is_read_by_others(files: KernelFiles, caplog: pytest.LogCaptureFixture) -> None:
    assert read(files) == read(KernelFiles()) == b"code"
    assert read(files, "another.kernel") is None
    assert [path.name for path in folder_of(files).iterdir()] == [NAME]
    files.write(NAME, KEY, b"newer")
    assert read(files) == b"newer"
    assert caplog.messages == []


@posix
def test_files_are_never_writable_by_others(base: Path) -> None:
    before = os.umask(0)
    try:
        files = KernelFiles()
        files.write(NAME, KEY, b"code")
    finally:
        os.umask(before)
    assert (folder_of(files) / NAME).stat().st_mode & 0o7777 == 0o644
    assert read(files) == b"code"


def test_any_damage_is_logged_once_and_mended(files: KernelFiles, caplog: pytest.LogCaptureFixture) -> None:
    path = folder_of(files) / NAME
    good = path.read_bytes()
    flipped = bytearray(good)
    flipped[-1] ^= 1
    files.write("other.kernel", b"another key", b"code")
    other = (path.parent / "other.kernel").read_bytes()
    for damaged in bytes(flipped), good[:-1], good + b"\0", b"", bytes(len(good)), other, b"\x80\x05garbage":
        path.write_bytes(damaged)
        assert read(files) is None
    (message,) = caplog.messages
    reason = "its checksum does not match"
    assert message == f"a compiled kernel in {path.parent} cannot be used ({reason}) and is compiled again"
    files.write(NAME, KEY, b"code")
    assert path.read_bytes() == good and read(files) == b"code"


@posix
def test_a_folder_that_is_swapped_after_the_check_is_not_looked_at(base: Path, files: KernelFiles) -> None:
    """Also where the swap is one that the check would have let through."""
    folder = folder_of(files)
    for swapped in folder, base:
        swapped.rename(swapped.with_name("aside"))
        folder.mkdir(parents=True, mode=0o700)
        (folder / NAME).write_bytes(frame.wrap(b"evil", KEY))
        assert read(files) == b"code"
        files.write("new.kernel", KEY, b"new")
        assert not (folder / "new.kernel").exists() and read(files, "new.kernel") == b"new"
        shutil.rmtree(swapped)
        swapped.with_name("aside").rename(swapped)


@posix
def test_a_folder_that_others_may_write_to_meanwhile_is_given_up(
    files: KernelFiles, caplog: pytest.LogCaptureFixture
) -> None:
    folder_of(files).chmod(0o777)
    path = folder_of(files)
    assert read(files) is None
    files.write("new.kernel", KEY, b"new")
    assert os.listdir(path) == [NAME]
    reason = f"others can write to {path} (mode 0777); chmod go-w makes it usable"
    remedy = "NUMBA_LSTM_CACHE_DIR can name a folder of yours"
    assert caplog.messages == [f"compiled kernels are not kept, and each process compiles anew: {reason}; {remedy}"]


@posix
def test_a_file_that_others_can_change_is_not_used(files: KernelFiles, caplog: pytest.LogCaptureFixture) -> None:
    path = folder_of(files) / NAME
    path.chmod(0o666)
    assert read(files) is None
    assert f"others can write to {path} (mode 0666)" in caplog.text
    files.write(NAME, KEY, b"code")
    assert read(files) == b"code" and path.stat().st_mode & 0o022 == 0


@posix
def test_a_file_of_somebody_else_is_not_used(files: KernelFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    path, really = folder_of(files) / NAME, os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        status = really(descriptor)
        return os.stat_result((*status[:4], 4321, *status[5:])) if status.st_ino == inode else status

    inode = path.stat().st_ino
    monkeypatch.setattr(os, "fstat", fstat)
    assert read(files) is None


@posix
def test_what_is_no_file_is_not_read(files: KernelFiles, tmp_path: Path) -> None:
    path = folder_of(files) / NAME
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert read(files) is None
    files.write(NAME, KEY, b"code")  # replaces the link, not what it points at
    assert read(files) == b"code" and not path.is_symlink()
    path.unlink()
    os.mkfifo(path)
    assert read(files) is None  # and nobody waits for the other end
    path.unlink()
    path.mkdir()
    assert read(files) is None
    files.write(NAME, KEY, b"code")  # cannot, and logs it
    assert "not kept" in kernel_files._logged
    assert os.listdir(path.parent) == [NAME]


def test_a_file_of_absurd_size_is_not_read(files: KernelFiles) -> None:
    with open(folder_of(files) / NAME, "ab") as file:
        file.truncate(1 << 40)
    assert read(files) is None


@posix
def test_a_read_only_folder_is_read_and_logged_when_something_is_new(
    files: KernelFiles, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = os.open

    def read_only(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return really(path, flags, *arguments, **options)

    folder = folder_of(files)
    if os.getuid():
        folder.chmod(0o555)
        folder.parent.chmod(0o555)
        reason = os.strerror(errno.EACCES)
    else:  # modes do not hold root back
        monkeypatch.setattr(os, "open", read_only)
        reason = os.strerror(errno.EROFS)
    again = KernelFiles()
    assert again.path == folder and read(again) == b"code"
    assert caplog.messages == []
    again.write("new.kernel", KEY, b"new")
    again.write("newer.kernel", KEY, b"newer")
    remedy = "NUMBA_LSTM_CACHE_DIR can name another"
    message = f"a compiled kernel is not kept in {folder} ({reason}), so each process compiles anew; {remedy}"
    assert caplog.messages == [message]
    assert read(again) == b"code" and os.listdir(folder) == [NAME]
    folder.parent.chmod(0o755)


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_full_disk_leaves_what_was_there(
    files: KernelFiles, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, fails, full)
        files.write(NAME, KEY, b"newer")
    assert read(files) == b"code" and os.listdir(folder_of(files)) == [NAME]
    (message,) = caplog.messages
    assert os.strerror(errno.ENOSPC) in message


def test_an_interrupt_leaves_nothing_beside(files: KernelFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    for name in "fsync", "replace":
        with monkeypatch.context() as patch:
            patch.setattr(os, name, interrupted)
            with pytest.raises(KeyboardInterrupt):
                files.write(NAME, KEY, b"newer")
        assert read(files) == b"code" and os.listdir(folder_of(files)) == [NAME]


def test_a_folder_that_is_removed_meanwhile_is_made_again(
    base: Path, files: KernelFiles, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(base)
    assert read(files) is None
    files.write(NAME, KEY, b"code")
    assert read(files) == read(KernelFiles()) == b"code"
    assert caplog.messages == []


@posix
def test_descriptors_that_somebody_closed_or_took(files: KernelFiles, tmp_path: Path) -> None:
    """As in a process that makes itself a daemon."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (elsewhere / NAME).write_bytes(frame.wrap(b"evil", KEY))
    number = descriptor_of(files)
    os.close(number)
    assert read(files) == b"code"
    number = descriptor_of(files)
    taken = os.open(elsewhere, os.O_RDONLY)
    os.dup2(taken, number)
    try:
        assert read(files) == b"code"
        files.write("new.kernel", KEY, b"new")
        assert os.listdir(elsewhere) == [NAME]
    finally:
        os.close(taken)
        os.close(number)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of other tests' threads, which the children need not
def test_forked_children_read_and_write(files: KernelFiles) -> None:
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            try:
                good = read(files) == b"code"
                files.write(f"{number}.kernel", KEY, b"of a child")
                files.write("all.kernel", KEY, b"the same")
                os._exit(0 if good else 1)
            finally:
                os._exit(2)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4
    assert {read(files, f"{number}.kernel") for number in range(4)} == {b"of a child"}
    assert sorted(os.listdir(folder_of(files))) == ["0.kernel", "1.kernel", "2.kernel", "3.kernel", "all.kernel", NAME]


def test_threads_that_write_one_file_and_read_it(files: KernelFiles, rng: np.random.Generator) -> None:
    payloads = {rng.bytes(50_000) for _ in range(4)} | {b"code"}
    seen: set[bytes | None] = set()

    def work(payload: bytes) -> None:
        for _ in range(10):
            files.write(NAME, KEY, payload)
            seen.add(read(files))

    threads = [threading.Thread(target=work, args=(payload,)) for payload in payloads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen <= payloads
    assert os.listdir(folder_of(files)) == [NAME]


def test_without_descriptors_paths_do(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""
    monkeypatch.setattr(kernel_files, "_BY_DESCRIPTOR", False)
    files = KernelFiles()
    files.write(NAME, KEY, b"code")
    assert read(files) == b"code" and descriptor_of(files) is None
    shutil.rmtree(base)
    assert read(files) is None
    files.write(NAME, KEY, b"code")
    assert read(files) == b"code"
    assert os.listdir(folder_of(files)) == [NAME]


def test_without_a_folder_it_is_logged_once(
    base: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    base.write_text("a file in the way")
    files = KernelFiles()
    assert caplog.messages == []  # nothing was asked for yet
    for name in NAME, "another.kernel":
        assert read(files, name) is None
        files.write(name, KEY, b"code")
    reason = f"{base}: {os.strerror(errno.ENOTDIR)}"
    remedy = "NUMBA_LSTM_CACHE_DIR can name a folder of yours"
    assert caplog.messages == [f"compiled kernels are not kept, and each process compiles anew: {reason}; {remedy}"]
