"""The CPU kernels: ``step`` advances a group of rows by one timestep, ``sequence`` runs rows through all of theirs.

Rows never meet, so a call may take any range of them, and threads take ranges of their own. Kernels check nothing and
raise nothing: the driver has. Activations come as a number in Cell and a ``function``, see apply.apply.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_lstm.kernels.arguments import Cell, Masks, Options, Scratch, State, Window
from numba_lstm.kernels.copies import copy, masked_outputs, operand
from numba_lstm.kernels.jit import inlined, inner, kernel
from numba_lstm.kernels.opening import open_cell, open_masks, open_scratch, open_window
from numba_lstm.kernels.simd import after, lanes, memory_at
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
from numba_lstm.kernels.tile import Operand, Panel, Sums, depth_of, project, row_sums, row_sums_of_two
from numba_lstm.kernels.update import finish_block, spans_units, update, update_rows


@inner
def input_sums(cell: Cell, extras: Any, block: int, x: Operand, rows: int, partial: Any, z: Sums) -> None:
    """z = x @ kernel + bias for one block of units."""
    wide = 4 * lanes(cell.bias)
    depth = depth_of(cell.kernel, cell.input_dim)
    panel = Panel(cell.kernel, block * wide * depth, depth, cell.block_length)
    project(extras, x, rows, panel, Sums(partial, 0, wide), Sums(cell.bias, block * wide, 0), z)


@inner
def recurrent_sums(
    cell: Cell, extras: Any, block: int, h: Operand, rows: int, partial: Any, base: Sums, z: Sums
) -> None:
    """z = base + h @ recurrent_kernel for one block of units."""
    wide = 4 * lanes(cell.bias)
    depth = depth_of(cell.recurrent_kernel, cell.units)
    panel = Panel(cell.recurrent_kernel, block * wide * depth, depth, cell.block_length)
    project(extras, h, rows, panel, Sums(partial, 0, wide), base, z)


@inlined
def step_of_one_row(
    cell: Cell,
    activation: Any,
    recurrent_activation: Any,
    begin: int,
    end: int,
    h: Operand,
    z: Sums,
    c: Any,
    h_next: Any,
    backwards: bool,
) -> None:
    """One timestep of one row whose gates share h, two blocks of units at a time; begin is even. See step."""
    wide = 4 * lanes(z.array)
    depth = depth_of(cell.recurrent_kernel, cell.units)
    size = wide * depth
    first = end - 1 if backwards else begin
    for _ in range(begin, end, 2):
        # Backwards goes through the same pairs, so that an odd block out is the same one.
        pair = first // 2 * 2
        panel = Panel(cell.recurrent_kernel, pair * size, depth, cell.block_length)
        at = z.start + pair * wide
        if pair + 1 < end:
            a, b = row_sums_of_two(h, panel, panel.start + size)
            finish_block(cell, activation, recurrent_activation, pair, a, z.array, at, c, h_next)
            finish_block(cell, activation, recurrent_activation, pair + 1, b, z.array, at + wide, c, h_next)
        else:
            finish_block(cell, activation, recurrent_activation, pair, row_sums(h, panel), z.array, at, c, h_next)
        first += -2 if backwards else 2


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
    z_block: int,
    scratch: Scratch,
    c: Any,
    h_next: Any,
    backwards: bool,
    given: Any = None,
) -> None:
    """One timestep of a group of rows, for the blocks of units [begin, end): all of them if an activation spans units.

    x: (rows, input_dim); not used if scratch.ahead, when z holds the sums over x already, or if they are given
    elsewhere, as Sums of rows of [block][gate][lane], read only. h: (rows, units), not in
    h_next. z: row r's sums of block b at z.start + r * z.row + b * z_block. c: (rows, padded units), updated in
    place. h_next: (rows, padded units), written. Rows with a scratch.skip are left as they are.
    backwards: take the blocks from the last to the first; the weights used last are still in the cache.
    """
    n = lanes(scratch.z)
    padded = (cell.units + n - 1) // n * n
    spans = spans_units(cell)
    for turn in range(begin, end):
        block = begin + end - 1 - turn if backwards else turn
        sums = Sums(z.array, z.start + block * z_block, z.row)
        if given is not None:
            base = Sums(given.array, given.start + block * 4 * n, given.row)
            recurrent_sums(cell, extras, block, h, rows, scratch.partial, base, sums)
        else:
            if scratch.ahead == 0:
                input_sums(cell, extras, block, x, rows, scratch.partial, sums)
            recurrent_sums(cell, extras, block, h, rows, scratch.partial, sums, sums)
        if not spans:
            update_rows(cell, activation, recurrent_activation, block, rows, sums, scratch.skip, c, h_next)
    if spans:
        for row in range(rows):
            if not scratch.skip[row]:
                at, here = row * padded, z.start + row * z.row
                update(cell, activation, recurrent_activation, cell.units, z.array, here, c, h_next, at)


@inner
def given_sums(given: Any, like: Any, row: int, t: int) -> Any:
    """Where the sums over x of a timestep begin, from that row on; None if they are not given."""
    if given is None:
        return None
    start = given.start + row * given.row_stride + t * given.time_stride
    return Sums(memory_at(given.memory, like), start, given.row_stride)


@inner
def all_masked(mask: Window, row: int, t: int, steps: int) -> bool:
    """Whether none of these timesteps of a row counts."""
    for at in range(t, t + steps):
        if mask.memory[mask.start + row * mask.row_stride + at * mask.time_stride] != 0:
            return False
    return True


@inner
def inputs_ahead(
    cell: Cell,
    extras: Any,
    begin: int,
    end: int,
    first_row: int,
    rows: int,
    inputs: Window,
    t: int,
    steps: int,
    mask: Window,
    masked: bool,
    dropout: Masks,
    scratch: Scratch,
) -> None:
    """The sums over x of several timesteps of each row that has one to count: the weights are read once for them."""
    n = lanes(scratch.z)
    wide = 4 * n
    all_blocks = (cell.units + n - 1) // n
    for row in range(rows):
        if extras is not None and masked and all_masked(mask, first_row + row, t, steps):
            continue
        start = inputs.start + (first_row + row) * inputs.row_stride + t * inputs.time_stride
        x = Operand(inputs.memory, start, inputs.time_stride, 0)
        at = first_row + row
        x_now = operand(extras, x, steps, dropout, at, at, cell.input_dim, scratch.x)
        for block in range(begin, end):
            z = Sums(scratch.z, (row * scratch.ahead * all_blocks + block) * wide, all_blocks * wide)
            input_sums(cell, extras, block, x_now, steps, scratch.partial, z)


@kernel
def input_sums_of_all(
    like: Any,
    kept: Any,
    taken: Any,
    cell: Cell,
    first: int,
    last: int,
    group: int,
    inputs: Window,
    outputs: Window,
    partial: int,
    rounded: int,
) -> None:
    """outputs = x @ kernel + bias for the rows [first, last) of one sequence of inputs, ``group`` rows at a time.

    like, kept, taken: as of sequence. inputs: (0, row) -> input_dim numbers; read only. outputs: (0, row) ->
    [block][gate][lane], written. partial, rounded: addresses of scratch, group times four vectors, and room for the
    inputs in bf16 if that is what is taken.
    """
    cell = open_cell(cell, like, kept)
    wide = 4 * lanes(cell.bias)
    sources, sums = memory_at(inputs.memory, like), memory_at(outputs.memory, like)
    for row in range(first, last, group):
        x = Operand(sources, inputs.start + row * inputs.time_stride, inputs.time_stride, 0)
        rows = min(group, last - row)
        x_now = operand(None, x, rows, Masks(sources, 0, 0), 0, 0, cell.input_dim, memory_at(rounded, taken))
        for block in range(outputs.time_stride // wide):
            z = Sums(sums, outputs.start + row * outputs.time_stride + block * wide, outputs.time_stride)
            input_sums(cell, None, block, x_now, rows, memory_at(partial, like), z)


@inlined
def next_operand(
    cell: Cell,
    extras: Any,
    rows: int,
    first: int,
    t: int,
    h: Any,
    mask: Window,
    masked: bool,
    recurrent_dropout: Masks,
    scratch: Scratch,
) -> Any:
    """What a step needs of the state: how many rows up to the last one that counts, and h as it is multiplied.

    With the longest rows first, padding so costs next to nothing. scratch.skip is set.
    """
    n = lanes(cell.bias)
    padded = (cell.units + n - 1) // n * n
    active, last = rows, first + rows - 1
    if extras is not None and masked:
        active = 0
        for row in range(rows):
            at = mask.start + (first + row) * mask.row_stride + t * mask.time_stride
            scratch.skip[row] = mask.memory[at] == 0
            active = active if scratch.skip[row] else row + 1
    h_rows = Operand(h, 0, padded, 0)
    return active, operand(extras, h_rows, active, recurrent_dropout, first, last, cell.units, scratch.h)


@inlined
def finish_step(
    cell: Cell,
    extras: Any,
    begin: int,
    end: int,
    rows: int,
    first: int,
    t: int,
    skip: Any,
    h: Any,
    h_next: Any,
    output: Any,
    outputs: Window,
    options: Options,
) -> None:
    """What follows the equations in a timestep, for the blocks of units [begin, end): masked rows, and the outputs."""
    n = lanes(cell.bias)
    padded = (cell.units + n - 1) // n * n
    source = h_next
    if extras is not None and options.masked:
        masked_outputs(rows, padded, begin * n, end * n, skip, h, h_next, output, options)
        source = output
    if options.return_sequences:
        for row in range(rows):
            to = outputs.start + (first + row) * outputs.row_stride + t * outputs.time_stride + begin * n
            copy(source, row * padded + begin * n, outputs.memory, to, min(end * n, cell.units) - begin * n)


@inner
def hand_over(rows: int, padded: int, begin: int, scratch: Scratch, c: Any, h_next: Any) -> None:
    """The helper of a team: what it has computed of the units from ``begin`` on becomes both threads'."""
    for row in range(rows):
        if not scratch.skip[row]:
            at = row * padded + begin
            copy(scratch.c, at, c, at, padded - begin)
            copy(scratch.h_next, at, h_next, at, padded - begin)


