"""numba-lstm: trained Keras LSTMs on .npy files.

Everything but click is imported by the subcommands when they run, so that --help takes a moment only.
"""

from __future__ import annotations

if __name__ == "__main__":  # the command itself, and what follows takes a while to import
    from . import start

import atexit
import gc
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from . import terminal
from .bench import bench
from .cache import cache
from .check import check
from .convert import convert
from .doctor import doctor
from .init import init
from .inspect import inspect
from .options import in_options
from .run import run
from .signals import Interrupted, Interrupts, came, end

# Set to see where an error comes from.
TRACEBACK = "NUMBA_LSTM_TRACEBACK"


class _Commands(click.Group):
    """The subcommands; every failure in them ends in one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:  # the last line of defence: users must not see a traceback
            if (number := came()) is not None:  # something made an error of the interrupt
                raise Interrupted(number) from None
            raise _failure(error) from None

    def main(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        *,
        standalone_mode: bool = True,
        **rest: Any,
    ) -> Any:
        """As in click, except that errors are written like all other lines."""
        if not standalone_mode:
            return super().main(args, prog_name, standalone_mode=False, **rest)
        code: Any = 1
        try:
            code = super().main(args, prog_name, standalone_mode=False, **rest)
        except click.ClickException as error:
            code = error.exit_code
            _show(error)
        except click.Abort:
            terminal.note("Aborted!")
        except Exception as error:  # a help that cannot be written, say
            terminal.give_up(sys.stdout)
            _show(_failure(error))
        sys.exit(code)


def _failure(error: Exception) -> click.ClickException:
    if os.environ.get(TRACEBACK):
        import traceback

        traceback.print_exception(error)
    error.__traceback__ = None  # it holds arrays, and memory may be short
    return click.ClickException(describe(error))


def _show(error: click.ClickException) -> None:
    """An error on stderr, as click shows it, the message itself in one line."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        for line in error.format_message().splitlines():
            terminal.note(line)
        return
    # Click would show the message raw; of a stand-in's output only the part before the message is used.
    buffer = io.StringIO()
    click.UsageError("@", getattr(error, "ctx", None)).show(buffer)
    *lines, last = buffer.getvalue().rpartition("@")[0].split("\n")
    for line in lines:
        terminal.note(line)
    terminal.note(last + " ".join(error.format_message().split()))


def describe(error: Exception) -> str:
    """The error in one line of text."""
    from numba_lstm.errors import NumbaLSTMError

    if isinstance(error, NumbaLSTMError):
        text = in_options(error.args[0] if error.args else str(error))
    elif isinstance(error, MemoryError):
        what = f": {error}" if str(error) else ""
        text = f"not enough memory{what}; --batch-rows and --max-memory let a run take fewer rows at a time"
    elif isinstance(error, ImportError) and "failed to map segment" in str(error):
        text = "not enough memory to load all modules; raise the limit on it (ulimit -v)"
    elif isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        text = "the system starts no more threads; raise the limits on memory and processes, or use --threads 1"
    elif isinstance(error, OSError) and error.strerror:
        place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        text = f"{place}{error.strerror}"
    else:
        text = f"unexpected {type(error).__name__}: {error}; a defect of numba-lstm: {TRACEBACK}=1 shows where"
    return " ".join(text.split())


def _version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        from numba_lstm import __version__

        terminal.out(f"numba-lstm {__version__}")
        ctx.exit()


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 bad data, file or device, 2 usage, 3 a check that differs, 129, 130 and 143 "
    "interrupted by SIGHUP, SIGINT (Ctrl-C) and SIGTERM, with nothing unfinished left. "
    f"{TRACEBACK}=1 in the environment shows where an error comes from.",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def cli() -> None:
    """Trained Keras LSTMs, .npy in, .npy out.

    \b
    Example, in a clone of the repository:
      numba-lstm run data/digits/model.h5 data/digits/x.npy -o y.npy
    """


cli.add_command(run)
cli.add_command(inspect)
cli.add_command(convert)
cli.add_command(check)
cli.add_command(init)
cli.add_command(bench)
cli.add_command(cache)
cli.add_command(doctor)


# Container objects that come into being between two searches for garbage; Python's own number is 700 to 2000.
GARBAGE_THRESHOLD = 200_000


def _search_garbage_rarely() -> None:
    """Run the garbage collector rarely.

    Objects made by numba's import live until the process ends. Python would scan them several times meanwhile and once
    more at the end, for nothing: a quarter of the time of a short run. A run itself makes no cycles.
    """
    gc.set_threshold(GARBAGE_THRESHOLD, 50, 50)
    atexit.register(gc.freeze)


def main(listening: bool = False) -> NoReturn:
    """Run the command and end the process, with SystemExit and its exit code, or at once after a signal.

    `listening`: signals are heeded already.
    """
    try:
        if not listening:
            Interrupts().listen()
        terminal.prepare_streams()
        _search_garbage_rarely()
        warnings.showwarning = _warn
        try:
            cli()
        finally:
            if (number := came()) is not None:  # something took the exception for one of its own
                end(number)
    except Interrupted as interrupted:
        end(interrupted.number)
    raise AssertionError("click ends the process")


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    terminal.note(f"warning: {message}")


if __name__ == "__main__":
    start.main()
