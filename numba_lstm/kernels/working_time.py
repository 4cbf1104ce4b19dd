"""The time that work takes, in which compiling for it does not count: it is done once."""

from __future__ import annotations

import time

_compiling = 0.0


def clock() -> float:
    """Seconds, from an arbitrary moment on."""
    return time.monotonic() - _compiling


def not_counted(seconds: float) -> None:
    """Take off what has just been spent on compiling."""
    global _compiling
    _compiling += seconds
