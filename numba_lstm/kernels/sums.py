"""The sums of a step before any activation: inputs and h times the packed weights, block of units by block."""

from __future__ import annotations

from typing import Any

from numba_lstm.kernels.arguments import Cell, Masks, Scratch, Window
from numba_lstm.kernels.copies import operand
from numba_lstm.kernels.jit import inner, kernel, merged, smaller
from numba_lstm.kernels.opening import open_cell
from numba_lstm.kernels.simd import lanes, memory_at
from numba_lstm.kernels.tile import Operand, Panel, Sums, depth_of, project


@merged
def block_sums(
    extras: Any,
    weights: Any,
    width: int,
    block_length: int,
    block: int,
    blocks: int,
    x: Operand,
    rows: int,
    partial: Any,
    base: Sums,
    z: Sums,
) -> None:
    """z = base + x @ weights for so many neighbouring blocks of units, one to four; x has ``width`` columns.

    base and z: where the first block's sums are; those of the others follow.
    """
    n = lanes(weights)
    wide, depth = 4 * n, depth_of(weights, width)
    size = wide * depth
    if extras is not None and x.gate != 0 and blocks == 4:
        # A gate of four blocks is four vectors that share x, as four gates of a block are elsewhere.
        for gate in range(4):
            at = gate * n
            panel = Panel(weights, block * size + at, depth, block_length, size)
            project(
                None,
                Operand(x.array, x.start + gate * x.gate, x.row, 0),
                rows,
                panel,
                Sums(partial, 0, wide, None),
                Sums(base.array, base.start + at, base.row, wide),
                Sums(z.array, z.start + at, z.row, wide),
            )
    else:
        for i in range(blocks):
            panel = Panel(weights, (block + i) * size, depth, block_length, None)
            at = i * wide
            project(
                extras,
                x,
                rows,
                panel,
                Sums(partial, 0, wide, None),
                Sums(base.array, base.start + at, base.row, None),
                Sums(z.array, z.start + at, z.row, None),
            )


@inner
def given_sums(given: Any, sums: Window, like: Any, row: int, t: int) -> Any:
    """Where the sums over x of a timestep begin, from that row on; None if they are not given."""
    if given is None:
        return None
    start = sums.start + row * sums.row_stride + t * sums.time_stride
    return Sums(memory_at(sums.memory, like), start, sums.row_stride, None)


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
        for block in range(begin, end, 4):
            z = Sums(scratch.z, (row * scratch.ahead * all_blocks + block) * wide, all_blocks * wide, None)
            bias, blocks = Sums(cell.bias, block * wide, 0, None), smaller(4, end - block)
            block_sums(
                extras,
                cell.kernel,
                cell.input_dim,
                cell.block_length,
                block,
                blocks,
                x_now,
                steps,
                scratch.partial,
                bias,
                z,
            )


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
        rows = smaller(group, last - row)
        x_now = operand(None, x, rows, Masks(sources, 0, 0), 0, 0, cell.input_dim, memory_at(rounded, taken))
        for block in range(outputs.time_stride // wide):
            z = Sums(sums, outputs.start + row * outputs.time_stride + block * wide, outputs.time_stride, None)
            bias, depth = Sums(cell.bias, block * wide, 0, None), depth_of(cell.kernel, cell.input_dim)
            panel = Panel(cell.kernel, block * wide * depth, depth, cell.block_length, None)
            project(None, x_now, rows, panel, Sums(memory_at(partial, like), 0, wide, None), bias, z)
