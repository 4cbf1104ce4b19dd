"""numba-lstm: trained Keras LSTMs on .npy files.

Everything but click is imported by the subcommands when they run, so that --help takes a moment only.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import signal
import sys
import time
from types import FrameType
from typing import Any, NoReturn

import click

from .bench import bench
from .check import check
from .convert import convert
from .doctor import doctor
from .init import init
from .inspect import inspect
from .run import run

# Set to see where an error comes from.
TRACEBACK = "NUMBA_LSTM_TRACEBACK"


class Interrupted(BaseException):
    """A signal asked the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Commands(click.Group):
    """The subcommands; whatever goes wrong in them ends in one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:  # the last line of defence: nobody is to meet a traceback
            if os.environ.get(TRACEBACK):
                import traceback

                traceback.print_exc()
            raise click.ClickException(describe(error)) from error


def describe(error: Exception) -> str:
    """One line for people about what went wrong."""
    from numba_lstm.errors import NumbaLSTMError

    if isinstance(error, NumbaLSTMError):
        text = str(error)
    elif isinstance(error, MemoryError):
        what = f": {error}" if str(error) else ""
        text = f"not enough memory{what}; --batch-rows and --max-memory let a run take fewer rows at a time"
    elif isinstance(error, OSError) and error.strerror:
        place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        text = f"{place}{error.strerror}"
    else:
        text = f"unexpected {type(error).__name__}: {error}; a defect of numba-lstm: {TRACEBACK}=1 shows where"
    if option := getattr(error, "option", None):
        text = f"{text}; {option} does that"
    return " ".join(text.split())


def _version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        from numba_lstm import __version__

        click.echo(f"numba-lstm {__version__}")
        ctx.exit()


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 bad data, file or device, 2 usage, 3 a check that differs, 130 and 143 interrupted. "
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
cli.add_command(doctor)


class Interrupts:
    """Makes an exception of the signals that ask the process to end.

    It is deaf for a while after each: the second Ctrl-C of the impatient must not cut the cleaning up short.
    """

    DEAF_SECONDS = 2.0

    def __init__(self) -> None:
        self._deaf_until = 0.0

    def listen(self) -> None:
        """Begin. What is ignored - by nohup, by a shell for its background jobs - stays ignored."""
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self)

    def __call__(self, number: int, _: FrameType | None) -> None:
        """Handle a signal."""
        now = time.monotonic()
        if now >= self._deaf_until:
            self._deaf_until = now + self.DEAF_SECONDS
            raise Interrupted(number)


# Container objects that come into being between two searches for garbage; Python's own number is 700 to 2000.
GARBAGE_THRESHOLD = 200_000


def _search_garbage_rarely() -> None:
    """What numba's import makes lives to the end of the process: Python would look it through several times meanwhile,
    and once more at the end, for nothing. That is a quarter of the time of a short run; a run itself makes no cycles.
    """
    gc.set_threshold(GARBAGE_THRESHOLD, 50, 50)
    atexit.register(gc.freeze)


def main() -> NoReturn:
    """Run the command and end the process with its exit code."""
    _search_garbage_rarely()
    Interrupts().listen()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files and layers need not be text that the terminal can show; stderr is as lenient from the start.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        cli()
    except Interrupted as interrupted:
        name = signal.Signals(interrupted.number).name
        print(f"Interrupted by {name}; no unfinished output is left", file=sys.stderr, flush=True)
        # At once: a kernel may still be running in its thread, and an ordinary end would wait for it.
        os._exit(128 + interrupted.number)
    raise AssertionError("click ends the process")


if __name__ == "__main__":
    main()
