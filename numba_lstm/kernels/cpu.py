"""The CPU kernels: ``step`` advances a group of rows by one timestep, ``sequence`` runs rows through all of theirs.

Rows never meet, so a call may take any range of them, and threads take ranges of their own. Kernels check nothing and
raise nothing: the driver has. Activations come as a number in Cell and a ``function``, see ``sequence``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_lstm.kernels.arguments import Cell, Scratch
from numba_lstm.kernels.blocks import finish_block, spans_units, update
from numba_lstm.kernels.copies import blocks_at_once, copy, finish_step, hand_over, next_operand, operand
from numba_lstm.kernels.jit import inlined, inner, kernel, larger, smaller
from numba_lstm.kernels.opening import open_cell, open_masks, open_scratch, open_window, read_call
from numba_lstm.kernels.simd import after, lanes, memory_at
from numba_lstm.kernels.sums import block_sums, given_sums, inputs_ahead
from numba_lstm.kernels.team import (
    BOTH_DONE,
    HELPER_LEFT,
    MISSES,
    announce,
    arrive,
    close,
    done_by_helper,
    open_team,
    steps_ahead,
    take_in,
    wait_for_helper,
    wait_for_leader,
)
from numba_lstm.kernels.tile import Operand, Panel, Sums, depth_of, row_sums, row_sums_of_two


@inlined
def step_of_one_row(
    cell: Cell,
    activation: Any,
    recurrent_activation: Any,
    gated: Any,
    begin: int,
    end: int,
    h: Operand,
    z: Sums,
    skip: Any,
    c: Any,
    h_next: Any,
    backwards: bool,
) -> None:
    """One timestep of one row, two blocks of units at a time; begin is even. gated: None if h.gate is 0. See step."""
    n = lanes(z.array)
    wide, depth = 4 * n, depth_of(cell.recurrent_kernel, cell.units)
    size = wide * depth
    first = end - 1 if backwards else begin
    for _ in range(begin, end, 2):
        # Backwards goes through the same pairs, so that an odd block out is the same one.
        pair = first // 2 * 2
        panel = Panel(cell.recurrent_kernel, pair * size, depth, cell.block_length, None)
        at = z.start + pair * wide
        if pair + 1 < end:
            a, b = row_sums_of_two(gated, h, panel, panel.start + size)
            finish_block(cell, activation, pair, a, z.array, at, c, h_next)
            finish_block(cell, activation, pair + 1, b, z.array, at + wide, c, h_next)
        else:
            finish_block(cell, activation, pair, row_sums(gated, h, panel), z.array, at, c, h_next)
        first += -2 if backwards else 2
    if activation is not None:
        units, at = (end - begin) * n, z.start + begin * wide
        update(
            cell,
            activation,
            recurrent_activation,
            units,
            z.array,
            at,
            wide,
            c,
            h_next,
            begin * n,
            n,
            skip,
        )


@inner
def step(
    cell: Cell,
    activation: Any,
    recurrent_activation: Any,
    extras: Any,
    begin: int,
    end: int,
    rows: int,
    x: Operand,
    h: Operand,
    z: Sums,
    z_of_all: bool,
    scratch: Scratch,
    c: Any,
    h_next: Any,
    backwards: bool,
    given: Any = None,
) -> None:
    """One timestep of a group of rows, for the blocks of units [begin, end): all of them if an activation spans units.

    x: (rows, input_dim); not used if scratch.ahead, when z holds the sums over x already, or if they are given
    elsewhere, as Sums of rows of [block][gate][lane], read only. h: (rows, units), not in h_next. z: row r's sums of
    all blocks from z.start + r * z.row on, or, without z_of_all, of those being computed. c: (rows, padded units),
    updated in place. h_next: (rows, padded units), written. Rows with a scratch.skip are left as they are. backwards:
    take the blocks from the last to the first; the weights used last are still in the cache.
    """
    n = lanes(scratch.z)
    wide = 4 * n
    padded = (cell.units + n - 1) // n * n
    spans = spans_units(cell)
    # Four blocks at a time where gates have inputs of their own, see block_sums.
    width = 1
    if extras is not None and (x.gate != 0 or h.gate != 0):
        width = 4
    for turn in range(begin, end, width):
        first = larger(begin, begin + end - width - turn) if backwards else turn
        blocks = smaller(width, (begin + end - turn - first) if backwards else end - turn)
        sums = Sums(z.array, z.start + (first if z_of_all else 0) * wide, z.row, None)
        base = sums
        if given is not None:
            base = Sums(given.array, given.start + first * wide, given.row, None)
        elif scratch.ahead == 0:
            bias = Sums(cell.bias, first * wide, 0, None)
            block_sums(
                extras,
                cell.kernel,
                cell.input_dim,
                cell.block_length,
                first,
                blocks,
                x,
                rows,
                scratch.partial,
                bias,
                sums,
            )
        block_sums(
            extras,
            cell.recurrent_kernel,
            cell.units,
            cell.block_length,
            first,
            blocks,
            h,
            rows,
            scratch.partial,
            base,
            sums,
        )
        if not spans:
            for i in range(blocks):
                at, here = (first + i) * n, sums.start + i * wide
                update(
                    cell,
                    activation,
                    recurrent_activation,
                    rows * n,
                    z.array,
                    here,
                    z.row,
                    c,
                    h_next,
                    at,
                    padded,
                    scratch.skip,
                )
    if activation is not None and spans:
        for row in range(rows):
            if not scratch.skip[row]:
                at, here = row * padded, z.start + row * z.row
                update(
                    cell,
                    activation,
                    recurrent_activation,
                    cell.units,
                    z.array,
                    here,
                    wide,
                    c,
                    h_next,
                    at,
                    n,
                    after(scratch.skip, row),
                )


@kernel
def sequence(
    likes: Any, activation: Any, recurrent_activation: Any, few: Any, extras: Any, given: Any, shared: Any, address: int
) -> int:
    """Rows through all timesteps, as the record of the `Call` at ``address`` says.

    What is None is not compiled in. likes: numbers that tell what memory holds: one of the cell's dtype; one of what
    the weights are kept as: the same, or uint16 for bf16, or uint32 for words of two bf16; and uint16 with such words,
    because inputs and h are rounded too, otherwise as the first. activation, recurrent_activation: each the
    ``function`` of apply.apply; None for both if they are tanh and one of sigmoid and hard_sigmoid, which are computed
    in registers. few: True for the way of up to five rows, None for that of more. extras: True if there are masks of
    any kind. given: True if the sums over the inputs are there already; then few is None and inputs are not used.
    shared: True for one of two threads with a place in a Team: both call this with the same record but for scratch,
    there are scratch.group rows at most, ``given`` is None and no activation spans units. The leader returns when all
    is done, the helper when it is no longer needed, perhaps later; it touches nothing that both use by then. Returns in
    how many steps both took part.
    """
    like, kept, taken = likes
    call = read_call(memory_at(address, np.int64(0)))
    first_row, last_row, timesteps, options, state = (
        call.first_row,
        call.last_row,
        call.timesteps,
        call.options,
        call.state,
    )
    cell, scratch = open_cell(call.cell, like, kept), open_scratch(call.scratch, like, taken)
    inputs, outputs = open_window(call.inputs, like), open_window(call.outputs, like)
    mask = open_window(call.mask, np.uint8(0))
    dropout, recurrent_dropout = open_masks(call.dropout, like), open_masks(call.recurrent_dropout, like)
    n = lanes(cell.bias)
    all_blocks = (cell.units + n - 1) // n
    padded = all_blocks * n
    spans = spans_units(cell)
    z_of_all = scratch.ahead > 0 or spans
    z_row = larger(scratch.ahead, 1) * 4 * (padded if z_of_all else n * blocks_at_once(dropout, recurrent_dropout))
    # Not a literal: numba would compile what it is handed to once for zero and once for any number.
    zero: Any = np.intp(0)
    shared_steps: int = zero
    for first in range(first_row, last_row, scratch.group):
        rows = smaller(scratch.group, last_row - first)
        # h and the next h change places at every step.
        even, odd = after(memory_at(state.h, like), first * padded), scratch.h_next
        c = after(memory_at(state.c, like), first * padded)
        output = after(memory_at(state.output, like), first * padded)
        # In a team the helper writes elsewhere at first, see hand_over.
        own_c, own_h_next = c, scratch.h_next
        t = begin = ahead_from = ahead_until = zero
        end = all_blocks
        if shared is not None:
            both = open_team(call.team, like)
            odd = both.h_next
            together = False
            helper_steps = misses = zero
            if not both.leads:
                begin, own_c = both.middle, scratch.c
        while t < timesteps:
            steps = smaller(scratch.ahead, timesteps - t)
            if shared is not None:
                if not both.leads:
                    if not together:
                        t = arrive(both)
                        if t < 0:
                            break
                        together, ahead_until, steps = True, t, smaller(scratch.ahead, timesteps - t)
                        for row in range(rows):
                            copy(c, row * padded + begin * n, scratch.c, row * padded + begin * n, padded - begin * n)
                else:
                    begin = zero
                    if t >= helper_steps and (few is None or t == ahead_until):
                        together = together or take_in(both, t)
                    end = both.middle if together or t < helper_steps else all_blocks
                    steps = steps_ahead(both, t, steps, together, t < helper_steps)
            h, h_next = (even, odd) if t % 2 == 0 else (odd, even)
            active, h_now = next_operand(
                cell, extras, rows, first, t, h, mask, options.masked, recurrent_dropout, scratch
            )
            while True:
                z_start = projected = 0
                if few is not None:
                    if t == ahead_until:
                        ahead_from, ahead_until = t, t + steps
                        inputs_ahead(
                            cell,
                            extras,
                            begin,
                            end,
                            first,
                            rows,
                            inputs,
                            t,
                            steps,
                            mask,
                            options.masked,
                            dropout,
                            scratch,
                        )
                    z_start = (t - ahead_from) * 4 * padded
                elif given is None:
                    projected = active
                x_start = inputs.start + first * inputs.row_stride + t * inputs.time_stride
                x = Operand(inputs.memory, x_start, inputs.row_stride, 0)
                x_now = operand(extras, x, projected, dropout, first, first + rows - 1, cell.input_dim, scratch.x)
                if shared is None or both.leads:
                    own_h_next = h_next
                backwards = t % 2 == 1
                z = Sums(scratch.z, z_start, z_row, None)
                sums = given_sums(given, call.sums, like, first, t)
                if few is not None and rows == 1 and not spans:
                    if scratch.skip[0]:
                        pass
                    elif extras is not None and h_now.gate != 0:
                        step_of_one_row(
                            cell,
                            activation,
                            recurrent_activation,
                            True,
                            begin,
                            end,
                            h_now,
                            z,
                            scratch.skip,
                            own_c,
                            own_h_next,
                            backwards,
                        )
                    else:
                        step_of_one_row(
                            cell,
                            activation,
                            recurrent_activation,
                            None,
                            begin,
                            end,
                            h_now,
                            z,
                            scratch.skip,
                            own_c,
                            own_h_next,
                            backwards,
                        )
                elif active > 0:
                    step(
                        cell,
                        activation,
                        recurrent_activation,
                        extras,
                        begin,
                        end,
                        active,
                        x_now,
                        h_now,
                        z,
                        z_of_all,
                        scratch,
                        own_c,
                        own_h_next,
                        backwards,
                        sums,
                    )
                if shared is not None and not both.leads:
                    together = announce(both, t)
                    if not together:
                        break
                    hand_over(rows, padded, begin * n, scratch, c, h_next)
                finish_step(cell, extras, begin, end, rows, first, t, scratch.skip, h, h_next, output, outputs, options)
                if shared is None:
                    break
                else:
                    if not together:
                        break
                    shared_steps += 1
                    if not both.leads:
                        together = wait_for_leader(both, t)
                        break
                    found = wait_for_helper(both, t)
                    if found == BOTH_DONE:
                        break
                    together, ahead_until = False, t + 1
                    if found == HELPER_LEFT:
                        helper_steps = done_by_helper(both)
                        break
                    # The leader makes up for it.
                    misses += 1
                    if misses == MISSES:
                        close(both)
                    begin, end, steps, ahead_until = both.middle, all_blocks, 1, t
            t += 1
        if shared is not None:
            if not both.leads:
                continue
            close(both)
        if timesteps % 2 == 1:
            for row in range(rows):
                copy(odd, row * padded, even, row * padded, padded)
    return shared_steps
