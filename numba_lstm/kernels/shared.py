"""``sequence_of_two``: a few rows through all timesteps by two threads that share the units; see team.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_lstm.kernels.arguments import Cell, Masks, Options, Scratch, State, Window
from numba_lstm.kernels.copies import copy
from numba_lstm.kernels.cpu import advance, finish_step, inputs_ahead, next_operand
from numba_lstm.kernels.jit import inner, kernel
from numba_lstm.kernels.opening import open_cell, open_masks, open_scratch, open_window
from numba_lstm.kernels.simd import after, lanes, memory_at
from numba_lstm.kernels.team import (
    BOTH_DONE,
    HELPER_LEFT,
    Team,
    announce,
    arrive,
    close,
    open_team,
    take_in,
    wait_for_helper,
    wait_for_leader,
)

# A leader that waits for its first helper looks for it this often; missed so many times, no helper is asked again.
STEPS_BETWEEN_LOOKS, STEPS_OF_WAITING, MISSES = 6, 96, 8


@inner
def hand_over(rows: int, padded: int, begin: int, skip: Any, scratch: Scratch, c: Any, h_next: Any) -> None:
    """The helper: what it has computed of the units from ``begin`` on becomes everybody's."""
    for row in range(rows):
        if not skip[row]:
            at = row * padded + begin
            copy(scratch.c, at, c, at, padded - begin)
            copy(scratch.h_next, at, h_next, at, padded - begin)


@kernel
def sequence_of_two(
    like: Any,
    cell: Cell,
    activation: Any,
    recurrent_activation: Any,
    few: Any,
    extras: Any,
    first_row: int,
    last_row: int,
    timesteps: int,
    inputs: Window,
    given: None,
    mask: Window,
    dropout: Masks,
    recurrent_dropout: Masks,
    state: State,
    outputs: Window,
    options: Options,
    scratch: Scratch,
    team: Team,
) -> int:
    """What cpu.sequence does, with the same arguments, called by both threads, each with a scratch of its own.

    There are scratch.group rows at most, no sums over the inputs are given, and no activation spans units. The leader
    returns when all is done, the helper when it is no longer needed, perhaps later: it touches nothing that both use by
    then. Returns in how many steps both took part.
    """
    cell = open_cell(cell, like)
    scratch = open_scratch(scratch, like)
    inputs, outputs, mask = open_window(inputs, like), open_window(outputs, like), open_window(mask, np.uint8(0))
    dropout, recurrent_dropout = open_masks(dropout, like), open_masks(recurrent_dropout, like)
    team = open_team(team, like)
    n = lanes(cell.bias)
    all_blocks = (cell.units + n - 1) // n
    padded = all_blocks * n
    rows = last_row - first_row
    even, odd = after(memory_at(state.h, like), first_row * padded), team.h_next
    c = after(memory_at(state.c, like), first_row * padded)
    output = after(memory_at(state.output, like), first_row * padded)
    ahead_from = ahead_until = taken = misses = t = 0
    together = False
    while t < timesteps:
        begin, end = 0, all_blocks
        if not team.leads:
            begin = team.middle
            if not together:
                t = arrive(team)
                if t < 0:
                    break
                together, ahead_until = True, t
                for row in range(rows):
                    copy(c, row * padded + begin * n, scratch.c, row * padded + begin * n, padded - begin * n)
        elif few is None or t == ahead_until:
            together = together or take_in(team, t)
        if team.leads and together:
            end = team.middle
        h, h_next = (even, odd) if t % 2 == 0 else (odd, even)
        active, h_now = next_operand(
            cell, extras, rows, first_row, t, h, mask, options.masked, recurrent_dropout, scratch
        )
        making_up = False
        while True:
            if few is not None and t == ahead_until:
                steps = min(scratch.ahead, timesteps - t)
                if making_up:
                    steps = 1
                elif not together and t < STEPS_OF_WAITING:
                    steps = min(steps, STEPS_BETWEEN_LOOKS)
                ahead_from, ahead_until = t, t + steps
                inputs_ahead(
                    cell,
                    extras,
                    begin,
                    end,
                    first_row,
                    rows,
                    inputs,
                    t,
                    steps,
                    mask,
                    options.masked,
                    dropout,
                    scratch,
                )
            advance(
                cell,
                activation,
                recurrent_activation,
                few,
                extras,
                begin,
                end,
                active,
                first_row,
                t,
                ahead_from,
                inputs,
                dropout,
                h_now,
                None,
                scratch,
                c if team.leads else scratch.c,
                h_next if team.leads else scratch.h_next,
            )
            if not team.leads:
                together = announce(team, t)
                if not together:
                    break
                hand_over(rows, padded, begin * n, scratch.skip, scratch, c, h_next)
            finish_step(cell, extras, begin, end, rows, first_row, t, scratch.skip, h, h_next, output, outputs, options)
            if not together:
                break
            taken += 1
            if not team.leads:
                together = wait_for_leader(team, t)
                break
            found = wait_for_helper(team, t)
            if found == BOTH_DONE:
                break
            together, ahead_until = False, t + 1
            if found == HELPER_LEFT:
                break
            misses += 1
            if misses == MISSES:
                close(team)
            begin, end, making_up, ahead_until = team.middle, all_blocks, True, t
        t += 1
    if team.leads:
        close(team)
        if timesteps % 2 == 1:
            for row in range(rows):
                copy(odd, row * padded, even, row * padded, padded)
    return taken
