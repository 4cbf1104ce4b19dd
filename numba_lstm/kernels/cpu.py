"""The CPU kernels: ``step`` advances a group of rows by one timestep, ``sequence`` runs rows through all of theirs.

Rows never meet, so a call may take any range of them, and threads take ranges of their own. All arrays are flat and
C-contiguous; offsets and strides count elements. Kernels check nothing and raise nothing: the driver has.

The driver hands over arrays in the tuples below; the kernels work on the same tuples with addresses in the arrays'
places (``addresses``).

Activations come as a number in Cell and a ``function``, see apply.apply.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba_lstm.kernels import equations
from numba_lstm.kernels.activations import hard_sigmoid, sigmoid, tanh
from numba_lstm.kernels.apply import CUSTOM, HARD_SIGMOID, SIGMOID, TANH, apply
from numba_lstm.kernels.jit import inlined, inner, kernel
from numba_lstm.kernels.normalizations import SOFTMAX, normalize
from numba_lstm.kernels.ops import constant
from numba_lstm.kernels.simd import address, after, lanes, load, store
from numba_lstm.kernels.tile import Operand, Panel, Sums, load4, project, row_sums, row_sums_of_two, store4, sum4


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
    ahead: int  # timesteps whose sums over x are made at once, 0 for one block of one step at a time
    z: Any  # sums over x, [row][timestep < ahead][block][gate][lane] or [row][gate][lane]
    partial: Any  # sums between blocks of k, [row][gate][lane]
    x: Any  # the inputs times their dropout masks, [row or timestep][mask][input_dim]
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
def masked_copies(
    x: Operand, rows: int, masks: Masks, first_row: int, last_row: int, width: int, target: Any
) -> Operand:
    """The operand times its rows' dropout masks, written to target; the operand itself where there are none.

    The operand's rows are those of the batch from first_row to last_row, or timesteps of the last one.
    """
    if masks.number == 0:
        return x
    n = lanes(target)
    whole = width - width % n
    for row in range(rows):
        at = x.start + row * x.row
        for mask in range(masks.number):
            factors = (mask * masks.batch + min(first_row + row, last_row)) * width
            to = (row * masks.number + mask) * width
            for i in range(0, whole, n):
                store(target, to + i, load(x.array, at + i) * load(masks.array, factors + i))
            for i in range(whole, width):
                target[to + i] = x.array[at + i] * masks.array[factors + i]
    return Operand(target, 0, masks.number * width, masks.number // 4 * width)


@inlined
def update_fused(recurrent_activation: int, z: Any, c: Any, h: Any, at: int) -> None:
    """The equations for one vector of units with tanh and (hard_)sigmoid, all in registers."""
    z_i, z_f, z_c, z_o = z
    if recurrent_activation == SIGMOID:
        i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o)
    else:
        i, f, o = hard_sigmoid(z_i), hard_sigmoid(z_f), hard_sigmoid(z_o)
    carry = equations.carry(i, f, tanh(z_c), load(c, at))
    store(c, at, carry)
    store(h, at, equations.output(o, tanh(carry)))


@inner
def update(
    cell: Cell,
    activation: Any,
    recurrent_activation: Any,
    blocks: int,
    units: int,
    z: Any,
    z_at: int,
    c: Any,
    h: Any,
    at: int,
) -> None:
    """The equations for ``units`` units of one row in ``blocks`` neighbouring blocks.

    z: pre-activations [block][gate][lane] from z_at, overwritten. c, h: from ``at``; c is updated, h written.
    """
    n = lanes(z)
    wide = 4 * n
    gate = cell.recurrent_activation
    apply(gate, recurrent_activation, z, z_at, wide, units)
    apply(gate, recurrent_activation, z, z_at + n, wide, units)
    apply(cell.activation, activation, z, z_at + 2 * n, wide, units)
    apply(gate, recurrent_activation, z, z_at + 3 * n, wide, units)
    for block in range(blocks):
        gates, unit = z_at + block * wide, at + block * n
        i, f, candidate = load(z, gates), load(z, gates + n), load(z, gates + 2 * n)
        carry = equations.carry(i, f, candidate, load(c, unit))
        store(c, unit, carry)
        store(z, gates + 2 * n, carry)
    apply(cell.activation, activation, z, z_at + 2 * n, wide, units)
    for block in range(blocks):
        gates = z_at + block * wide
        store(h, at + block * n, equations.output(load(z, gates + 3 * n), load(z, gates + 2 * n)))


@inner
def update_rows(
    cell: Cell, activation: Any, recurrent_activation: Any, block: int, rows: int, z: Sums, skip: Any, c: Any, h: Any
) -> None:
    """The equations of one block of units for all rows that are not skipped."""
    n = lanes(c)
    padded = (cell.units + n - 1) // n * n
    gate = cell.recurrent_activation
    fused = cell.activation == TANH and (gate == SIGMOID or gate == HARD_SIGMOID)
    for row in range(rows):
        at, here = row * padded + block * n, z.start + row * z.row
        if skip[row]:
            continue
        if fused:
            update_fused(gate, load4(z.array, here), c, h, at)
        else:
            units = min(n, cell.units - block * n)
            update(cell, activation, recurrent_activation, 1, units, z.array, here, c, h, at)


@inlined
def finish_block(
    cell: Cell, activation: Any, recurrent_activation: Any, block: int, sums: Any, z: Any, z_at: int, c: Any, h: Any
) -> None:
    """One row's equations for one block of units, from its sums over h and those over x at z_at."""
    n = lanes(z)
    sums = sum4(load4(z, z_at), sums)
    gate = cell.recurrent_activation
    if cell.activation == TANH and (gate == SIGMOID or gate == HARD_SIGMOID):
        update_fused(gate, sums, c, h, block * n)
    else:
        store4(z, z_at, sums)
        units = min(n, cell.units - block * n)
        update(cell, activation, recurrent_activation, 1, units, z, z_at, c, h, block * n)


