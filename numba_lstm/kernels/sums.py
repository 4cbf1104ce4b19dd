"""The sums of a step before any activation: inputs and h times the packed weights, block of units by block."""

from __future__ import annotations

from typing import Any, NamedTuple

from numba_lstm.kernels.arguments import Call, Masks, RowGroup, SumsCall, Window
from numba_lstm.kernels.copies import blocks_of, operand
from numba_lstm.kernels.jit import njit_helper, njit_inline, njit_kernel, smaller
from numba_lstm.kernels.simd import lanes, opened
from numba_lstm.kernels.tile import Destination, Operand, Panel, Sums, depth_of, project


class Matrix(NamedTuple):
    """Packed weights [block][k < width][gate][lane]; read only."""

    memory: Any
    width: int
    block_length: int  # see arguments.Cell


@njit_inline
def block_sums(
    has_masks: Any, weights: Matrix, block: int, blocks: int, x: Operand, rows: int, to: Destination
) -> None:
    """to.z = to.base + x @ weights for ``blocks`` neighbouring blocks of units, one to four.

    base and z: where the first block's sums are; those of the others follow.
    """
    n = lanes(weights.memory)
    wide, depth = 4 * n, depth_of(weights.memory, weights.width)
    size = wide * depth
    base, z = to.base, to.z
    if has_masks is not None and x.gate != 0 and blocks == 4:
        # A gate of four blocks is four vectors that share x, as four gates of a block are elsewhere.
        for gate in range(4):
            at = gate * n
            panel = Panel(weights.memory, block * size + at, depth, weights.block_length, size)
            of_gate = Destination(
                to.partial,
                Sums(base.array, base.start + at, base.row, wide),
                Sums(z.array, z.start + at, z.row, wide),
            )
            project(None, Operand(x.array, x.start + gate * x.gate, x.row, 0), rows, panel, of_gate)
    else:
        for i in range(blocks):
            panel = Panel(weights.memory, (block + i) * size, depth, weights.block_length, None)
            at = i * wide
            of_block = Destination(
                to.partial,
                Sums(base.array, base.start + at, base.row, None),
                Sums(z.array, z.start + at, z.row, None),
            )
            project(has_masks, x, rows, panel, of_block)


@njit_helper
def precomputed_sums(precomputed_xw: Any, sums: Window, group: RowGroup) -> Any:
    """Where the sums over x of a timestep begin, from the group's first row on; None if they are not precomputed."""
    if precomputed_xw is None:
        return None
    start = sums.start + group.first * sums.row_stride + group.t * sums.time_stride
    return Sums(sums.memory, start, sums.row_stride, None)


@njit_helper
def all_masked(mask: Window, row: int, t: int, steps: int) -> bool:
    """Whether none of these timesteps of a row counts."""
    for at in range(t, t + steps):
        if mask.memory[mask.start + row * mask.row_stride + at * mask.time_stride] != 0:
            return False
    return True


@njit_helper
def hoist_inputs(call: Call, has_masks: Any, group: RowGroup, steps: int) -> None:
    """The sums over x of timesteps from group.t on, into scratch.z; of each row that has one to count.

    The weights are read once for all timesteps.
    """
    cell, inputs, scratch = call.cell, call.inputs, call.scratch
    wide, all_blocks = 4 * lanes(scratch.z), blocks_of(cell)
    partial, weights = Sums(scratch.partial, 0, wide, None), Matrix(cell.kernel, cell.input_dim, cell.block_length)
    for row in range(group.rows):
        at = group.first + row
        if has_masks is not None and call.options.masked and all_masked(call.mask, at, group.t, steps):
            continue
        start = inputs.start + at * inputs.row_stride + group.t * inputs.time_stride
        x = Operand(inputs.memory, start, inputs.time_stride, 0)
        x_now = operand(has_masks, x, steps, call.dropout, at, at, cell.input_dim, scratch.x)
        for block in range(group.begin, group.end, 4):
            z = Sums(scratch.z, (row * scratch.hoisted_steps * all_blocks + block) * wide, all_blocks * wide, None)
            to = Destination(partial, Sums(cell.bias, block * wide, 0, None), z)
            block_sums(has_masks, weights, block, smaller(4, group.end - block), x_now, steps, to)


@njit_kernel
def input_sums_of_all(address: int, dtypes: Any) -> None:
    """outputs = x @ kernel + bias as the record of the `SumsCall` at ``address`` says. dtypes: see arguments.py."""
    call = opened(address, dtypes, SumsCall)
    cell, inputs, outputs = call.cell, call.inputs, call.outputs
    wide, depth = 4 * lanes(cell.bias), depth_of(cell.kernel, cell.input_dim)
    partial = Sums(call.partial, 0, wide, None)
    for row in range(call.first, call.last, call.group):
        x = Operand(inputs.memory, inputs.start + row * inputs.time_stride, inputs.time_stride, 0)
        rows = smaller(call.group, call.last - row)
        x_now = operand(None, x, rows, Masks(inputs.memory, 0, 0), 0, 0, cell.input_dim, call.rounded)
        for block in range(outputs.time_stride // wide):
            start = outputs.start + row * outputs.time_stride + block * wide
            z = Sums(outputs.memory, start, outputs.time_stride, None)
            panel = Panel(cell.kernel, block * wide * depth, depth, cell.block_length, None)
            project(None, x_now, rows, panel, Destination(partial, Sums(cell.bias, block * wide, 0, None), z))
