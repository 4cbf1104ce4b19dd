"""Warnings of the library, as lines on stderr."""

from __future__ import annotations

import json
import logging
from contextlib import suppress

import click


class _Notices(logging.Handler):
    """A line for each warning; JSON where the lines beside it are."""

    as_json = False

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        line = json.dumps({"event": "warning", "message": text}) if self.as_json else f"Warning: {text}"
        with suppress(OSError, ValueError):  # stderr is closed or not read: no reason to fail
            click.echo(line, err=True)


_NOTICES = _Notices(logging.WARNING)


def show_notices(as_json: bool = False) -> None:
    """Write warnings of the library to stderr from now on, one line each."""
    _NOTICES.as_json = as_json
    logging.getLogger("numba_lstm").addHandler(_NOTICES)  # a second time does nothing
