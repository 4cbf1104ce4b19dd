"""Ctrl-C and forks while numba is imported, or compiles: the next call is as any other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, signal, sys, threading, time
import numpy as np, numba_lstm as nl
model = nl.Sequential([nl.Dense(2)])  # whose kernel is compiled soon
model.build((None, 3))
x = np.ones((2, 3), "f")
"""

CTRL_C = """
signal.signal(signal.SIGALRM, signal.default_int_handler)
interrupts = 0
for _ in range(200):
    try:
        signal.setitimer(signal.ITIMER_REAL, {delay})
        model.predict(x)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        interrupts += 1
    else:
        break
assert interrupts, "the first call is not that quick"
assert model.predict(x).shape == (2, 2)
"""

FORK = """
thread = threading.Thread(target=model.predict, args=(x,))
thread.start()
while "numba" not in sys.modules:
    time.sleep(0.001)
time.sleep({delay})
child = os.fork()
if child == 0:
    model.predict(x)
    os._exit(7)
end = time.monotonic() + 60
while not (found := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < end:
    time.sleep(0.01)
if not found[0]:
    os.kill(child, signal.SIGKILL)
assert found[0] and os.waitstatus_to_exitcode(found[1]) == 7, found
thread.join()
"""


def run(program: str, cache: Path, delay: float) -> None:
    environment = {**os.environ, "NUMBA_LSTM_CACHE_DIR": str(cache)}
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM + program.replace("{delay}", str(delay))]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr[-2000:]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has neither forks nor timers that send signals")
@pytest.mark.parametrize("delay", [pytest.param(0.01, marks=pytest.mark.slow), 0.1])
@pytest.mark.parametrize("program", [CTRL_C, FORK], ids=["Ctrl-C", "fork"])
def test_the_first_call_is_disturbed(program: str, delay: float, tmp_path: Path) -> None:
    """Again and again from where it got to: first while numba is imported, then while it compiles."""
    run(program, tmp_path, delay)
