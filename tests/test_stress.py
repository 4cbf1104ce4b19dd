"""A short sample of the commands in tests/stress: interrupts, and processes that begin while threads compute."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from support.guarded import GUARD, Memory
from support.paths import TESTS

from numba_lstm.backends.cpu import threads


def command(*arguments: str) -> None:
    """One of the commands, in a process that nothing else of the tests disturbs."""
    options: Any = {"env": {**os.environ, "PYTHONPATH": str(TESTS)}, "timeout": 200}
    found = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, **options)
    # A Ctrl-C within a destructor goes no further than a note of Python's, which ends in these words.
    notes = [part.strip().splitlines()[-1].rstrip(": ") for part in found.stderr.split("Exception ignored in:")[1:]]
    assert not found.stderr or found.stderr.startswith("Exception ignored in:"), found.stderr[-2000:]
    assert set(notes) <= {"KeyboardInterrupt"}, found.stderr[-2000:]
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-2000:]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no timers that send signals")
def test_ctrl_c_at_random_moments() -> None:
    command("stress.interrupts", "--interrupts", "480", "--seed", "7")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_processes_that_begin_while_threads_compute() -> None:
    command("stress.processes", "--each", "2")


def test_the_memory_of_these_tests_finds_damage() -> None:
    found = Memory()
    array = found.array((3, 4), "f")
    assert array.shape == (3, 4) and not array.any() and found.made == 1
    raw = array.base._raw
    del array
    found.look()
    assert found.damages == []
    raw[GUARD] = 0
    array = found.array(5, "d")
    array.base._raw[GUARD - 1] = 0
    del array
    assert found.damages == ["float64 (5,): somebody wrote beside it"]
    late = found.array(7, "f")
    raw = late.base._raw
    del late
    raw[GUARD] = 1
    found.look()
    assert found.damages[1:] == ["float32 (7,): somebody wrote to it after it was given back"]
    for dtype in ("f", "d"):
        assert np.isnan(found.fresh((3, 5), dtype)).all()


def test_no_helper_has_a_lower_priority() -> None:
    """The system would let one that holds the GIL wait for other processes, and this process with it."""
    if not hasattr(os, "sched_getscheduler"):
        pytest.skip("this platform does not tell")
    found: list[tuple[int, int]] = []

    def look() -> None:
        found.append((os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)))

    while len(found) < 3:
        threads.together([look, look, look])
    assert set(found) == {(os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0))}
