"""Regular files, opened and read; others are refused before anything is waited for."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import pytest

from numba_lstm.errors import FileFormatError
from numba_lstm.formats.regular import expansion_limit, open_regular, read_into


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    file, size = open_regular(tmp_path / "a")
    with file:
        assert size == 10
        buffer = bytearray(4)
        assert read_into(file, 6, memoryview(buffer)) and buffer == b"6789"
        assert not read_into(file, 7, memoryview(buffer))  # it ends before
        assert read_into(file, 99, memoryview(b""))


def test_reads_that_give_less_are_gone_on_with() -> None:
    class Slow(BytesIO):
        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            return super().readinto(buffer[:3])

    buffer = bytearray(10)
    assert read_into(Slow(b"x0123456789"), 1, memoryview(buffer)) and buffer == b"0123456789"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(FileFormatError, match="is a pipe or a device; expected a file"):
            open_regular(path)
    with pytest.raises(FileFormatError, match="is a folder; expected a file"):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "absent")


@pytest.mark.parametrize(("stored", "limit"), [(0, 16 << 20), (1 << 20, 24 << 20), (1 << 30, (1 << 30) + (144 << 20))])
def test_weights_may_grow_by_this(stored: int, limit: int) -> None:
    """Eightfold and 16 MB more; large files by 144 MB at most."""
    assert expansion_limit(stored) == limit
