"""The limits of a reader for any file at all, and the judgement of one execution."""

from __future__ import annotations

import faulthandler
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fuzz.readers import Target

from numba_lstm.errors import NumbaLSTMError

SECONDS = 2.0  # of the thread's processor time: a busy machine does not count
MEMORY = 200 * 10**6  # bytes, above the size of the file
HANGING_SECONDS = 300  # by the clock, for a turn of many executions: the process ends and says where it was
LONGEST_MESSAGE = 1200


def limit_memory() -> None:
    """Let the process grow by `MEMORY` from here on, files of mutants being small; more is a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, resource.RLIM_INFINITY))


@contextmanager
def watching() -> Iterator[None]:
    """End the process if what is done within hangs. (Not around each execution: it costs a thread.)"""
    faulthandler.dump_traceback_later(HANGING_SECONDS, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def execute(target: Target, path: Path) -> tuple[bool, str | None]:
    """Use the file at `path`: whether it was accepted, and what is wrong with the way it went, None if nothing."""
    start = time.thread_time()
    accepted, wrong = False, None
    try:
        target.use(path)
        accepted = True
    except NumbaLSTMError as error:
        text = str(error)
        if "\n" in text or not text or len(text) > LONGEST_MESSAGE:
            wrong = f"a message that is not one line: {text[:200]!r}"
        elif _ran_out_of_memory(error):
            wrong = f"more than {MEMORY} bytes: {text[:200]!r}"
    except Exception as error:  # what nobody expects is what is looked for
        wrong = f"{type(error).__name__}: {error}"
    spent = time.thread_time() - start
    return accepted, f"{spent:.1f} s" if wrong is None and spent > SECONDS else wrong


def _ran_out_of_memory(error: BaseException | None) -> bool:
    """Readers turn every exception of a parser into their own errors; the cause tells which one it was."""
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False
