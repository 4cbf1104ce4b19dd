"""Work that a Ctrl-C must not cut in two, and a fork must not meet half done: importing numba, and compiling with it.

A KeyboardInterrupt comes to the main thread between any two lines. In numba's import it would leave modules that are
there in part and can never be imported again; in a compilation a locked lock. So such work is done in another thread,
while the main thread waits for it. An interrupted caller leaves at once; the work ends in its own time, and is done
when it is wanted the next time.
"""

from __future__ import annotations

import _thread
import atexit
import logging  # noqa: F401  # registers with forks too; what registers first waits last, and numba's import wants it
import os
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from queue import SimpleQueue
from types import ModuleType
from typing import Any, TypeVar

Result = TypeVar("Result")

# Held by whoever imports or compiles: a fork waits for it.
working = threading.RLock()


def undisturbed(work: Callable[..., Result], *arguments: Any) -> Result:
    """work(*arguments), in another thread if this is the main one."""
    results: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            results.put((work(*arguments), None))
        except BaseException as error:
            results.put((None, error))

    if threading.current_thread() is threading.main_thread():
        try:
            # Not threading.Thread, whose start() a Ctrl-C can leave half done.
            _thread.start_new_thread(run, ())
        except RuntimeError:  # no more threads are granted
            run()
    else:
        run()
    result, error = results.get()
    if error is not None:
        raise error
    return result  # type: ignore[no-any-return]


def load(name: str) -> ModuleType:
    """The module of that name, which imports numba."""
    return undisturbed(_load, name)


def _load(name: str) -> ModuleType:
    with working:
        return import_module(name)


def _compiler_lock() -> Any:
    """numba's, which whoever compiles holds; None as long as numba is not there."""
    module = sys.modules.get("numba.core.compiler_lock")
    return getattr(module, "global_compiler_lock", None)


def _before_fork() -> None:
    """Let end what other threads import and compile: a child would find the locks of threads that it does not have."""
    working.acquire()
    lock = _compiler_lock()  # now, for what was imported until a moment ago is what made it
    if lock is not None:
        lock.acquire()
    _held.append(lock)


def _after_fork() -> None:
    lock = _held.pop()
    if lock is not None:
        lock.release()
    working.release()


_held: list[Any] = []
# The process does not end in the midst of either, too.
atexit.register(_before_fork)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
