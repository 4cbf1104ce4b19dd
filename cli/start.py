"""The start of the command: handle signals before anything else is imported.

Importing this module installs the handlers; only the command's own process imports it.
"""

import _signal  # type: ignore[import-not-found, unused-ignore]
import os


def _at_once(number: int, _: object) -> None:
    name = next(name for name in ("SIGINT", "SIGTERM", "SIGHUP") if getattr(_signal, name, None) == number)
    os.write(2, f"Interrupted by {name}; no unfinished output is left\n".encode())
    os._exit(128 + number)


for _name in ("SIGINT", "SIGTERM", "SIGHUP"):  # until the modules below are there, nothing can be unfinished
    _number = getattr(_signal, _name, None)
    if _number is not None and _signal.getsignal(_number) != _signal.SIG_IGN:
        _signal.signal(_number, _at_once)

import sys
from typing import NoReturn

from . import signals

INTERRUPTS = signals.Interrupts()
sys.excepthook = signals.uncaught
sys.unraisablehook = signals.unraisable
INTERRUPTS.listen()


def main() -> NoReturn:
    """Run the command, and end the process with its exit code."""
    from .main import main as command

    code = 1
    try:
        command(listening=True)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    _finish(code)


def _finish(code: int) -> NoReturn:
    """End the process with exit code `code`; signals from now on have no effect.

    Python's own shutdown takes down every imported module, and ignores signals meanwhile.
    """
    import atexit

    INTERRUPTS.code = code
    atexit._run_exitfuncs()
    for stream in sys.stdout, sys.stderr:
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):  # it was said already
            pass
    os._exit(code)
