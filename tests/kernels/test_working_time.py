"""The clock of work, for which compiling takes no time."""

from __future__ import annotations

import time

import pytest

from numba_lstm.kernels import working_time


def test_compiling_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working_time, "_compiling", 0.0)
    monkeypatch.setattr(time, "monotonic", iter([100.0, 107.5]).__next__)
    begin = working_time.clock()
    working_time.not_counted(7.0)
    assert working_time.clock() - begin == 0.5
