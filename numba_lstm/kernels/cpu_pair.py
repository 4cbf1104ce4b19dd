"""The CPU kernel of two threads that share the units of a few rows, step by step. How they meet is told in team.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_lstm.kernels.arguments import Call, GroupState, RowGroup, Team
from numba_lstm.kernels.copies import blocks_of, copy, finish_step, hand_over, padded_units
from numba_lstm.kernels.cpu import finish_states, operands_of, states_of, step, step_of_one_row
from numba_lstm.kernels.jit import njit_helper, njit_kernel, smaller
from numba_lstm.kernels.simd import lanes, opened
from numba_lstm.kernels.sums import hoist_inputs
from numba_lstm.kernels.team import (
    BOTH_DONE,
    HELPER_LEFT,
    MISSES,
    announce,
    arrive,
    close,
    done_by_helper,
    steps_to_hoist,
    take_in,
    wait_for_helper,
    wait_for_leader,
)


@njit_helper
def take_step(
    call: Call, functions: Any, small_batch: Any, has_masks: Any, group: RowGroup, state: GroupState, place: int
) -> None:
    """The step of a group's blocks, as in cpu.sequence. place: of t among the timesteps that scratch.z is for.

    The choice stands in both: as one inlined function it takes longer to compile.
    """
    cell, scratch = call.cell, call.scratch
    z_start = place * 4 * padded_units(cell)
    active, operands = operands_of(call, small_batch, has_masks, None, group, state, z_start)
    if active == 0:
        pass
    elif small_batch is not None and group.rows == 1:
        if has_masks is not None and operands.h.gate != 0:
            step_of_one_row(cell, functions, True, group, operands, scratch.skip, state)
        else:
            step_of_one_row(cell, functions, None, group, operands, scratch.skip, state)
    else:
        counting = RowGroup(group.first, active, group.begin, group.end, group.t)
        step(cell, functions, has_masks, None, counting, operands, scratch, state)


@njit_helper
def lead(call: Call, functions: Any, small_batch: Any, has_masks: Any, team: Team) -> int:
    """All timesteps, alone until a helper has come and whenever it has gone; in how many both took part."""
    first, rows, blocks = call.first_row, call.last_row - call.first_row, blocks_of(call.cell)
    even, odd = states_of(call, first, team.h_next)
    zero: Any = np.intp(0)
    hoisted_from = hoisted_until = helper_steps = misses = shared = zero
    together = False
    for t in range(call.timesteps):
        state, helped = even if t % 2 == 0 else odd, t < helper_steps
        if not helped and (small_batch is None or t == hoisted_until):
            together = together or take_in(team, t)
        group = RowGroup(first, rows, zero, team.middle if together or helped else blocks, t)
        if small_batch is not None and t == hoisted_until:
            most = smaller(call.scratch.hoisted_steps, call.timesteps - t)
            hoisted_from, hoisted_until = t, t + steps_to_hoist(team, t, most, together, helped)
            hoist_inputs(call, has_masks, group, hoisted_until - t)
        take_step(
            call, functions, small_batch, has_masks, group, state, t - hoisted_from if small_batch is not None else zero
        )
        finish_step(call, has_masks, group, state)
        if not together:
            continue
        shared += 1
        found = wait_for_helper(team, t)
        if found == BOTH_DONE:
            continue
        together, hoisted_until = False, t + 1
        if found == HELPER_LEFT:
            helper_steps = done_by_helper(team)
            continue
        # The leader makes up for it.
        misses += 1
        if misses == MISSES:
            close(team)
        rest = RowGroup(first, rows, team.middle, blocks, t)
        if small_batch is not None:
            hoist_inputs(call, has_masks, rest, hoisted_until - t)
        take_step(call, functions, small_batch, has_masks, rest, state, zero)
        finish_step(call, has_masks, rest, state)
    close(team)
    finish_states(call, rows, even)
    return shared  # type: ignore[no-any-return]


@njit_helper
def assist(call: Call, functions: Any, small_batch: Any, has_masks: Any, team: Team) -> None:
    """The blocks from team.middle on, in memory of its own, handed over step by step for as long as that is wanted."""
    first, rows, blocks = call.first_row, call.last_row - call.first_row, blocks_of(call.cell)
    even, odd = states_of(call, first, team.h_next)
    scratch, padded = call.scratch, padded_units(call.cell)
    begin = team.middle * lanes(scratch.c)
    zero: Any = np.intp(0)
    t = hoisted_from = hoisted_until = zero
    together = False
    while t < call.timesteps:
        if not together:
            t = arrive(team)
            if t < 0:
                break
            together, hoisted_until = True, t
            for row in range(rows):
                copy(even.c, row * padded + begin, scratch.c, row * padded + begin, padded - begin)
        group, state = RowGroup(first, rows, team.middle, blocks, t), even if t % 2 == 0 else odd
        if small_batch is not None and t == hoisted_until:
            hoisted_from, hoisted_until = t, t + smaller(scratch.hoisted_steps, call.timesteps - t)
            hoist_inputs(call, has_masks, group, hoisted_until - t)
        own = GroupState(state.h, scratch.h_next, scratch.c, state.output)
        take_step(
            call, functions, small_batch, has_masks, group, own, t - hoisted_from if small_batch is not None else zero
        )
        together = announce(team, t)
        if together:
            hand_over(call, group, state)
            finish_step(call, has_masks, group, state)
            together = wait_for_leader(team, t)
        t += 1


@njit_kernel
def sequence_of_pair(address: int, dtypes: Any, functions: Any, small_batch: Any, has_masks: Any) -> None:
    """cpu.sequence for one of two threads with a place in a `Team`; in how many steps both took part.

    Both call this with the same record but for the team and scratch, there are scratch.group rows at most, and no
    activation spans units. The leader returns when all is done, the helper (0) when it is no longer needed, perhaps
    later; it touches nothing that both use by then.
    """
    call = opened(address, dtypes, Call)
    if call.team.leads:
        lead(call, functions, small_batch, has_masks, call.team)
    else:
        assist(call, functions, small_batch, has_masks, call.team)
