"""Options, tables, progress and notes of the command: what words mean, and what numbers look like."""

from __future__ import annotations

import io
import json
from typing import Any

import click
import pytest
from click.testing import CliRunner
from numba_lstm_cli import progress
from numba_lstm_cli.options import chunk_options, count, rows_option
from numba_lstm_cli.run import _rate
from numba_lstm_cli.table import table, three_digits


def parsed(*words: str) -> tuple[int, str]:
    """The exit code and the output of a command that prints its options."""

    @click.command()
    @rows_option
    @chunk_options
    def command(**options: Any) -> None:
        click.echo(json.dumps(options))

    result = CliRunner().invoke(command, words)
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("value", "rows"),
    [("0:100", [0, 100]), ("100:", [100, None]), (":7", [0, 7]), (":", [0, None]), ("3:4", [3, 4]), ("0:1", [0, 1])],
)
def test_rows(value: str, rows: list[int | None]) -> None:
    assert json.loads(parsed("--rows", value)[1])["rows"] == rows


@pytest.mark.parametrize("value", ["4:4", "4:3", "0:0", ":0", "5", "a:b", "-1:3", "1:2:3", "9" * 19 + ":", " 1:2"])
def test_rows_that_are_none(value: str) -> None:
    code, output = parsed("--rows", value)
    assert code == 2 and "expected the first and one past the last, as 0:100" in output.replace("\n", " ")


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("7", 7),
        ("7b", 7),
        ("1", 1),
        ("2k", 2000),
        ("2KB", 2000),
        ("2Ki", 2048),
        ("2KiB", 2048),
        ("1.5MB", 1_500_000),
        ("3 GB", 3 * 10**9),
        ("1GiB", 2**30),
        ("1T", 10**12),
        (" 2gb ", 2 * 10**9),
        ("1.5GiB", 1_610_612_736),
        ("3000 B", 3000),
    ],
)
def test_sizes(value: str, size: int) -> None:
    assert json.loads(parsed("--max-memory", value)[1])["max_memory"] == size


@pytest.mark.parametrize(
    "value", ["0", "0.5", "-1", "2PB", "GB", "2i", "1e9", "1_000", "", "1.GB", "2 G B", "1ib", "nan", "٣GB"]
)
def test_sizes_that_are_none(value: str) -> None:
    code, output = parsed("--max-memory", value)
    assert code == 2 and "is no amount of memory" in output


def test_defaults_and_limits() -> None:
    assert json.loads(parsed()[1]) == {"rows": None, "batch_rows": None, "max_memory": None}
    assert parsed("--batch-rows", "1")[0] == 0 and parsed("--batch-rows", "0")[0] == 2


def test_numbers_and_nouns() -> None:
    assert [count(n, "row") for n in (0, 1, 2, 1000)] == ["0 rows", "1 row", "2 rows", "1,000 rows"]
    assert [three_digits(x) for x in (0.9994, 1, 9.99, 10, 99.94, 100, 1e6)] == [
        *("0.999", "1.00", "9.99", "10.0", "99.9", "100", "1,000,000"),
    ]
    assert [_rate(x) for x in (0.123, 1.26, 9.94, 10, 1234.4)] == ["0.12", "1.3", "9.9", "10", "1,234"]


def test_tables() -> None:
    assert list(table([["name", "n"], ["a", "1,000"], ["longer", ""]])) == ["name        n", "a       1,000", "longer"]


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
    """The value of `time.monotonic`, in the only entry."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
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
