"""Signals that ask the process to end: an exception first, so that everything tidies up, and an end in any case.

This comes before all imports that take a while: it needs nothing but what Python has loaded by then.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found, unused-ignore]  # the module signal takes milliseconds to import
import _thread
import os
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from types import FrameType

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_ending: dict[str, int] = {}  # "thread": the one that ends the process


class Interrupted(BaseException):
    """A signal asked the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Interrupts:
    """Makes an exception of the first signal that asks the process to end.

    Later signals are ignored: a second Ctrl-C must not interrupt the clean-up. If the process has not
    ended after a while - something swallowed the exception, or is stuck, or the main thread is in a long call to C, so
    that no handler has run - a thread ends it, to which the system's own handler has written by way of a pipe.
    """

    DEAF_SECONDS = 2.0

    def __init__(self) -> None:
        self.number: int | None = None  # of the signal that came first
        self.code: int | None = None  # the final exit code: the work is done, and later signals do not change it

    def listen(self) -> None:
        """Begin. What is ignored - by nohup, by a shell for its background jobs - stays ignored."""
        try:
            pipe, write = os.pipe()
            if hasattr(os, "set_blocking"):
                os.set_blocking(write, False)
            _thread.start_new_thread(self._watch, (pipe,))
            _signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        except (OSError, RuntimeError):  # no file or thread to be had: the exception has to do
            pass
        if hasattr(os, "register_at_fork"):  # a child's signals are not its parent's
            os.register_at_fork(after_in_child=lambda: _signal.set_wakeup_fd(-1))
        for name in NAMES:
            number = getattr(_signal, name, None)
            if number is not None and _signal.getsignal(number) != _signal.SIG_IGN:
                _signal.signal(number, self)

    def __call__(self, number: int, _: FrameType | None) -> None:
        """Handle a signal."""
        if self.code is not None:
            os._exit(self.code)
        if self.number is None:
            self.number = number
            raise Interrupted(number)

    def _watch(self, pipe: int) -> None:
        """The body of the watching thread."""
        numbers = [getattr(_signal, name) for name in NAMES if hasattr(_signal, name)]
        if hasattr(_signal, "pthread_sigmask"):  # the signal must interrupt the main thread's waiting
            _signal.pthread_sigmask(_signal.SIG_BLOCK, numbers)
        while (byte := os.read(pipe, 1)) and byte[0] not in numbers:
            pass
        if not byte:
            return
        time.sleep(self.DEAF_SECONDS)
        while _signal.getsignal(byte[0]) is not self:  # outputs are given their names: all of them or none
            time.sleep(0.01)
        if self.code is not None:
            os._exit(self.code)
        number = self.number or byte[0]
        try:
            remove_unfinished()
            _thread.start_new_thread(end, (number,))
            time.sleep(self.DEAF_SECONDS)  # stderr may be full, and nobody reads it
        finally:
            os._exit(128 + number)


def end(number: int) -> NoReturn:
    """Remove everything unfinished, report it, and end the process at once.

    An ordinary end would wait for a kernel that is still running in its thread. Of two threads one does it.
    """
    while _ending.setdefault("thread", _thread.get_ident()) != _thread.get_ident():
        time.sleep(60)
    name = next((name for name in NAMES if getattr(_signal, name, None) == number), f"signal {number}")
    say(f"Interrupted by {name}; no unfinished output is left")
    os._exit(128 + number)


def say(line: str) -> None:
    """Remove everything unfinished, then write a line to stderr, even where Python's own stream is unusable."""
    remove_unfinished()
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except (OSError, ValueError, RuntimeError):  # full; closed; a signal came while something was written to it
        pass
    try:  # noqa: SIM105
        os.write(2, f"{line}\n".encode())
    except OSError:
        pass


def remove_unfinished() -> None:
    """Remove everything unfinished, if anything can be."""
    files = sys.modules.get("numba_lstm.formats.unfinished")
    if files is not None:
        getattr(files, "remove_all", int)()


def came() -> int | None:
    """The number of the signal that asked the process to end, if one did."""
    handlers = [_signal.getsignal(getattr(_signal, name)) for name in NAMES if hasattr(_signal, name)]
    return next((one.number for one in handlers if isinstance(one, Interrupts) and one.number is not None), None)


def unraisable(problem: Any) -> None:
    """Serve as `sys.unraisablehook`: an interrupt in a finalizer or a callback ends the process at once."""
    if isinstance(problem.exc_value, Interrupted):
        end(problem.exc_value.number)
    if came() is None:  # otherwise the process ends, and errors of its finalizers are not reported
        sys.__unraisablehook__(problem)


def uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Serve as `sys.excepthook`: an exception that the command does not catch ends in one line too."""
    if isinstance(error, Interrupted):
        end(error.number)
    if isinstance(error, KeyboardInterrupt):
        end(_signal.SIGINT)
    if isinstance(error, MemoryError):
        say("Error: not enough memory")
        os._exit(1)
    sys.__excepthook__(kind, error, trace)
