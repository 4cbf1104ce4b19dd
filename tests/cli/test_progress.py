"""cli/progress.py, with a clock in the test's hands."""

from __future__ import annotations

import json

import pytest
from numba_lstm_cli import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_lines_come_once_a_second_and_at_the_end(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    lines = progress.JsonLines()
    for seconds, done in ((0.0, 0), (0.5, 10), (1.0, 20), (1.9, 30), (2.5, 40), (2.6, 50)):
        clock[0] = 100 + seconds
        lines(done, 50)
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["rows_done"], line["seconds"]) for line in said] == [(0, 0), (20, 1), (40, 2.5), (50, 2.6)]


def test_a_bar_shows_what_is_done_and_left(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    bar = progress.Bar()
    bar(10, 100)
    assert capsys.readouterr().err == ""
    clock[0] = 104
    bar(40, 100)
    assert capsys.readouterr().err == f"\r[{'#' * 12}{'.' * 18}] 40 of 100 rows, 10 rows/s, 6 s left"
    assert [progress.duration(seconds) for seconds in (59.4, 60, 3599, 3600, 7500)] == [
        "59 s",
        "1 min 0 s",
        "59 min 59 s",
        "1 h 0 min",
        "2 h 5 min",
    ]
