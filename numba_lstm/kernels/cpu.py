"""The CPU kernels: ``step`` advances a group of rows by one timestep, ``sequence`` runs rows through all of theirs.

Rows never meet, so a call may take any range of them, and threads take ranges of their own. All arrays are flat and
C-contiguous; offsets and strides count elements. Kernels check nothing and raise nothing: the driver has.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from numba_lstm.kernels import equations
from numba_lstm.kernels.apply import CUSTOM, SOFTMAX, apply
from numba_lstm.kernels.jit import inner, kernel
from numba_lstm.kernels.simd import lanes, load, store
from numba_lstm.kernels.tile import project

# Rows that share one pass over the weights: their scratch stays in the first-level cache.
GROUP = 48


class Cell(NamedTuple):
    """A cell as the kernels see it."""

    kernel: Any  # [block][k < input_dim][gate][lane], see pack.py; read only
    recurrent_kernel: Any  # [block][k < units][gate][lane]; read only
    bias: Any  # [block][gate][lane], zeros without a bias; read only
    input_dim: int
    units: int
    block_length: int  # k per block of a sum: the order of operations, chosen from the cell's shape alone
    activation: int  # numbers of apply.CODES, or CUSTOM
    recurrent_activation: int


class Window(NamedTuple):
    """Where (row, timestep) lies in a flat array: at start + row * row_stride + timestep * time_stride."""

    array: Any
    start: int
    row_stride: int
    time_stride: int


class Masks(NamedTuple):
    """Dropout masks, already scaled: flat (count, batch, width); count 0 (none), 1 (all gates) or 4 (one a gate)."""

    array: Any
    count: int
    batch: int


class State(NamedTuple):
    """What rows carry from step to step: flat (batch, padded units) each, updated in place; none may alias another."""

    h: Any
    c: Any
    output: Any  # the previous output, which a masked step repeats


class Options(NamedTuple):
    """What is written and what a mask does; plain numbers, so that one compiled kernel serves all."""

    return_sequences: bool
    masked: bool
    zero_output_for_mask: bool


@inner
def copy(source: Any, at: int, target: Any, to: int, count: int) -> None:
    """target[to : to + count] = source[at : at + count]"""
    n = lanes(source)
    whole = count - count % n
    for i in range(0, whole, n):
        store(target, to + i, load(source, at + i))
    for i in range(whole, count):
        target[to + i] = source[at + i]


@inner
def masked_copies(source: Any, at: int, masks: Masks, row: int, width: int, target: Any, to: int) -> None:
    """target = the source row times each of its masks, one after the other."""
    n = lanes(source)
    whole = width - width % n
    for mask in range(masks.count):
        factors = (mask * masks.batch + row) * width
        copies = to + mask * width
        for i in range(0, whole, n):
            store(target, copies + i, load(source, at + i) * load(masks.array, factors + i))
        for i in range(whole, width):
            target[copies + i] = source[at + i] * masks.array[factors + i]


@inner
def update(
    cell: Cell, activation: Any, recurrent_activation: Any, first: int, blocks: int, z: Any, z_h: Any, at: int, c: Any, c_at: int, h: Any, h_at: int
) -> None:
    """One row's equations for the units of ``blocks`` neighbouring blocks, the first being block ``first``.

    z, z_h: the sums over x and over h, [block][gate][lane] from ``at``; overwritten. c: updated in place, h: written,
    whole vectors of this row from c_at and h_at.
    """
    n = lanes(z)
    wide = 4 * n
    for i in range(0, blocks * wide, n):
        bias = load(cell.bias, first * wide + i)
        store(z, at + i, equations.preactivation(load(z, at + i), bias, load(z_h, at + i)))
    units = min(blocks * n, cell.units - first * n)
    apply(cell.recurrent_activation, recurrent_activation, z, at, wide, units)
    apply(cell.recurrent_activation, recurrent_activation, z, at + n, wide, units)
    apply(cell.activation, activation, z, at + 2 * n, wide, units)
    apply(cell.recurrent_activation, recurrent_activation, z, at + 3 * n, wide, units)
    for block in range(blocks):
        gates = at + block * wide
        i, f, candidate = load(z, gates), load(z, gates + n), load(z, gates + 2 * n)
        carry = equations.carry(i, f, candidate, load(c, c_at + block * n))
        store(c, c_at + block * n, carry)
        store(z, gates + 2 * n, carry)
    apply(cell.activation, activation, z, at + 2 * n, wide, units)
    for block in range(blocks):
        gates = at + block * wide
        store(h, h_at + block * n, equations.output(load(z, gates + 3 * n), load(z, gates + 2 * n)))


@inner
def spans_units(code: int) -> bool:
    """True for the activations that need all units of a row at once."""
    return SOFTMAX <= code < CUSTOM


@inner
def step(
    cell: Cell,
    activation: Any,
    recurrent_activation: Any,
    rows: int,
    x: Any,
    x_start: int,
    x_row: int,
    x_gate: int,
    h: Any,
    h_start: int,
    h_row: int,
    h_gate: int,
    skip: Any,
    c: Any,
    c_start: int,
    h_next: Any,
    z: Any,
    z_h: Any,
) -> None:
    """One timestep of a group of rows.

    x, h: the operands of the two sums, row r at start + r * row (gate: see tile.project); read only. skip: rows whose
    step is masked, left as they are. c: (rows, padded units) from c_start, updated in place. h_next: (rows, padded
    units), written; must not overlap h. z, z_h: scratch.
    """
    n = lanes(z)
    padded = (cell.units + n - 1) // n * n
    all_blocks = padded // n
    # As few blocks at a time as the activations allow: their sums are still in the first-level cache when used.
    blocks = all_blocks if spans_units(cell.activation) or spans_units(cell.recurrent_activation) else 1
    z_row = blocks * 4 * n
    for first in range(0, all_blocks, blocks):
        for block in range(blocks):
            panel = (first + block) * 4 * n
            at = block * 4 * n
            project(x, x_start, x_row, x_gate, rows, cell.kernel, panel * cell.input_dim, cell.input_dim, cell.block_length, z, at, z_row)
            project(h, h_start, h_row, h_gate, rows, cell.recurrent_kernel, panel * cell.units, cell.units, cell.block_length, z_h, at, z_row)
        for row in range(rows):
            if not skip[row]:
                at = row * padded + first * n
                update(cell, activation, recurrent_activation, first, blocks, z, z_h, row * z_row, c, c_start + at, h_next, at)


@kernel
def sequence(
    cell: Cell,
    activation: Any,
    recurrent_activation: Any,
    first_row: int,
    last_row: int,
    timesteps: int,
    inputs: Window,
    mask: Window,
    dropout: Masks,
    recurrent_dropout: Masks,
    state: State,
    outputs: Window,
    options: Options,
) -> None:
    """Rows [first_row, last_row) through all timesteps.

    activation, recurrent_activation: the user's compiled functions, or None where the cell's number says which.
    inputs: (row, timestep) -> input_dim numbers; read only. mask: (row, timestep) -> nonzero where the step counts;
    read only. state: of the whole batch. outputs: (row, timestep) -> units numbers, written at every step with
    return_sequences; otherwise not touched (the last output is in state.output with a mask, in state.h without).
    """
    n = lanes(state.h)
    padded = (cell.units + n - 1) // n * n
    rows_at_once = min(GROUP, last_row - first_row)
    spans = spans_units(cell.activation) or spans_units(cell.recurrent_activation)
    z = np.empty(rows_at_once * 4 * (padded if spans else n), state.h.dtype)
    z_h = np.empty_like(z)
    x_copies = np.empty(rows_at_once * dropout.count * cell.input_dim, state.h.dtype)
    h_copies = np.empty(rows_at_once * recurrent_dropout.count * cell.units, state.h.dtype)
    h_next = np.empty(rows_at_once * padded, state.h.dtype)
    skip = np.zeros(rows_at_once, np.uint8)
    for group in range(first_row, last_row, rows_at_once):
        rows = min(rows_at_once, last_row - group)
        h_start = group * padded
        for t in range(timesteps):
            x_start = inputs.start + group * inputs.row_stride + t * inputs.time_stride
            x, x_row, x_gate = inputs.array, inputs.row_stride, 0
            if dropout.count > 0:
                x_row, x_gate = dropout.count * cell.input_dim, (dropout.count // 4) * cell.input_dim
                for row in range(rows):
                    masked_copies(x, x_start + row * inputs.row_stride, dropout, group + row, cell.input_dim, x_copies, row * x_row)
                x, x_start = x_copies, 0
            h, h_at, h_row, h_gate = state.h, h_start, padded, 0
            if recurrent_dropout.count > 0:
                h_row, h_gate = recurrent_dropout.count * cell.units, (recurrent_dropout.count // 4) * cell.units
                for row in range(rows):
                    masked_copies(h, h_start + row * padded, recurrent_dropout, group + row, cell.units, h_copies, row * h_row)
                h, h_at = h_copies, 0
            if options.masked:
                for row in range(rows):
                    skip[row] = mask.array[mask.start + (group + row) * mask.row_stride + t * mask.time_stride] == 0
            step(cell, activation, recurrent_activation, rows, x, x_start, x_row, x_gate, h, h_at, h_row, h_gate, skip, state.c, h_start, h_next, z, z_h)
            for row in range(rows):
                at = h_start + row * padded
                if not skip[row]:
                    copy(h_next, row * padded, state.h, at, padded)
                    if options.masked:
                        copy(h_next, row * padded, state.output, at, padded)
                elif options.zero_output_for_mask:
                    state.output[at : at + padded] = 0
                if options.return_sequences:
                    source = state.output if options.masked else state.h
                    copy(source, at, outputs.array, outputs.start + (group + row) * outputs.row_stride + t * outputs.time_stride, cell.units)


@kernel
def dense(
    panel: Any, bias: Any, activation: int, function: Any, first_row: int, last_row: int, input_dim: int, units: int, block_length: int, inputs: Any, outputs: Any
) -> None:
    """activation(inputs @ kernel + bias) for rows [first_row, last_row), with the sums of the LSTM kernels.

    panel, bias: packed by pack.pack_units; inputs: flat (rows, input_dim); outputs: flat (rows, units), written.
    """
    n = lanes(inputs)
    wide = 4 * n
    groups = (units + wide - 1) // wide
    z_row = groups * wide
    z = np.empty(min(GROUP, last_row - first_row) * z_row, inputs.dtype)
    for start in range(first_row, last_row, GROUP):
        rows = min(GROUP, last_row - start)
        for group in range(groups):
            project(inputs, start * input_dim, input_dim, 0, rows, panel, group * wide * input_dim, input_dim, block_length, z, group * wide, z_row)
        for row in range(rows):
            for i in range(0, z_row, n):
                store(z, row * z_row + i, load(z, row * z_row + i) + load(bias, i))
            apply(activation, function, z, row * z_row, n, units)
            copy(z, row * z_row, outputs, (start + row) * units, units)


@kernel
def activate(activation: int, function: Any, first_row: int, last_row: int, units: int, inputs: Any, outputs: Any) -> None:
    """outputs = activation(inputs) for rows [first_row, last_row) of ``units`` numbers, flat, all of a row at once."""
    n = lanes(inputs)
    z = np.zeros((units + n - 1) // n * n, inputs.dtype)
    for row in range(first_row, last_row):
        copy(inputs, row * units, z, 0, units)
        apply(activation, function, z, 0, n, units)
        copy(z, 0, outputs, row * units, units)
