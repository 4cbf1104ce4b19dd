"""The library's warnings, and the kernels that it compiles, as lines on stderr."""

from __future__ import annotations

import json
import logging
from contextlib import suppress

import click


class _Notices(logging.Handler):
    """A line for each; JSON where the lines beside it are."""

    as_json = False

    def emit(self, record: logging.LogRecord) -> None:
        text, kind = record.getMessage(), "warning" if record.levelno >= logging.WARNING else "info"
        line = f"Warning: {text}" if kind == "warning" else text
        if self.as_json:
            line = json.dumps({"event": kind, "message": text})
        with suppress(OSError, ValueError):  # stderr is closed or not read: no reason to fail
            click.echo(line, err=True)


_NOTICES = _Notices()


def show_notices(as_json: bool = False) -> None:
    """Write what the library logs to stderr from now on, one line each."""
    _NOTICES.as_json = as_json
    logger = logging.getLogger("numba_lstm")
    logger.addHandler(_NOTICES)  # a second time does nothing
    logger.setLevel(logging.INFO)
