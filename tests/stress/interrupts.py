"""Ctrl-C at random moments of calls on one thread and on two: no memory is damaged, and later results are right.

usage: PYTHONPATH=tests python -m stress.interrupts [--interrupts N] [--seed N] [--state FILE]

Half of the interrupts come while two other processes keep the CPUs busy. What was done is kept in --state, and
counted when the command is called again. The exit code is 1 if anything went wrong.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np
from stress.busy import busy
from stress.paths import paths
from support import guarded
from support.guarded import Memory, memory
from support.shrunk import shrunk

from numba_lstm.backends.cpu import threads

ROUND = 25  # interrupts of a path before its memory is looked at


def ctrl_c(number: int, frame: FrameType | None) -> None:
    """The handler of the signal: KeyboardInterrupt, a moment later where the tests' own code for memory is at work."""
    while frame is not None:
        if frame.f_code.co_filename == guarded.__file__:
            signal.setitimer(signal.ITIMER_REAL, 20e-6)
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def interrupted(call: Callable[[], bytes], delay: float) -> bytes | None:
    """The result of the call, or None if a Ctrl-C stopped it `delay` seconds after its beginning."""
    try:
        signal.setitimer(signal.ITIMER_REAL, max(delay, 1e-6))
        result = call()
        signal.setitimer(signal.ITIMER_REAL, 0)
        return result
    except KeyboardInterrupt:
        return None


def helpers_answer() -> bool:
    """Whether a helper still comes when it is asked, and this thread still shares its work."""
    here = threading.Event()
    threads.with_help(lambda: here.wait(20), here.set, 1)
    return here.is_set() and not threads.alone()


def interrupt(name: str, call: Callable[[], bytes], number: int, seed: int, found: Memory) -> list[str]:
    """The problems of a call interrupted `number` times."""
    rng, wrong = np.random.default_rng(seed), []
    expected = call()
    began = time.perf_counter()
    call()
    seconds = time.perf_counter() - began
    left = number
    while left:
        result = interrupted(call, rng.uniform(0, 1.05) * seconds)
        left -= result is None
        if result is not None and result != expected:
            wrong.append(f"{name}: a call that came to its end gave another result")
        if left % ROUND == 0 or rng.random() < 0.05:
            if call() != expected:
                wrong.append(f"{name}: another result after an interrupt")
            if threads.get_num_threads() > 1 and not helpers_answer():
                wrong.append(f"{name}: no helper answers any more")
            found.look()
    return wrong + [f"{name}: {damage}" for damage in found.damages]


def run(interrupts: int, seed: int, state: Path | None = None, busy_processes: tuple[int, ...] = (0, 2)) -> list[str]:
    """The problems of `interrupts` interrupts in all, less those that the state counts."""
    done: Counter[str] = Counter(json.loads(state.read_text()) if state and state.exists() else {})
    before = signal.signal(signal.SIGALRM, ctrl_c)
    threads_before = threads._number
    wrong: list[str] = []
    try:
        with shrunk():
            calls = paths()
            wanted = -(-interrupts // (2 * len(calls) * len(busy_processes)))
            for processes in busy_processes:
                with busy(processes):
                    for number in (1, 2):
                        threads.set_num_threads(number)
                        for index, (name, call) in enumerate(calls.items()):
                            key = f"{name}, threads {number}, busy processes {processes}"
                            while done[key] < wanted and not wrong:
                                count = min(10 * ROUND, wanted - done[key])
                                with memory() as found:
                                    wrong += interrupt(key, call, count, seed + 1000 * index + done[key], found)
                                assert found.made > count, "the package allocates elsewhere"
                                done[key] += count
                                if state:
                                    state.write_text(json.dumps(done, indent=1))
    finally:
        threads._number = threads_before
        signal.signal(signal.SIGALRM, before)
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interrupts", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--state", type=Path)
    options = parser.parse_args()
    began = time.time()
    wrong = run(options.interrupts, options.seed, options.state)
    print(*wrong, sep="\n")
    print(f"{options.interrupts} interrupts, {len(wrong)} findings, {time.time() - began:.0f} s")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
