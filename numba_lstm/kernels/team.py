"""Two threads that share the units of a few rows, step by step: how they meet, and how they part.

The leader runs all timesteps and alone until a helper has come. From then on each computes its own blocks of units,
and both wait for each other once a step: h of all units is needed for the next one. No thread waits for long. A
leader whose helper does not come (another process has its CPU) computes the helper's blocks itself and goes on alone;
the helper may come again. So a helper computes in memory of its own and writes to the memory that both use only
after it has announced that; a leader that has gone on by then has made sure that this fails.

Two integers, each in a cache line of its own, say where they are:

    memory[0]      the steps that the leader has done its own blocks of
    memory[HELPER] ABSENT, WAITING (for the leader to take it in), CLOSED (no helper is wanted any more), or
                   2 * t (computing step t), 2 * t + 1 (writing down step t); so 2 * (t + 1) once that is done
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from numba_lstm.kernels.jit import inner
from numba_lstm.kernels.simd import load_acquire, memory_at, pause, replace, store_release

HELPER = 16
ABSENT, WAITING, CLOSED = -1, -2, -3

# What the leader finds at the end of a step.
BOTH_DONE, HELPER_LEFT, HELPER_MISSING = 0, 1, 2


class Team(NamedTuple):
    """One thread's place in it; in the place of the tuple None for a thread that works alone."""

    progress: Any  # the two integers
    leads: bool
    patience: int  # rounds of waiting after which the other is taken to be elsewhere
    middle: int  # the first block of units that is the helper's
    h_next: Any  # (group, padded units), as State.h: of every second step


@inner
def open_team(team: Team, like: Any) -> Team:
    """Addresses made into the memory at them."""
    progress = memory_at(team.progress, np.int64(0))
    return Team(progress, team.leads, team.patience, team.middle, memory_at(team.h_next, like))


@inner
def take_in(team: Team, t: int) -> Any:
    """The leader, before step t: whether a helper was waiting and takes part from this step on."""
    return load_acquire(team.progress, HELPER) == WAITING and replace(team.progress, HELPER, WAITING, 2 * t)


@inner
def arrive(team: Team) -> int:
    """The helper: the step from which on it takes part; -1 if it is not wanted (any more), or not soon."""
    if not replace(team.progress, HELPER, ABSENT, WAITING):
        return -1
    for _ in range(50 * team.patience):
        state = load_acquire(team.progress, HELPER)
        if state != WAITING:
            return state // 2 if state >= 0 else -1
        pause()
    if replace(team.progress, HELPER, WAITING, ABSENT):
        return -1
    state = load_acquire(team.progress, HELPER)
    return state // 2 if state >= 0 else -1


@inner
def announce(team: Team, t: int) -> Any:
    """The helper, before it writes down step t: whether the leader still counts on it."""
    return replace(team.progress, HELPER, 2 * t, 2 * t + 1)


@inner
def wait_for_leader(team: Team, t: int) -> Any:
    """The helper, when it has written down step t: whether both have, and so both take part in the next one."""
    store_release(team.progress, HELPER, 2 * (t + 1))
    for _ in range(team.patience):
        if load_acquire(team.progress, 0) > t:
            return True
        pause()
    return not replace(team.progress, HELPER, 2 * (t + 1), ABSENT)


@inner
def wait_for_helper(team: Team, t: int) -> int:
    """The leader, when it has written down step t: see the three answers above."""
    store_release(team.progress, 0, t + 1)
    rounds = 0
    while True:
        state = load_acquire(team.progress, HELPER)
        if state == 2 * (t + 1):
            return BOTH_DONE
        if state < 0:
            # It leaves by itself only after it has written down a step.
            return HELPER_LEFT
        rounds += 1
        if rounds > team.patience and replace(team.progress, HELPER, 2 * t, ABSENT):
            return HELPER_MISSING
        pause()


@inner
def close(team: Team) -> None:
    """The leader, after the last step: no helper is wanted any more."""
    while True:
        state = load_acquire(team.progress, HELPER)
        if replace(team.progress, HELPER, state, CLOSED):
            return
