"""Two threads that share the units of a few rows, step by step: how they meet, and how they part.

The leader runs all timesteps and alone until a helper has come. From then on each computes its own blocks of units,
and both wait for each other once a step: h of all units is needed for the next one. No thread waits for long. A
leader whose helper does not come (another process has its CPU) computes the helper's blocks itself and goes on alone;
the helper may come again. So a helper computes in memory of its own and writes to the memory that both use only
after it has announced that; a leader that has gone on by then has made sure that this fails.

Integers, the two threads' in cache lines of their own, say where they are. The helper may be a step ahead of what the
leader has seen.

    memory[0]          the steps that the leader has done its own blocks of
    memory[HELPER]     ABSENT, WAITING (for the leader to take it in), CLOSED (no helper is wanted any more), or
                       2 * t (computing step t), 2 * t + 1 (writing down step t); so 2 * (t + 1) once that is done
    memory[HELPER + 1] the steps that a helper that left by itself has done its blocks of
"""

from __future__ import annotations

from typing import Any

from numba_lstm.kernels.arguments import ABSENT, HELPER, Team
from numba_lstm.kernels.jit import njit_helper, smaller
from numba_lstm.kernels.simd import load_acquire, pause, replace, store_release

WAITING, CLOSED = -2, -3

# The steps between two looks of a leader for its first helper; the steps in which it looks; and how often a helper may
# be missing before none is asked again.
STEPS_BETWEEN_LOOKS, STEPS_OF_LOOKING, MISSES = 6, 96, 8

# What the leader finds at the end of a step.
BOTH_DONE, HELPER_LEFT, HELPER_MISSING = 0, 1, 2


@njit_helper
def take_in(team: Team, t: int) -> Any:
    """The leader, before step t: whether a helper was waiting and takes part from this step on."""
    return load_acquire(team.progress, HELPER) == WAITING and replace(team.progress, HELPER, WAITING, 2 * t)


@njit_helper
def steps_to_hoist(team: Team, t: int, most: int, together: bool, helped: bool) -> int:
    """The leader, before step t: for how many steps at most it makes the sums over the inputs in advance.

    helped: whether step t alone is one that a helper, gone by now, has done its blocks of.
    """
    if helped:
        return 1
    return most if together or t >= STEPS_OF_LOOKING else smaller(most, STEPS_BETWEEN_LOOKS)


@njit_helper
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


@njit_helper
def announce(team: Team, t: int) -> Any:
    """The helper, before it writes down step t: whether the leader still counts on it."""
    return replace(team.progress, HELPER, 2 * t, 2 * t + 1)


@njit_helper
def wait_for_leader(team: Team, t: int) -> Any:
    """The helper, when it has written down step t: whether both have, and so both take part in the next one."""
    store_release(team.progress, HELPER + 1, t + 1)
    store_release(team.progress, HELPER, 2 * (t + 1))
    for _ in range(team.patience):
        if load_acquire(team.progress, 0) > t:
            return True
        pause()
    return not replace(team.progress, HELPER, 2 * (t + 1), ABSENT)


@njit_helper
def done_by_helper(team: Team) -> Any:
    """The leader, when the helper has left: the steps that it has done its blocks of, one more perhaps than both."""
    return load_acquire(team.progress, HELPER + 1)


@njit_helper
def wait_for_helper(team: Team, t: int) -> int:
    """The leader, when it has written down step t: see the three answers above."""
    store_release(team.progress, 0, t + 1)
    rounds = 0
    while True:
        state = load_acquire(team.progress, HELPER)
        if state >= 2 * (t + 1):
            return BOTH_DONE
        if state < 0:
            # It may have waited for this very step and left when the leader had just begun it.
            return HELPER_LEFT if done_by_helper(team) > t else HELPER_MISSING
        rounds += 1
        if rounds > team.patience and replace(team.progress, HELPER, 2 * t, ABSENT):
            return HELPER_MISSING
        pause()


@njit_helper
def close(team: Team) -> None:
    """The leader, after the last step: no helper is wanted any more."""
    while True:
        state = load_acquire(team.progress, HELPER)
        if replace(team.progress, HELPER, state, CLOSED):
            return
