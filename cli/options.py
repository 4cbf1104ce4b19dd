"""Options that several subcommands share, and the types of their values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])

DIALECTS = ("tf1", "keras2", "keras3")
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("float32", "float64", "bf16", "tf32", "bf16x3")
SEED = click.IntRange(0, 2**64 - 1)

# A path that is there or not is a matter of data: the reader's message is one line, and the exit code 1.
FILE = click.Path()


_SIZE_UNITS = "kmgt"


def _to_rows(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, int | None] | None:
    """0:100, 100: or :100 as the first row and one past the last."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{0,18}):([0-9]{0,18})", value)
    if not match:
        raise click.BadParameter(f"{value!r} is no range of rows; expected the first and one past the last, as 0:100")
    first, last = int(match[1] or 0), int(match[2]) if match[2] else None
    if last is not None and first >= last:
        raise click.BadParameter(f"{value!r} holds no rows; expected the first and one past the last, as 0:100")
    return first, last


def _to_bytes(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """2GB, 500MB or 1.5GiB in bytes."""
    if value is None:
        return None
    match = re.fullmatch(rf"([0-9]{{1,15}}(?:\.[0-9]{{1,9}})?) *(?:([{_SIZE_UNITS}])(i?))?b?", value.strip().lower())
    size = 0
    if match:
        power = 1 + _SIZE_UNITS.index(match[2]) if match[2] else 0
        size = int(float(match[1]) * (1024 if match[3] else 1000) ** power)
    if size < 1:
        raise click.BadParameter(f"{value!r} is no amount of memory; expected one as 500MB or 2GB")
    return size


def model_options(command: _F) -> _F:
    """Options on reading the model and on the computation."""
    return _stack(
        command,
        _file("--config", "The model's configuration (JSON or .keras), for a file with weights only."),
        click.option("--dialect", type=click.Choice(DIALECTS), help="The dialect; by default the file's."),
        click.option(
            "--device",
            type=click.Choice(DEVICES),
            default="auto",
            show_default=True,
            help="The device; cuda: every visible GPU.",
        ),
        click.option(
            "--precision",
            type=click.Choice(PRECISIONS),
            help="By default the model's dtype; bf16 is fast and less accurate.",
        ),
        click.option("--threads", type=click.IntRange(1, 1024), metavar="N", help="CPU threads; by default all."),
    )


def data_options(command: _F) -> _F:
    """Options on the interpretation of the input."""
    return _stack(
        command,
        _file("--mask", ".npy (batch, timesteps): steps with 0 or False are skipped."),
        _file("--lengths", ".npy (batch,): the number of steps of each row that count, from the first."),
        _number("--window", "Use every window of N timesteps of a record as a row."),
        _number("--stride", "Timesteps from one window to the next.", default=1),
        _file("--initial-state", ".npy (rows, states): h and c of each layer, side by side."),
        click.option(
            "--carry-state",
            is_flag=True,
            help="Stateful layers carry their states from each batch of --batch-rows to the next, as in Keras.",
        ),
        click.option("--last-only", is_flag=True, help="Write only the last timestep of output sequences."),
        click.option("--time-major", is_flag=True, help="Input, mask and output sequences have the timesteps first."),
    )


def chunk_options(command: _F) -> _F:
    """Options on the size of chunks, which no result depends on."""
    return _stack(
        command,
        _number("--batch-rows", "Rows per chunk; by default chosen from their size."),
        click.option(
            "--max-memory",
            callback=_to_bytes,
            metavar="SIZE",
            help="Memory limit of the whole process, such as 2GB; lowers the rows per chunk if necessary.",
        ),
    )


rows_option = click.option(
    "--rows", callback=_to_rows, metavar="A:B", help="Use only these rows of the input, such as 0:100."
)


def _file(name: str, text: str) -> Callable[[_F], _F]:
    return click.option(name, type=FILE, metavar="FILE", help=text)


def _number(name: str, text: str, default: int | None = None) -> Callable[[_F], _F]:
    shown = default is not None
    return click.option(name, type=click.IntRange(1), metavar="N", default=default, show_default=shown, help=text)


def _stack(command: _F, *options: Callable[[_F], _F]) -> _F:
    for option in reversed(options):
        command = option(command)
    return command


def count(number: int, noun: str) -> str:
    """1 row, 2 rows, 1,000 rows."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


# Options whose names are not those of the library's arguments.
_OPTIONS = {"format": "--to", "replace": "--force"}


def in_options(text: str) -> str:
    """A message of the library in one line, with the command's options in the place of the arguments that it names."""
    from numba_lstm.errors import Argument, Message, one_line

    def part(piece: str | Argument) -> str:
        if isinstance(piece, str):
            return piece
        option = _OPTIONS.get(piece.name, f"--{piece.name.replace('_', '-')}")
        return option if piece.value in (None, True) else f"{option} {piece.value}"

    return one_line("".join(map(part, text.parts)) if isinstance(text, Message) else text)


def settled(options: dict[str, Any]) -> dict[str, Any]:
    """`options` as the runner takes them; options that exclude each other are usage errors, with exit code 2."""
    from numba_lstm.errors import ConfigError
    from numba_lstm.runner import RunOptions

    try:
        RunOptions(**options)
    except ConfigError as error:
        raise click.UsageError(in_options(error.args[0])) from error
    return options
