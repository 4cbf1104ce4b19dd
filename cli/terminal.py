"""All output to the terminal: lines in which only this program's own control characters take effect.

Names and versions come from files, and a file may be anybody's: characters that control a terminal, or that a reader
cannot see, are written as escapes, a newline among them. So a line that is written here is one line.
"""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from contextlib import suppress
from typing import Any, TextIO, cast

import click

from numba_lstm.errors import visible


def out(line: str = "") -> None:
    """A line of the result, on stdout. Raises `OSError`, which names stdout, where it cannot be written."""
    _write(visible(line))


def out_json(value: Any) -> None:
    """A JSON document on stdout. JSON itself escapes what stands in it."""
    _write(json.dumps(value, indent=2))


def _write(text: str) -> None:
    if sys.stdout is None:
        raise OSError(errno.EBADF, "it is closed, and the result goes there", "standard output")
    try:
        click.echo(text)
    except OSError as error:
        give_up(sys.stdout)
        raise OSError(error.errno, error.strerror, "standard output") from None


def note(line: str) -> None:
    """A line about the result, on stderr. Where stderr is closed or full, the line is dropped: the result counts."""
    draw(visible(line) + "\n")


def draw(text: str) -> None:
    """Write `text` to stderr unchanged: for a progress bar, which consists of numbers."""
    stream = getattr(sys.stderr, "raw", sys.stderr)
    try:
        click.echo(text, file=stream, err=True, nl=False)
    except (OSError, ValueError):
        give_up(stream)


class Escaping:
    """stderr for those who write to it by themselves: loggers, libraries, tracebacks that were asked for.

    Only ends of lines go through as they are.
    """

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw

    def write(self, text: str) -> int:
        """Write `text`; returns its length."""
        self.raw.write("\n".join(visible(line) for line in text.split("\n")))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


def give_up(stream: TextIO | None) -> None:
    """Point the stream at nothing: Python would fail to write the rest of its buffer at the end, and say so."""
    if stream is None:
        return
    with suppress(OSError, ValueError):
        number = stream.fileno()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, number)
        os.close(null)


def prepare_streams() -> None:
    """Make stderr escape its text, and replace standard streams that were closed at the start.

    Their numbers must not go to files that are opened later: what is written to stderr would end up in an output.
    """
    for number, name, mode in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY)):
        with suppress(OSError):
            try:
                os.fstat(number)
            except OSError:
                os.open(os.devnull, mode)  # the lowest number that is free is this one; stdout stays without
        if name == "stderr" and sys.stderr is None:
            sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files and layers need not be text that the terminal can show; stderr is as lenient from the start.
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stderr = cast(TextIO, Escaping(sys.stderr))
