"""cli/options.py and cli/table.py: the meaning of words, and the look of numbers."""

from __future__ import annotations

import json
from typing import Any

import click
import pytest
from click.testing import CliRunner
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
