"""The kernel of streaming: ``step_stages`` takes all layers of a model one timestep further in one call.

A call from Python costs more than the arithmetic of a small cell, and each argument adds to it. So everything that
stays the same stands in a plan, a flat array of integers written once, and a call hands over its address.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_lstm.kernels.apply import apply
from numba_lstm.kernels.arguments import Cell, GroupState, RowGroup, Scratch, StepPlan, StepStage
from numba_lstm.kernels.blocks import spans_units
from numba_lstm.kernels.codes import SOFTMAX
from numba_lstm.kernels.copies import blocks_of, copy, padded_units
from numba_lstm.kernels.cpu import StepOperands, step, step_of_one_row
from numba_lstm.kernels.jit import njit_helper, njit_inline, njit_kernel, smaller
from numba_lstm.kernels.normalizations import softmax
from numba_lstm.kernels.simd import after, lanes, memory_at, opened
from numba_lstm.kernels.tile import (
    Destination,
    Operand,
    Panel,
    Sums,
    load4,
    project,
    row_sums,
    row_sums_of_two,
    store4,
    sum4,
)

PLAN_BYTES, STAGE_BYTES = 8 * len(StepPlan._fields), 8 * len(StepStage._fields)


@njit_inline
def inputs_of_one_row(cell: Cell, x: Operand, z: Any, backwards: bool) -> None:
    """z = x @ kernel + bias for all blocks of one row, two of them at a time."""
    n = lanes(z)
    wide = 4 * n
    all_blocks = (cell.units + n - 1) // n
    size = wide * cell.input_dim
    first = all_blocks - 1 if backwards else 0
    for _ in range(0, all_blocks, 2):
        pair = first // 2 * 2
        panel = Panel(cell.kernel, pair * size, cell.input_dim, cell.block_length, None)
        at = pair * wide
        if pair + 1 < all_blocks:
            a, b = row_sums_of_two(None, x, panel, panel.start + size)
            store4(z, at, sum4(load4(cell.bias, at, None), a), None)
            store4(z, at + wide, sum4(load4(cell.bias, at + wide, None), b), None)
        else:
            store4(z, at, sum4(load4(cell.bias, at, None), row_sums(None, x, panel)), None)
        first += -2 if backwards else 2


@njit_helper
def step_cell(cell: Cell, functions: Any, many: Any, plan: StepPlan, stage: StepStage, x: Operand) -> Operand:
    """One timestep of one cell for all rows; returns its h."""
    n, all_blocks, padded = lanes(cell.bias), blocks_of(cell), padded_units(cell)
    h, h_next = (stage.h_next, stage.h) if plan.turn == 1 else (stage.h, stage.h_next)
    c, z, skip = stage.c, plan.z, plan.skip
    if many is None:
        inputs_of_one_row(cell, x, z, plan.turn == 1)
        group, state = RowGroup(0, 1, 0, all_blocks, plan.turn), GroupState(h, h_next, c, h)
        operands = StepOperands(x, Operand(h, 0, padded, 0), Sums(z, 0, 0, None))
        step_of_one_row(cell, functions, None, group, operands, skip, state)
    else:
        scratch = Scratch(plan.group, 0, z, plan.partial, z, z, z, z, skip)
        sums = Sums(z, 0, 4 * padded if spans_units(cell) else 4 * n, None)
        for first in range(0, plan.rows, plan.group):
            group = RowGroup(first, smaller(plan.group, plan.rows - first), 0, all_blocks, plan.turn)
            at = first * padded
            state = GroupState(after(h, at), after(h_next, at), after(c, at), after(h, at))
            x_now, h_now = Operand(x.array, x.start + first * x.row, x.row, 0), Operand(h, at, padded, 0)
            step(cell, functions, None, None, group, StepOperands(x_now, h_now, sums), scratch, state)
    return Operand(h_next, 0, padded, 0)


@njit_helper
def step_head(like: Any, activation: Any, plan: StepPlan, stage: StepStage, x: Operand) -> Operand:
    """A dense layer or an activation for all rows; returns what it gives."""
    z = stage.h
    n = lanes(z)
    wide = 4 * n
    z_row = (stage.units + wide - 1) // wide * wide
    if stage.kernel != 0:
        kernel, bias = memory_at(stage.kernel, like), memory_at(stage.bias, like)
        partial = Sums(plan.partial, 0, wide, None)
        for first in range(0, plan.rows, plan.group):
            rows = smaller(plan.group, plan.rows - first)
            operand = Operand(x.array, x.start + first * x.row, x.row, 0)
            for unit in range(0, stage.units, wide):
                panel = Panel(kernel, unit * stage.input_dim, stage.input_dim, stage.block_length, None)
                to = Destination(partial, Sums(bias, unit, 0, None), Sums(z, first * z_row + unit, z_row, None))
                project(None, operand, rows, panel, to)
    else:
        for row in range(plan.rows):
            copy(x.array, x.start + row * x.row, z, row * z_row, stage.units)
    for row in range(plan.rows):
        if stage.activation == SOFTMAX:
            softmax(z, row * z_row, n, stage.units)
        elif activation is not None:
            apply(stage.activation, activation, z, row * z_row, n, stage.units)
    return Operand(z, 0, z_row, 0)


@njit_kernel
def step_stages(address: int, dtypes: Any, functions: Any, head: Any, head_activation: Any, many: Any) -> None:
    """All stages of the `StepPlan` at ``address``, one timestep; the states in it are updated.

    functions: of all cells, see cpu.sequence; head_activation: of all heads, the ``function`` of apply.apply, or None
    for softmax alone. head: True if there are any, None if not. many: None if there is one row and no cell for which
    spans_units holds, True otherwise. (What is None here is not compiled in.)
    """
    plan, first = opened(address, dtypes, StepPlan), address + PLAN_BYTES
    width = opened(first, dtypes, StepStage).input_dim
    x = Operand(plan.inputs, 0, width, 0)
    for number in range(plan.stages):
        at = first + number * STAGE_BYTES
        stage = opened(at, dtypes, StepStage)
        width = stage.units
        if stage.recurrent_kernel != 0:
            x = step_cell(opened(at, dtypes, Cell), functions, many, plan, stage, x)
        elif head is not None:
            x = step_head(dtypes[0], head_activation, plan, stage, x)
    for row in range(plan.rows):
        copy(x.array, row * x.row, plan.outputs, row * width, width)
    memory_at(address, np.int64(0))[0] = 1 - plan.turn