@kernel
def sequence(
    like: Any,
    kept: Any,
    taken: Any,
    cell: Cell,
    activation: Any,
    recurrent_activation: Any,
    few: Any,
    extras: Any,
    first_row: int,
    last_row: int,
    timesteps: int,
    inputs: Window,
    given: Any,
    mask: Window,
    dropout: Masks,
    recurrent_dropout: Masks,
    state: State,
    outputs: Window,
    options: Options,
    scratch: Scratch,
    team: Any,
) -> int:
    """Rows [first_row, last_row) through all timesteps.

    like: a number of the dtype. kept: one of what the weights are kept as: the same, or uint16 for bf16, or uint32 for
    words of two bf16. taken: uint16 with such words, because inputs and h are rounded too, otherwise like. few: True
    for the way of up to five rows, None for that of more. extras: True if there are masks of any kind, None if not.
    (What is None here is not compiled in.) inputs: (row, timestep) -> input_dim numbers; read only. given: None, or
    (row, timestep) -> the sums over them as input_sums_of_all makes them, read only; then few is None and inputs are
    not used. mask: (row, timestep) -> a byte, nonzero where the step counts; read only. state: of the whole batch.
    outputs: (row, timestep) -> units numbers, written at every step with return_sequences; otherwise not touched (the
    last output is in state.output with a mask, in state.h without).
    team: None, or a thread's place in a Team: both threads call this with the same arguments but for scratch, there are
    scratch.group rows at most, ``given`` is None and no activation spans units. The leader returns when all is done,
    the helper when it is no longer needed, perhaps later; it touches nothing that both use by then. Returns in how many
    steps both took part.
    """
    cell = open_cell(cell, like, kept)
    scratch = open_scratch(scratch, like, taken)
    inputs, outputs, mask = open_window(inputs, like), open_window(outputs, like), open_window(mask, np.uint8(0))
    dropout, recurrent_dropout = open_masks(dropout, like), open_masks(recurrent_dropout, like)
    n = lanes(cell.bias)
    all_blocks = (cell.units + n - 1) // n
    padded = all_blocks * n
    spans = spans_units(cell)
    z_block = 4 * n if scratch.ahead > 0 or spans else 0
    z_row = max(scratch.ahead, 1) * (4 * padded if z_block > 0 else 4 * n)
    # Not a literal: numba would compile what it is handed to once for zero and once for any number.
    zero: Any = np.intp(0)
    shared_steps = zero
    for first in range(first_row, last_row, scratch.group):
        rows = min(scratch.group, last_row - first)
        # h and the next h change places at every step.
        even, odd = after(memory_at(state.h, like), first * padded), scratch.h_next
        c = after(memory_at(state.c, like), first * padded)
        output = after(memory_at(state.output, like), first * padded)
        # In a team the helper writes elsewhere at first, see hand_over.
        own_c, own_h_next = c, scratch.h_next
        t = begin = ahead_from = ahead_until = zero
        end = all_blocks
        if team is not None:
            both = open_team(team, like)
            odd = both.h_next
            together = False
            helper_steps = misses = zero
            if not both.leads:
                begin, own_c = both.middle, scratch.c
        while t < timesteps:
            steps = min(scratch.ahead, timesteps - t)
            if team is not None:
                if not both.leads:
                    if not together:
                        t = arrive(both)
                        if t < 0:
                            break
                        together, ahead_until, steps = True, t, min(scratch.ahead, timesteps - t)
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
                if team is None or both.leads:
                    own_h_next = h_next
                backwards = t % 2 == 1
                z = Sums(scratch.z, z_start, z_row)
                sums = given_sums(given, like, first, t)
                if few is not None and rows == 1 and h_now.gate == 0 and not spans:
                    if not scratch.skip[0]:
                        step_of_one_row(
                            cell,
                            activation,
                            recurrent_activation,
                            begin,
                            end,
                            h_now,
                            z,
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
                        z_block,
                        scratch,
                        own_c,
                        own_h_next,
                        backwards,
                        sums,
                    )
                if team is not None and not both.leads:
                    together = announce(both, t)
                    if not together:
                        break
                    hand_over(rows, padded, begin * n, scratch, c, h_next)
                finish_step(cell, extras, begin, end, rows, first, t, scratch.skip, h, h_next, output, outputs, options)
                if team is None:
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
        if team is not None:
            if not both.leads:
                continue
            close(both)
        if timesteps % 2 == 1:
            for row in range(rows):
                copy(odd, row * padded, even, row * padded, padded)
    return int(shared_steps)