@inner
def spans_units(cell: Cell) -> bool:
    """True if an activation needs all units of a row at once."""
    return SOFTMAX <= cell.activation < CUSTOM or SOFTMAX <= cell.recurrent_activation < CUSTOM


@inner
def input_sums(cell: Cell, block: int, x: Operand, rows: int, partial: Any, z: Sums) -> None:
    """z = x @ kernel + bias for one block of units."""
    wide = 4 * lanes(cell.bias)
    panel = Panel(cell.kernel, block * wide * cell.input_dim, cell.input_dim, cell.block_length)
    project(x, rows, panel, Sums(partial, 0, wide), Sums(cell.bias, block * wide, 0), z)


@inner
def recurrent_sums(cell: Cell, block: int, h: Operand, rows: int, partial: Any, z: Sums) -> None:
    """z += h @ recurrent_kernel for one block of units."""
    wide = 4 * lanes(cell.bias)
    panel = Panel(cell.recurrent_kernel, block * wide * cell.units, cell.units, cell.block_length)
    project(h, rows, panel, Sums(partial, 0, wide), z, z)


@inlined
def step_of_one_row(
    cell: Cell,
    activation: Any,
    recurrent_activation: Any,
    h: Operand,
    z: Any,
    z_at: int,
    c: Any,
    h_next: Any,
    backwards: bool,
) -> None:
    """One timestep of one row whose gates share h, two blocks of units at a time; arguments as of step."""
    n = lanes(z)
    wide = 4 * n
    all_blocks = (cell.units + n - 1) // n
    size = wide * cell.units
    first = all_blocks - 1 if backwards else 0
    for _ in range(0, all_blocks, 2):
        # Backwards goes through the same pairs, so that an odd block out is the same one.
        pair = first // 2 * 2
        panel = Panel(cell.recurrent_kernel, pair * size, cell.units, cell.block_length)
        at = z_at + pair * wide
        if pair + 1 < all_blocks:
            a, b = row_sums_of_two(h, panel, panel.start + size)
            finish_block(cell, activation, recurrent_activation, pair, a, z, at, c, h_next)
            finish_block(cell, activation, recurrent_activation, pair + 1, b, z, at + wide, c, h_next)
        else:
            finish_block(cell, activation, recurrent_activation, pair, row_sums(h, panel), z, at, c, h_next)
        first += -2 if backwards else 2


