"""The CPU kernel: ``sequence`` runs rows through all timesteps, ``step`` advances a group of them by one.

Rows are independent, so a call may take any range of them, and threads take ranges of their own. Kernels check and
raise nothing: arguments are checked at the public boundary. Arguments that are None choose what is
compiled; see ``sequence`` for what they mean.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from numba_lstm.kernels.arguments import Call, Cell, GroupState, RowGroup, Scratch
from numba_lstm.kernels.blocks import States, Vectors, finish_block, spans_units, update_vectors
from numba_lstm.kernels.copies import blocks_of, copy, finish_step, input_operand, next_operand, padded_units
from numba_lstm.kernels.jit import larger, njit_helper, njit_inline, njit_kernel, smaller
from numba_lstm.kernels.simd import after, lanes, opened
from numba_lstm.kernels.sums import Matrix, block_sums, hoist_inputs, precomputed_sums
from numba_lstm.kernels.tile import Destination, Operand, Panel, Sums, depth_of, row_sums, row_sums_of_two


class StepOperands(NamedTuple):
    """The factors that a step multiplies with the weights, and the place of its sums."""

    x: Operand  # (rows, input_dim)
    h: Operand  # (rows, units)
    z: Sums  # of all blocks if there is room for them, as with scratch.hoisted_steps; otherwise of those being computed


@njit_helper
def row_of_z(call: Call) -> int:
    """From one row's sums to the next one's in scratch.z."""
    cell, hoisted_steps = call.cell, call.scratch.hoisted_steps
    blocks = blocks_of(cell)
    if hoisted_steps == 0 and not spans_units(cell):
        blocks = 4 if call.dropout.number == 4 or call.recurrent_dropout.number == 4 else 1
    return larger(hoisted_steps, 1) * blocks * 4 * lanes(cell.bias)  # type: ignore[no-any-return]


@njit_inline
def step_of_one_row(
    cell: Cell,
    functions: Any,
    mask_per_gate: Any,
    group: RowGroup,
    operands: StepOperands,
    skip: Any,
    state: GroupState,
) -> None:
    """One timestep of one row, two blocks of units at a time; group.begin is even. mask_per_gate: None if
    h.gate is 0.

    operands.x is not used: z holds the sums over x, of all blocks.
    """
    h, z = operands.h, operands.z
    n = lanes(z.array)
    wide, depth = 4 * n, depth_of(cell.recurrent_kernel, cell.units)
    size = wide * depth
    backwards = group.t % 2 == 1
    first = group.end - 1 if backwards else group.begin
    for _ in range(group.begin, group.end, 2):
        # Backwards goes through the same pairs, so that an odd block out is the same one.
        pair = first // 2 * 2
        panel = Panel(cell.recurrent_kernel, pair * size, depth, cell.block_length, None)
        if pair + 1 < group.end:
            a, b = row_sums_of_two(mask_per_gate, h, panel, panel.start + size)
            finish_block(cell, functions, pair, a, z, state)
            finish_block(cell, functions, pair + 1, b, z, state)
        else:
            finish_block(cell, functions, pair, row_sums(mask_per_gate, h, panel), z, state)
        first += -2 if backwards else 2
    if functions is not None:
        gates = Vectors(z.array, z.start + group.begin * wide, wide)
        states = States(state.c, state.h_next, group.begin * n, n)
        update_vectors(cell, functions, (group.end - group.begin) * n, gates, states, skip)


@njit_helper
def step(
    cell: Cell,
    functions: Any,
    has_masks: Any,
    precomputed_xw: Any,
    group: RowGroup,
    operands: StepOperands,
    scratch: Scratch,
    state: GroupState,
) -> None:
    """One timestep of a group of rows. Rows with a scratch.skip are left as they are.

    operands.x is not used if scratch.hoisted_steps, when z holds the sums over x already, or with precomputed_xw, as
    Sums of rows of [block][gate][lane], read only.
    """
    n = lanes(scratch.z)
    wide, padded = 4 * n, padded_units(cell)
    x, h, z = operands
    begin, end, rows = group.begin, group.end, group.rows
    spans = spans_units(cell)
    kernel = Matrix(cell.kernel, cell.input_dim, cell.block_length)
    recurrent_kernel = Matrix(cell.recurrent_kernel, cell.units, cell.block_length)
    partial = Sums(scratch.partial, 0, wide, None)
    # Four blocks at a time where gates have inputs of their own, see block_sums.
    width = 1
    if has_masks is not None and (x.gate != 0 or h.gate != 0):
        width = 4
    backwards = group.t % 2 == 1
    for turn in range(begin, end, width):
        first = larger(begin, begin + end - width - turn) if backwards else turn
        blocks = smaller(width, (begin + end - turn - first) if backwards else end - turn)
        sums = Sums(z.array, z.start + (first if scratch.hoisted_steps > 0 or spans else 0) * wide, z.row, None)
        base = sums
        if precomputed_xw is not None:
            base = Sums(precomputed_xw.array, precomputed_xw.start + first * wide, precomputed_xw.row, None)
        elif scratch.hoisted_steps == 0:
            to = Destination(partial, Sums(cell.bias, first * wide, 0, None), sums)
            block_sums(has_masks, kernel, first, blocks, x, rows, to)
        block_sums(has_masks, recurrent_kernel, first, blocks, h, rows, Destination(partial, base, sums))
        if not spans:
            for i in range(blocks):
                gates = Vectors(sums.array, sums.start + i * wide, sums.row)
                states = States(state.c, state.h_next, (first + i) * n, padded)
                update_vectors(cell, functions, rows * n, gates, states, scratch.skip)
    if functions is not None and spans:
        for row in range(rows):
            if not scratch.skip[row]:
                gates = Vectors(z.array, z.start + row * z.row, wide)
                states = States(state.c, state.h_next, row * padded, n)
                update_vectors(cell, functions, cell.units, gates, states, after(scratch.skip, row))


@njit_inline
def operands_of(
    call: Call, small_batch: Any, has_masks: Any, precomputed_xw: Any, group: RowGroup, state: GroupState, z_start: int
) -> tuple[int, StepOperands]:
    """How many rows of a group a step is to be made for, up to the last one that counts, and what it multiplies.

    z_start: where the timestep's sums over x begin in scratch.z, if they are there.
    """
    scratch = call.scratch
    active, h = next_operand(call, has_masks, group, state.h)
    projected = 0
    if small_batch is None and precomputed_xw is None:
        projected = active
    x = input_operand(call, has_masks, group, projected)
    return active, StepOperands(x, h, Sums(scratch.z, z_start, row_of_z(call), None))


@njit_inline
def states_of(call: Call, first: int, h_next: Any) -> tuple[GroupState, GroupState]:
    """The states of a group in even and in odd timesteps: h and the next h change places at every step."""
    at = first * padded_units(call.cell)
    h, c, output = after(call.state.h, at), after(call.state.c, at), after(call.state.output, at)
    return GroupState(h, h_next, c, output), GroupState(h_next, h, c, output)


@njit_inline
def finish_states(call: Call, rows: int, state: GroupState) -> None:
    """After the last timestep: h is where the caller looks for it. state: that of even timesteps."""
    padded = padded_units(call.cell)
    if call.timesteps % 2 == 1:
        for row in range(rows):
            copy(state.h_next, row * padded, state.h, row * padded, padded)


@njit_kernel
def sequence(address: int, dtypes: Any, functions: Any, small_batch: Any, has_masks: Any, precomputed_xw: Any) -> None:
    """Rows through all timesteps, as the record of the `Call` at ``address`` says.

    What is None is not compiled in. dtypes: see arguments.py. functions: the `Functions` of the cell; None if they are
    tanh and one of sigmoid and hard_sigmoid, which are computed in registers. small_batch:
    True for up to five rows, None for more. has_masks: True if there are masks of any kind. precomputed_xw: True if the
    sums over the inputs are there already; then small_batch is None and inputs are not used.
    """
    call = opened(address, dtypes, Call)
    cell, scratch, blocks, spans = call.cell, call.scratch, blocks_of(call.cell), spans_units(call.cell)
    # Not a literal: numba would compile what it is handed to once for zero and once for any number.
    zero: Any = np.intp(0)
    for first in range(call.first_row, call.last_row, scratch.group):
        rows = smaller(scratch.group, call.last_row - first)
        even, odd = states_of(call, first, scratch.h_next)
        hoisted_from = hoisted_until = z_start = zero
        for t in range(call.timesteps):
            group, state = RowGroup(first, rows, zero, blocks, t), even if t % 2 == 0 else odd
            if small_batch is not None:
                if t == hoisted_until:
                    hoisted_from, hoisted_until = t, t + smaller(scratch.hoisted_steps, call.timesteps - t)
                    hoist_inputs(call, has_masks, group, hoisted_until - t)
                z_start = (t - hoisted_from) * 4 * padded_units(cell)
            active, operands = operands_of(call, small_batch, has_masks, precomputed_xw, group, state, z_start)
            if active == 0:
                pass
            elif small_batch is not None and rows == 1 and not spans:
                if has_masks is not None and operands.h.gate != 0:
                    step_of_one_row(cell, functions, True, group, operands, scratch.skip, state)
                else:
                    step_of_one_row(cell, functions, None, group, operands, scratch.skip, state)
            else:
                counting = RowGroup(first, active, zero, blocks, t)
                sums = precomputed_sums(precomputed_xw, call.sums, group)
                step(cell, functions, has_masks, sums, counting, operands, scratch, state)
            finish_step(call, has_masks, group, state)
        finish_states(call, rows, even)
