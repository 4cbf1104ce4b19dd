"""cli/progress.py, with a clock in the test's hands."""

from __future__ import annotations

import io
import json

import pytest
from numba_lstm_cli import progress

from numba_lstm.kernels import working_time


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (3600 * 5 + 60 * 7 + 30, "5 h 7 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert progress.duration(seconds) == text


class Terminal(io.StringIO):
    """Standard error as a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock's value, in the only entry."""
    now = [100.0]
    monkeypatch.setattr(working_time, "clock", lambda: now[0])
    return now


@pytest.mark.parametrize(("done", "share"), [(0, 0), (1, 1 / 6), (3, 0.5), (6, 1)])
def test_the_length_of_a_bar(done: int, share: float, monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(progress.terminal, "draw", drawn.append)
    bar = progress.Bar()
    clock[0] += 3
    bar(done, 6)
    assert drawn[0].count("#") == round(30 * share) and drawn[0].index("]") == 32


def test_json_lines(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    lines: list[str] = []
    monkeypatch.setattr(progress.terminal, "note", lines.append)
    told = progress.progress_for("json")
    assert isinstance(told, progress.JsonLines)
    told(1, 9)
    told(2, 9)  # at most one a second
    clock[0] += 0.5
    told(9, 9)  # but always the last
    clock[0] += 1.5
    told(3, 9)
    told.clear()
    assert [json.loads(line) for line in lines] == [
        {"event": "progress", "rows_done": done, "rows": 9, "seconds": seconds}
        for done, seconds in ((1, 0.0), (9, 0.5), (3, 2.0))
    ]


def test_a_bar_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", Terminal())
    assert isinstance(progress.progress_for("auto"), progress.Bar) and progress.progress_for("none") is None
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert progress.progress_for("auto") is None
    assert isinstance(progress.progress_for("json"), progress.JsonLines)


def test_a_bar_shows_what_is_done_and_left(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    bar = progress.Bar()
    bar(10, 100)
    assert capsys.readouterr().err == ""
    clock[0] = 104
    bar(40, 100)
    assert capsys.readouterr().err == f"\r[{'#' * 12}{'.' * 18}] 40 of 100 rows, 10 rows/s, 6 s left"