@inner
def step(
    cell: Cell,
    activation: Any,
    recurrent_activation: Any,
    rows: int,
    x: Operand,
    h: Operand,
    z: Sums,
    z_block: int,
    scratch: Scratch,
    c: Any,
    h_next: Any,
    backwards: bool,
) -> None:
    """One timestep of a group of rows.

    x: (rows, input_dim); not used if scratch.ahead, when z holds the sums over x already. h: (rows, units), not in
    h_next. z: row r's sums of block b at z.start + r * z.row + b * z_block. c: (rows, padded units), updated in
    place. h_next: (rows, padded units), written. Rows with a scratch.skip are left as they are. backwards: take the blocks from the last to the first: the weights used last are still in the cache.
    """
    n = lanes(scratch.z)
    all_blocks = (cell.units + n - 1) // n
    padded = all_blocks * n
    spans = spans_units(cell)
    for turn in range(all_blocks):
        block = all_blocks - 1 - turn if backwards else turn
        sums = Sums(z.array, z.start + block * z_block, z.row)
        if scratch.ahead == 0:
            input_sums(cell, block, x, rows, scratch.partial, sums)
        recurrent_sums(cell, block, h, rows, scratch.partial, sums)
        if not spans:
            update_rows(cell, activation, recurrent_activation, block, rows, sums, scratch.skip, c, h_next)
    if spans:
        for row in range(rows):
            if not scratch.skip[row]:
                at, here = row * padded, z.start + row * z.row
                update(cell, activation, recurrent_activation, all_blocks, cell.units, z.array, here, c, h_next, at)


@inner
def inputs_ahead(
    cell: Cell, first_row: int, rows: int, inputs: Window, t: int, steps: int, dropout: Masks, scratch: Scratch
) -> None:
    """The sums over x of several timesteps of each row: the weights are read once for all of them."""
    n = lanes(scratch.z)
    wide = 4 * n
    all_blocks = (cell.units + n - 1) // n
    for row in range(rows):
        start = inputs.start + (first_row + row) * inputs.row_stride + t * inputs.time_stride
        x = Operand(inputs.array, start, inputs.time_stride, 0)
        x = masked_copies(x, steps, dropout, first_row + row, first_row + row, cell.input_dim, scratch.x)
        for block in range(all_blocks):
            z = Sums(scratch.z, (row * scratch.ahead * all_blocks + block) * wide, all_blocks * wide)
            input_sums(cell, block, x, steps, scratch.partial, z)


@inner
def masked_outputs(rows: int, padded: int, skip: Any, h: Any, h_next: Any, output: Any, options: Options) -> None:
    """After a step with a mask: what a masked row keeps, and each row's output."""
    n = lanes(output)
    for row in range(rows):
        at = row * padded
        if not skip[row]:
            copy(h_next, at, output, at, padded)
        else:
            copy(h, at, h_next, at, padded)
            if options.zero_output_for_mask:
                for i in range(at, at + padded, n):
                    store(output, i, constant(load(h, i), 0.0))


