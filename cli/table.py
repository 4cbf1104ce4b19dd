"""Tables of text in columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from numba_lstm.errors import visible


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of the rows, the first column to the left and the others to the right."""
    rows = [[visible(text) for text in row] for row in rows]  # as they will be shown, for their widths
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *others = (text.ljust(widths[0]) if i == 0 else text.rjust(widths[i]) for i, text in enumerate(row))
        yield "  ".join([first, *others]).rstrip()


def three_digits(number: float) -> str:
    """0.123, 1.23, 12.3, 123, 1,234."""
    decimals = 3 if number < 1 else 2 if number < 10 else 1 if number < 100 else 0
    return f"{number:,.{decimals}f}"
