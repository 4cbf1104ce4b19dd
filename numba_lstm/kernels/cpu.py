"""The CPU kernels: ``step`` advances a group of rows by one timestep, ``sequence`` runs rows through all of theirs.

Rows never meet, so a call may take any range of them, and threads take ranges of their own. All arrays are flat and
C-contiguous; offsets and strides count elements. Kernels check nothing and raise nothing: the driver has.

Activations come as a number in Cell and a ``function``, see apply.apply.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba_lstm.kernels import equations
from numba_lstm.kernels.apply import CUSTOM, apply
from numba_lstm.kernels.jit import inner, kernel
from numba_lstm.kernels.normalizations import SOFTMAX, normalize
from numba_lstm.kernels.ops import constant
from numba_lstm.kernels.simd import lanes, load, store
from numba_lstm.kernels.tile import Operand, project


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
    """Dropout masks, already scaled: flat (number, batch, width); number 0 (none), 1 (all gates) or 4 (one a gate)."""

    array: Any
    number: int
    batch: int


class State(NamedTuple):
    """What rows carry from step to step: flat (batch, padded units) each, updated in place; none may alias another."""

    h: Any
    c: Any
    output: Any  # the previous output, which a masked step repeats


class Scratch(NamedTuple):
    """Memory of one thread for a group of rows; what it holds means nothing between calls."""

    group: int  # rows that share one pass over the weights
    z: Any  # sums over x, [row][block][gate][lane]
    z_h: Any  # sums over h
    x: Any  # the inputs times their dropout masks, [row][mask][input_dim]
    h: Any  # the same of h, [row][mask][units]
    h_next: Any  # (group, padded units)
    skip: Any  # (group,), 1 where the step is masked; zeros when handed over


class Options(NamedTuple):
    """What is written and what a mask does; plain numbers, so that one compiled kernel serves all."""

    return_sequences: bool
    masked: bool
    zero_output_for_mask: bool


@inner
def copy(source: Any, at: int, target: Any, to: int, width: int) -> None:
    """target[to : to + width] = source[at : at + width]"""
    n = lanes(source)
    whole = width - width % n
    for i in range(0, whole, n):
        store(target, to + i, load(source, at + i))
    for i in range(whole, width):
        target[to + i] = source[at + i]


@inner
def masked_copies(operand: Operand, masks: Masks, first_row: int, rows: int, width: int, target: Any) -> Operand:
    """The operand times its rows' dropout masks, written to target; the operand itself where there are none."""
    if masks.number == 0:
        return operand
    n = lanes(target)
    whole = width - width % n
    for row in range(rows):
        at = operand.start + row * operand.row
        for mask in range(masks.number):
            factors = (mask * masks.batch + first_row + row) * width
            to = (row * masks.number + mask) * width
            for i in range(0, whole, n):
                store(target, to + i, load(operand.array, at + i) * load(masks.array, factors + i))
            for i in range(whole, width):
                target[to + i] = operand.array[at + i] * masks.array[factors + i]
    return Operand(target, 0, masks.number * width, masks.number // 4 * width)


@inner
def update(
    cell: Cell,
    activation: Any,
    recurrent_activation: Any,
    first: int,
    blocks: int,
    scratch: Scratch,
    row: int,
    c: Any,
    c_start: int,
) -> None:
    """The equations of one row for the units of ``blocks`` neighbouring blocks, the first being block ``first``.

    scratch: z and z_h hold the row's sums, h_next receives its h. c: (rows, padded units) from c_start, updated.
    """
    z, n = scratch.z, lanes(scratch.z)
    wide = 4 * n
    z_row = row * blocks * wide
    for i in range(0, blocks * wide, n):
        bias = load(cell.bias, first * wide + i)
        store(z, z_row + i, equations.preactivation(load(z, z_row + i), bias, load(scratch.z_h, z_row + i)))
    units = min(blocks * n, cell.units - first * n)
    apply(cell.recurrent_activation, recurrent_activation, z, z_row, wide, units)
    apply(cell.recurrent_activation, recurrent_activation, z, z_row + n, wide, units)
    apply(cell.activation, activation, z, z_row + 2 * n, wide, units)
    apply(cell.recurrent_activation, recurrent_activation, z, z_row + 3 * n, wide, units)
    at = row * ((cell.units + n - 1) // n * n) + first * n
    for block in range(blocks):
        gates = z_row + block * wide
        i, f, candidate = load(z, gates), load(z, gates + n), load(z, gates + 2 * n)
        carry = equations.carry(i, f, candidate, load(c, c_start + at + block * n))
        store(c, c_start + at + block * n, carry)
        store(z, gates + 2 * n, carry)
    apply(cell.activation, activation, z, z_row + 2 * n, wide, units)
    for block in range(blocks):
        gates = z_row + block * wide
        store(scratch.h_next, at + block * n, equations.output(load(z, gates + 3 * n), load(z, gates + 2 * n)))


@inner
def spans_units(cell: Cell) -> bool:
    """True if an activation needs all units of a row at once."""
    return SOFTMAX <= cell.activation < CUSTOM or SOFTMAX <= cell.recurrent_activation < CUSTOM


@inner
def step(
    cell: Cell,
    activation: Any,
    recurrent_activation: Any,
    rows: int,
    x: Operand,
    h: Operand,
    c: Any,
    c_start: int,
    scratch: Scratch,
) -> None:
    """One timestep of a group of rows.

    x, h: (rows, input_dim) and (rows, units), h not in scratch.h_next. c: (rows, padded units) from c_start, updated
    in place. scratch: h_next receives the new h; rows with a ``skip`` are left as they are, in c and in h_next.
    """
    n = lanes(scratch.z)
    all_blocks = (cell.units + n - 1) // n
    # As few blocks at a time as the activations allow: their sums are still in the first-level cache when used.
    blocks = all_blocks if spans_units(cell) else 1
    for first in range(0, all_blocks, blocks):
        for block in range(blocks):
            at = block * 4 * n
            panel = (first + block) * 4 * n * cell.input_dim
            project(x, rows, cell.kernel, panel, cell.input_dim, cell.block_length, scratch.z, at, blocks * 4 * n)
            panel = (first + block) * 4 * n * cell.units
            project(
                h, rows, cell.recurrent_kernel, panel, cell.units, cell.block_length, scratch.z_h, at, blocks * 4 * n
            )
        for row in range(rows):
            if not scratch.skip[row]:
                update(cell, activation, recurrent_activation, first, blocks, scratch, row, c, c_start)


@inner
def finish(cell: Cell, rows: int, start: int, state: State, scratch: Scratch, options: Options) -> None:
    """After a step: the new h into the state of the rows from ``start``, and with masks their outputs."""
    n = lanes(state.h)
    padded = (cell.units + n - 1) // n * n
    for row in range(rows):
        at = start + row * padded
        if not scratch.skip[row]:
            copy(scratch.h_next, row * padded, state.h, at, padded)
            if options.masked:
                copy(scratch.h_next, row * padded, state.output, at, padded)
        elif options.zero_output_for_mask:
            for i in range(0, padded, n):
                store(state.output, at + i, constant(load(state.h, at + i), 0.0))


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
    scratch: Scratch,
) -> None:
    """Rows [first_row, last_row) through all timesteps.

    inputs: (row, timestep) -> input_dim numbers; read only. mask: (row, timestep) -> nonzero where the step counts;
    read only. state: of the whole batch. outputs: (row, timestep) -> units numbers, written at every step with
    return_sequences; otherwise not touched (the last output is in state.output with a mask, in state.h without).
    """
    n = lanes(state.h)
    padded = (cell.units + n - 1) // n * n
    for first in range(first_row, last_row, scratch.group):
        rows = min(scratch.group, last_row - first)
        start = first * padded
        for t in range(timesteps):
            x = Operand(
                inputs.array, inputs.start + first * inputs.row_stride + t * inputs.time_stride, inputs.row_stride, 0
            )
            h = Operand(state.h, start, padded, 0)
            x = masked_copies(x, dropout, first, rows, cell.input_dim, scratch.x)
            h = masked_copies(h, recurrent_dropout, first, rows, cell.units, scratch.h)
            if options.masked:
                for row in range(rows):
                    at = mask.start + (first + row) * mask.row_stride + t * mask.time_stride
                    scratch.skip[row] = mask.array[at] == 0
            step(cell, activation, recurrent_activation, rows, x, h, state.c, start, scratch)
            finish(cell, rows, start, state, scratch, options)
            if options.return_sequences:
                source = state.output if options.masked else state.h
                for row in range(rows):
                    to = outputs.start + (first + row) * outputs.row_stride + t * outputs.time_stride
                    copy(source, start + row * padded, outputs.array, to, cell.units)


@kernel
def dense(
    panel: Any,
    bias: Any,
    first_row: int,
    last_row: int,
    group: int,
    input_dim: int,
    units: int,
    block_length: int,
    inputs: Any,
    z: Any,
    outputs: Any,
) -> None:
    """inputs @ kernel + bias for rows [first_row, last_row), ``group`` at a time, with the sums of the LSTM kernels.

    panel, bias: packed by pack.pack_units; inputs: flat (rows, input_dim); z: scratch (group, units rounded up to
    four vectors); outputs: flat (rows, units), written.
    """
    n = lanes(inputs)
    z_row = (units + 4 * n - 1) // (4 * n) * (4 * n)
    for first in range(first_row, last_row, group):
        rows = min(group, last_row - first)
        x = Operand(inputs, first * input_dim, input_dim, 0)
        for unit in range(0, units, 4 * n):
            project(x, rows, panel, unit * input_dim, input_dim, block_length, z, unit, z_row)
        for row in range(rows):
            for i in range(row * z_row, (row + 1) * z_row, n):
                store(z, i, load(z, i) + load(bias, i - row * z_row))
            copy(z, row * z_row, outputs, (first + row) * units, units)


@kernel
def activate(code: int, function: Any, first: int, last: int, inputs: Any, outputs: Any) -> None:
    """outputs = activation(inputs) for the vectors from element ``first`` up to ``last``, element by element."""
    n = lanes(inputs)
    copy(inputs, first, outputs, first, last - first)
    apply(code, function, outputs, first, n, last - first)


@kernel
def normalize_rows(code: int, first_row: int, last_row: int, units: int, z: Any, inputs: Any, outputs: Any) -> None:
    """outputs = softmax, log_softmax or sparsemax of the rows [first_row, last_row) of ``units`` numbers.

    z: scratch of one row in whole vectors.
    """
    n = lanes(inputs)
    for row in range(first_row, last_row):
        copy(inputs, row * units, z, 0, units)
        normalize(code, z, 0, n, units)
        copy(z, 0, outputs, row * units, units)
