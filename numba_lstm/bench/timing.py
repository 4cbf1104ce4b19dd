"""Interleaved timing: every round times every candidate, so other load on the machine affects all of them alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ROUNDS = 5
FAR_BEHIND = 3
PAUSE = 0.005  # seconds between candidates, in which the last one's threads stop spinning


@dataclass(frozen=True)
class Times:
    """Seconds of a call."""

    minimum: float
    median: float
    calls: int


def interleaved(candidates: Sequence[Callable[[], object]], seconds: float, rounds: int = ROUNDS) -> list[Times]:
    """Time each candidate for about `seconds` seconds in all. Every turn begins with a call that is not counted.

    A candidate that is far behind after two rounds is not called again: more calls would not change the picture.
    """
    samples: list[list[float]] = [[] for _ in candidates]
    gc.collect()
    gc.disable()
    try:
        for turn in range(rounds):
            for i in range(len(candidates)):
                at = (i + turn) % len(candidates)
                if turn >= 2 and min(samples[at]) > FAR_BEHIND * min(map(min, samples)):
                    continue
                time.sleep(PAUSE)
                samples[at] += _turn(candidates[at], seconds / rounds, warm_up=turn > 0 or len(candidates) > 1)
    finally:
        gc.enable()
    return [Times(min(each), statistics.median(each), len(each)) for each in samples]


def _turn(candidate: Callable[[], object], seconds: float, warm_up: bool) -> list[float]:
    """The times of one candidate's calls in one round, at least one."""
    clock = time.perf_counter
    start = clock()
    if warm_up:
        candidate()
        # A call this slow has warmed up by itself: its second half does not differ from its first.
        if (taken := clock() - start) > 4 * seconds:
            return [taken]
    times: list[float] = []
    while not times or clock() - start < seconds:
        before = clock()
        candidate()
        times.append(clock() - before)
    return times


def each_call(candidate: Callable[[], object], calls: int) -> list[float]:
    """The time of every single call, sorted, after a few that are not counted."""
    clock = time.perf_counter
    for _ in range(min(calls, 50)):
        candidate()
    times = [0.0] * calls
    gc.collect()
    gc.disable()
    try:
        for i in range(calls):
            before = clock()
            candidate()
            times[i] = clock() - before
    finally:
        gc.enable()
    return sorted(times)
