"""cli/options.py: what the values of options mean."""

from __future__ import annotations

from typing import Any

import pytest
from numba_lstm_cli import options
from numba_lstm_cli.table import three_digits


@pytest.mark.parametrize(
    ("text", "size"),
    [("500", 500), ("2GB", 2 * 10**9), ("1.5 GiB", 3 * 2**29), ("3k", 3000), ("3KiB", 3072), ("7MB", 7 * 10**6)],
)
def test_amounts_of_memory(text: str, size: int) -> None:
    context: Any = None
    assert options._to_bytes(context, context, text) == size


def test_three_digits() -> None:
    shown = [three_digits(number) for number in (0.5, 1, 9.5, 10, 99, 100, 1234)]
    assert shown == ["0.500", "1.00", "9.50", "10.0", "99.0", "100", "1,234"]
