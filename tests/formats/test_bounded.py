"""A file whose parsers have an allowance of bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from numba_lstm.errors import NumbaLSTMError
from numba_lstm.formats.bounded import BoundedFile


def test_a_bounded_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 64
    (tmp_path / "a").write_bytes(content)
    bound = BoundedFile.open(tmp_path / "a")
    with bound.parsing("it", 100):
        assert bound.read(60) == content[:60] and bound.tell() == 60 and bound.read(40) == content[60:100]
        assert bound.read(0) == b""
        with pytest.raises(NumbaLSTMError, match="has metadata beyond all measure"):
            bound.read(1)
    for position in (0, 1, 8191, 8192, 8193, 12_345, len(content) - 1):
        with bound.parsing("it", len(content)):
            bound.seek(position)
            assert bound.read(9000) == content[position : position + 9000]
            assert bound.tell() == min(position + 9000, len(content))
    for position in (len(content), len(content) + 1, -1):
        with bound.parsing("it", 0):
            bound.seek(position)
            assert bound.read(10) == b""
    with pytest.raises(NumbaLSTMError, match="has metadata beyond all measure"), bound.parsing("it", 100):
        bound.seek(5)
        bound.read(-1)
    inner = BoundedFile(bound._raw, "part", 10, start=7)
    with inner.parsing("it", 100):
        assert inner.read(20) == content[7:17]
    bound.close()
