"""Signals that ask the process to end: an exception first, so that everything tidies up, and an end in any case.

This comes before all imports that take a while: it needs nothing but what Python has loaded by then.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found, unused-ignore]  # the module signal takes milliseconds to import
import os
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from types import FrameType

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Interrupted(BaseException):
    """A signal asked the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Interrupts:
    """Makes an exception of the first signal that asks the process to end.

    It is deaf for a while afterwards: the second Ctrl-C of the impatient must not cut the tidying up short. If the
    exception has not ended the process by then - something swallowed it, or is stuck - the process ends at once.
    """

    DEAF_SECONDS = 2.0

    def __init__(self) -> None:
        self.number: int | None = None  # of the signal that came first
        self.code: int | None = None  # what the process ends with: its work is done, and signals change that no more
        self._deaf_until = 0.0

    def listen(self) -> None:
        """Begin. What is ignored - by nohup, by a shell for its background jobs - stays ignored."""
        for name in NAMES:
            number = getattr(_signal, name, None)
            if number is not None and _signal.getsignal(number) != _signal.SIG_IGN:
                _signal.signal(number, self)

    def __call__(self, number: int, _: FrameType | None) -> None:
        """Handle a signal."""
        if self.code is not None:
            os._exit(self.code)
        now = time.monotonic()
        if self.number is None:
            self.number, self._deaf_until = number, now + self.DEAF_SECONDS
            if hasattr(_signal, "setitimer"):
                _signal.signal(_signal.SIGALRM, self._late)
                _signal.setitimer(_signal.ITIMER_REAL, self.DEAF_SECONDS)
            raise Interrupted(number)
        if now >= self._deaf_until:
            end(self.number)

    def _late(self, _: int, __: FrameType | None) -> None:
        if self.number is not None:
            end(self.number)


def end(number: int) -> NoReturn:
    """End the process at once, with nothing unfinished left, and say so.

    An ordinary end would wait for a kernel that is still running in its thread.
    """
    name = next((name for name in NAMES if getattr(_signal, name, None) == number), f"signal {number}")
    say(f"Interrupted by {name}; no unfinished output is left")
    os._exit(128 + number)


def say(line: str) -> None:
    """Remove everything unfinished, then write a line to stderr, whatever state Python's own stream is in."""
    files = sys.modules.get("numba_lstm.unfinished")
    if files is not None:
        getattr(files, "remove_all", int)()
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except (OSError, ValueError, RuntimeError):  # full; closed; a signal came while something was written to it
        pass
    try:  # noqa: SIM105
        os.write(2, f"{line}\n".encode())
    except OSError:
        pass


def came() -> int | None:
    """The number of the signal that asked the process to end, if one did."""
    handlers = [_signal.getsignal(getattr(_signal, name)) for name in NAMES if hasattr(_signal, name)]
    return next((one.number for one in handlers if isinstance(one, Interrupts) and one.number is not None), None)


def unraisable(problem: Any) -> None:
    """What `sys.unraisablehook` does: an interrupt in a finalizer or a callback ends the process there and then."""
    if isinstance(problem.exc_value, Interrupted):
        end(problem.exc_value.number)
    if came() is None:  # otherwise the process ends, and what its finalizers stumble over is no news
        sys.__unraisablehook__(problem)


def uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """What `sys.excepthook` does: what gets past the command ends in one line too."""
    if isinstance(error, Interrupted):
        end(error.number)
    if isinstance(error, KeyboardInterrupt):
        end(_signal.SIGINT)
    if isinstance(error, MemoryError):
        say("Error: not enough memory")
        os._exit(1)
    sys.__excepthook__(kind, error, trace)
