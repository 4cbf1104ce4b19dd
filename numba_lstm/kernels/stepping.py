"""The kernel of streaming: ``step_chain`` takes all layers of a model one timestep further in one call.

A call from Python costs more than the arithmetic of a small cell, and each argument adds to it. So everything that
stays the same stands in a plan, a flat array of integers written once, and a call hands over its address.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from numba_lstm.kernels.apply import apply
from numba_lstm.kernels.arguments import Cell, GroupState, RowGroup, Scratch
from numba_lstm.kernels.blocks import spans_units
from numba_lstm.kernels.copies import blocks_of, copy, padded_units
from numba_lstm.kernels.cpu import StepOperands, step, step_of_one_row
from numba_lstm.kernels.jit import njit_helper, njit_inline, njit_kernel, smaller
from numba_lstm.kernels.normalizations import SOFTMAX, softmax
from numba_lstm.kernels.opening import open_cell
from numba_lstm.kernels.simd import after, lanes, memory_at
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


class StepPlan(NamedTuple):
    """The first numbers of a plan; arrays by their addresses, flat."""

    turn: int  # 0 or 1: which of its two arrays h each cell reads; the kernel turns it round
    stages: int
    rows: int
    group: int  # rows that share one pass over the weights
    inputs: int  # (rows, input_dim) of the first stage; read only
    outputs: int  # (rows, units) of the last stage; written
    z: int  # scratch, [row < group][gate][lane], or [row < group][block][gate][lane] with one row or spans_units
    partial: int  # scratch, [row < group][gate][lane]
    skip: int  # (group,) bytes, all zero


class StepStage(NamedTuple):
    """The numbers of one cell, or of one head: a dense layer, or an activation by itself (kernel 0)."""

    kernel: int  # see arguments.Cell, and pack.pack_units for a head
    recurrent_kernel: int  # 0 for a head
    bias: int
    input_dim: int
    units: int
    block_length: int
    activation: int
    recurrent_activation: int
    h: int  # a cell's two arrays (rows, padded units), read and written in turn; of a head (rows, units padded to
    h_next: int  # four vectors) what it gives, and nothing
    c: int  # (rows, padded units)


@njit_helper
def read_plan(plan: Any) -> StepPlan:
    """The first numbers."""
    return StepPlan(
        int(plan[0]),
        int(plan[1]),
        int(plan[2]),
        int(plan[3]),
        int(plan[4]),
        int(plan[5]),
        int(plan[6]),
        int(plan[7]),
        int(plan[8]),
    )


@njit_helper
def read_stage(plan: Any, number: int) -> StepStage:
    """The numbers of one stage: they follow the first ones, stage by stage."""
    at = 9 + 11 * number
    return StepStage(
        int(plan[at]),
        int(plan[at + 1]),
        int(plan[at + 2]),
        int(plan[at + 3]),
        int(plan[at + 4]),
        int(plan[at + 5]),
        int(plan[at + 6]),
        int(plan[at + 7]),
        int(plan[at + 8]),
        int(plan[at + 9]),
        int(plan[at + 10]),
    )


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
def step_cell(like: Any, functions: Any, many: Any, plan: StepPlan, stage: StepStage, x: Operand) -> Operand:
    """One timestep of one cell for all rows; returns its h."""
    cell = open_cell(stage, like, like)
    n, all_blocks, padded = lanes(cell.bias), blocks_of(cell), padded_units(cell)
    h = memory_at(stage.h_next if plan.turn == 1 else stage.h, like)
    h_next = memory_at(stage.h if plan.turn == 1 else stage.h_next, like)
    c, z = memory_at(stage.c, like), memory_at(plan.z, like)
    skip = memory_at(plan.skip, np.uint8(0))
    if many is None:
        inputs_of_one_row(cell, x, z, plan.turn == 1)
        group, state = RowGroup(0, 1, 0, all_blocks, plan.turn), GroupState(h, h_next, c, h)
        operands = StepOperands(x, Operand(h, 0, padded, 0), Sums(z, 0, 0, None))
        step_of_one_row(cell, functions, None, group, operands, skip, state)
    else:
        partial = memory_at(plan.partial, like)
        scratch = Scratch(plan.group, 0, z, partial, z, z, z, z, skip)
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
    z = memory_at(stage.h, like)
    n = lanes(z)
    wide = 4 * n
    z_row = (stage.units + wide - 1) // wide * wide
    if stage.kernel != 0:
        kernel, bias = memory_at(stage.kernel, like), memory_at(stage.bias, like)
        partial = Sums(memory_at(plan.partial, like), 0, wide, None)
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
def step_chain(like: Any, functions: Any, head: Any, head_activation: Any, many: Any, address: int) -> None:
    """All stages of the plan at ``address``, one timestep; the states in it are updated.

    like: a number of the dtype. functions: of all cells, see cpu.sequence; head_activation: of all heads, the
    ``function`` of apply.apply, or None for softmax alone. head: True if there are any, None if not. many: None if
    there is one row and no cell for which spans_units holds, True otherwise. (What is None here is not compiled in.)
    """
    numbers = memory_at(address, np.int64(0))
    plan = read_plan(numbers)
    width = read_stage(numbers, 0).input_dim
    x = Operand(memory_at(plan.inputs, like), 0, width, 0)
    for number in range(plan.stages):
        stage = read_stage(numbers, number)
        width = stage.units
        if stage.recurrent_kernel != 0:
            x = step_cell(like, functions, many, plan, stage, x)
        elif head is not None:
            x = step_head(like, head_activation, plan, stage, x)
    outputs = memory_at(plan.outputs, like)
    for row in range(plan.rows):
        copy(x.array, row * x.row, outputs, row * width, width)
    numbers[0] = 1 - plan.turn