@inner
def through_time(
    cell: Cell,
    activation: Any,
    recurrent_activation: Any,
    first: int,
    rows: int,
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
    """``rows`` rows from row ``first``, at most scratch.group of them, through all timesteps; see sequence."""
    n = lanes(state.h)
    padded = (cell.units + n - 1) // n * n
    spans = spans_units(cell)
    z_block = 4 * n if scratch.ahead > 0 or spans else 0
    z_row = max(scratch.ahead, 1) * (4 * padded if z_block > 0 else 4 * n)
    # h and the next h change places at every step.
    h, h_next = after(state.h, first * padded), scratch.h_next
    c, output = after(state.c, first * padded), after(state.output, first * padded)
    for t in range(timesteps):
        z_start = 0
        if scratch.ahead > 0:
            z_start = t % scratch.ahead * 4 * padded
            if z_start == 0:
                inputs_ahead(cell, first, rows, inputs, t, min(scratch.ahead, timesteps - t), dropout, scratch)
        x = Operand(
            inputs.array, inputs.start + first * inputs.row_stride + t * inputs.time_stride, inputs.row_stride, 0
        )
        if scratch.ahead == 0:
            x = masked_copies(x, rows, dropout, first, first + rows - 1, cell.input_dim, scratch.x)
        h_now = Operand(h, 0, padded, 0)
        if options.masked:
            for row in range(rows):
                at = mask.start + (first + row) * mask.row_stride + t * mask.time_stride
                scratch.skip[row] = mask.array[at] == 0
        h_now = masked_copies(h_now, rows, recurrent_dropout, first, first + rows - 1, cell.units, scratch.h)
        backwards = t % 2 == 1
        if rows == 1 and h_now.gate == 0 and not spans:
            if not scratch.skip[0]:
                step_of_one_row(cell, activation, recurrent_activation, h_now, scratch.z, z_start, c, h_next, backwards)
        else:
            z = Sums(scratch.z, z_start, z_row)
            step(cell, activation, recurrent_activation, rows, x, h_now, z, z_block, scratch, c, h_next, backwards)
        if options.masked:
            masked_outputs(rows, padded, scratch.skip, h, h_next, output, options)
        if options.return_sequences:
            source = output if options.masked else h_next
            for row in range(rows):
                to = outputs.start + (first + row) * outputs.row_stride + t * outputs.time_stride
                copy(source, row * padded, outputs.array, to, cell.units)
        h, h_next = h_next, h
    if timesteps % 2 == 1:
        copy(h, 0, h_next, 0, rows * padded)


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
    for first in range(first_row, last_row, scratch.group):
        through_time(
            Cell(
                address(cell.kernel),
                address(cell.recurrent_kernel),
                address(cell.bias),
                cell.input_dim,
                cell.units,
                cell.block_length,
                cell.activation,
                cell.recurrent_activation,
            ),
            activation,
            recurrent_activation,
            first,
            min(scratch.group, last_row - first),
            timesteps,
            Window(address(inputs.array), inputs.start, inputs.row_stride, inputs.time_stride),
            Window(address(mask.array), mask.start, mask.row_stride, mask.time_stride),
            Masks(address(dropout.array), dropout.number, dropout.batch),
            Masks(address(recurrent_dropout.array), recurrent_dropout.number, recurrent_dropout.batch),
            State(address(state.h), address(state.c), address(state.output)),
            Window(address(outputs.array), outputs.start, outputs.row_stride, outputs.time_stride),
            options,
            Scratch(
                scratch.group,
                scratch.ahead,
                address(scratch.z),
                address(scratch.partial),
                address(scratch.x),
                address(scratch.h),
                address(scratch.h_next),
                address(scratch.skip),
            ),
        )


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
    partial: Any,
    z: Any,
    outputs: Any,
) -> None:
    """inputs @ kernel + bias for rows [first_row, last_row), ``group`` at a time, with the sums of the LSTM kernels.

    panel, bias: packed by pack.pack_units; inputs: flat (rows, input_dim); partial, z: scratch (group, four
    vectors) and (group, units rounded up to four vectors); outputs: flat (rows, units), written.
    """
    x_at, z_at, outputs_at, partial_at = address(inputs), address(z), address(outputs), address(partial)
    panel_at, bias_at = address(panel), address(bias)
    wide = 4 * lanes(x_at)
    z_row = (units + wide - 1) // wide * wide
    for first in range(first_row, last_row, group):
        rows = min(group, last_row - first)
        x = Operand(x_at, first * input_dim, input_dim, 0)
        for unit in range(0, units, wide):
            weights = Panel(panel_at, unit * input_dim, input_dim, block_length)
            project(x, rows, weights, Sums(partial_at, 0, wide), Sums(bias_at, unit, 0), Sums(z_at, unit, z_row))
        for row in range(rows):
            copy(z_at, row * z_row, outputs_at, (first + row) * units, units)


@kernel
def activate(code: int, function: Any, first: int, last: int, inputs: Any, outputs: Any) -> None:
    """outputs = activation(inputs) for the vectors from element ``first`` up to ``last``, element by element."""
    results = address(outputs)
    copy(address(inputs), first, results, first, last - first)
    apply(code, function, results, first, lanes(results), last - first)


@kernel
def normalize_rows(code: int, first_row: int, last_row: int, units: int, z: Any, inputs: Any, outputs: Any) -> None:
    """outputs = softmax, log_softmax or sparsemax of the rows [first_row, last_row) of ``units`` numbers.

    z: scratch of one row in whole vectors.
    """
    x_at, z_at, outputs_at = address(inputs), address(z), address(outputs)
    for row in range(first_row, last_row):
        copy(x_at, row * units, z_at, 0, units)
        normalize(code, z_at, 0, lanes(z_at), units)
        copy(z_at, 0, outputs_at, row * units, units)
