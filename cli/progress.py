"""The progress of a run, on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from . import terminal

# A run that is over before that shows no bar.
_PATIENCE = 2.0
_INTERVAL = 0.2
_INTERVAL_JSON = 1.0
_WIDTH = 30

Progress = Callable[[int, int], None]


class Bar:
    """A bar on a terminal, for runs that take longer than two seconds."""

    def __init__(self) -> None:
        from numba_lstm.kernels.working_time import clock  # late: --help takes no NumPy

        self._clock = clock
        self._begin = clock()
        self._next = self._begin + _PATIENCE
        self._drawn = 0

    def __call__(self, done: int, rows: int) -> None:
        """Draw the bar, if it is due."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + _INTERVAL
        seconds = now - self._begin
        filled = _WIDTH * done // max(1, rows)
        left = seconds * (rows - done) / max(1, done)
        line = (
            f"[{'#' * filled}{'.' * (_WIDTH - filled)}] {done:,} of {rows:,} rows, "
            f"{done / seconds:,.0f} rows/s, {duration(left)} left"
        )
        terminal.draw("\r" + line.ljust(self._drawn))
        self._drawn = len(line)

    def clear(self) -> None:
        """Remove the bar."""
        if self._drawn:
            terminal.draw("\r" + " " * self._drawn + "\r")
            self._drawn = 0


class JsonLines:
    """One JSON object per line: at most one per second, and one when all rows are done."""

    def __init__(self) -> None:
        from numba_lstm.kernels.working_time import clock  # late: --help takes no NumPy

        self._clock = clock
        self._begin = clock()
        self._next = self._begin

    def __call__(self, done: int, rows: int) -> None:
        """Print a line, if it is due."""
        now = self._clock()
        if now < self._next and done < rows:
            return
        self._next = now + _INTERVAL_JSON
        seconds = round(now - self._begin, 3)
        terminal.note(json.dumps({"event": "progress", "rows_done": done, "rows": rows, "seconds": seconds}))

    def clear(self) -> None:
        """Lines stay."""


def duration(seconds: float) -> str:
    """12 s, 3 min 20 s or 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def progress_for(kind: str) -> Bar | JsonLines | None:
    """The display that --progress asks for; a bar is shown on terminals only."""
    if kind == "json":
        return JsonLines()
    return Bar() if kind == "auto" and sys.stderr.isatty() else None
