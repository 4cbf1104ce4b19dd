"""Processes that run beside the tests, on a CPU that would be idle: those that compile much, or run plain Python.

A module that has such work has a function ``beside(folder)``, which starts processes by `start` and waits for them. It
is called in a thread when the session begins (conftest.py), one module's after the other's; the fixture ``beside``
waits for what it returns.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

_started: list[subprocess.Popen[str]] = []


def start(command: list[str], environment: dict[str, str], folder: Path) -> subprocess.Popen[str]:
    """A process that lets all others go first; its errors are kept."""
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _started.append(process)
    if hasattr(os, "SCHED_IDLE"):
        with suppress(OSError):
            os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
    return process


def end(process: subprocess.Popen[str]) -> str:
    """Wait for it, and fail if it did; what it printed."""
    printed, errors = process.communicate()
    assert process.returncode == 0, printed[-3000:] + errors[-3000:]
    return printed


def stop() -> None:
    """End all that still run: the tests are over."""
    for process in _started:
        process.kill()
