"""The arguments of the kernels, as tuples of numbers.

The driver fills in addresses; inside the kernels the same tuples hold the memory at them (simd.memory_at). All arrays
are flat, offsets and strides count elements. A call of cpu.sequence is told all of it by one record: see `Call`.
"""

from __future__ import annotations

from array import array
from itertools import chain
from typing import Any, NamedTuple


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
    """Where (row, timestep) lies in memory: at start + row * row_stride + timestep * time_stride."""

    memory: Any
    start: int
    row_stride: int
    time_stride: int


class Masks(NamedTuple):
    """Dropout masks, already scaled: flat (number, batch, width); number 0 (none), 1 (all gates) or 4 (one a gate)."""

    memory: Any
    number: int
    batch: int


class State(NamedTuple):
    """The states of rows between steps: flat (batch, padded units) each, updated in place; none may alias another."""

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
    c: Any  # the same, for the helper of a team; of nobody else
    skip: Any  # (group,), 1 where the step is masked; zeros when handed over


class Options(NamedTuple):
    """The outputs that are written and the effect of a mask; plain numbers, so that one compiled kernel serves all."""

    return_sequences: bool
    masked: bool
    zero_output_for_mask: bool
    order: int = 0  # of int64, the row of the outputs for each row; 0 if that is the same one. With a mask only


class Team(NamedTuple):
    """One thread's place among two that share the units of a few rows, see team.py; zeros for one that works alone."""

    progress: Any  # the integers at which they meet
    leads: bool
    patience: int  # rounds of waiting after which the other is taken to be elsewhere
    middle: int  # the first block of units that is the helper's
    h_next: Any  # (group, padded units), as State.h: of every second step


class Functions(NamedTuple):
    """Both activations of a cell as kernels take them where they are not computed in registers, see cpu.sequence."""

    activation: Any  # each the ``function`` of apply.apply
    recurrent_activation: Any


class RowGroup(NamedTuple):
    """Rows that share one pass over the weights, and what is computed of them."""

    first: int  # its first row in the batch
    rows: int
    begin: int  # blocks of units [begin, end): all of them if an activation spans units
    end: int
    t: int  # the timestep; in odd ones blocks are taken backwards, for the weights used last are still in the cache


class GroupState(NamedTuple):
    """The states of a group's rows around a timestep, flat (rows, padded units) each."""

    h: Any  # read only; not h_next
    h_next: Any  # written
    c: Any  # updated in place
    output: Any  # the last output; updated with a mask


class Call(NamedTuple):
    """A call of cpu.sequence. Its numbers one after the other, 64 bits each, are the record that the kernel reads."""

    first_row: int
    last_row: int
    timesteps: int
    cell: Cell
    inputs: Window  # (row, timestep) -> input_dim numbers; read only
    sums: Window  # (row, timestep) -> the sums over the inputs as input_sums_of_all makes them; read only
    mask: Window  # (row, timestep) -> a byte, nonzero where the step counts; read only
    dropout: Masks
    recurrent_dropout: Masks
    state: State  # of the whole batch
    # (row, timestep) -> units numbers, written at every step with return_sequences; otherwise not touched (the last
    # output is in state.output with a mask, in state.h without).
    outputs: Window
    options: Options
    scratch: Scratch
    team: Team


class SumsCall(NamedTuple):
    """A call of sums.input_sums_of_all, for the timesteps [first, last) of one row."""

    first: int
    last: int
    group: int  # timesteps that share one pass over the weights
    partial: int  # scratch, group times four vectors
    rounded: int  # room for a group's inputs in bf16 if that is what is taken
    cell: Cell
    inputs: Window  # (0, timestep) -> input_dim numbers; read only
    outputs: Window  # (0, timestep) -> [block][gate][lane], written


class DenseCall(NamedTuple):
    """A call of dense.dense, for the rows [first_row, last_row)."""

    first_row: int
    last_row: int
    group: int  # rows that share one pass over the weights
    input_dim: int
    units: int
    block_length: int
    kernel: int  # packed by pack.pack_units, as bias is; read only
    bias: int
    inputs: int  # (rows, input_dim); read only
    partial: int  # scratch, (group, four vectors)
    z: int  # scratch, (group, units rounded up to four vectors)
    outputs: int  # (rows, units), written


class ActivationCall(NamedTuple):
    """A call of dense.activate, for the numbers [first, last), or of dense.normalize_rows, for these rows."""

    code: int  # of apply.CODES, or CUSTOM
    first: int
    last: int
    units: int  # of a row
    z: int  # scratch of one row in whole vectors, for rows only
    inputs: int  # read only
    outputs: int  # written, numbers in whole vectors; may be the inputs


class StandardizeCall(NamedTuple):
    """A call of dense.standardize_rows, for the rows [first_row, last_row)."""

    first_row: int
    last_row: int
    units: int
    epsilon: int  # one float64
    gamma: int  # (units,) float64, as beta
    beta: int
    inputs: int  # (rows, units); read only
    outputs: int  # (rows, units), written


NO_WINDOW = Window(0, 0, 0, 0)
NO_TEAM = Team(0, False, 0, 0, 0)


def record_of(call: tuple[Any, ...], numbers: int = 3) -> array[int]:
    """The record of a call whose first ``numbers`` fields are numbers, and the others tuples of numbers.

    Whoever hands over its address keeps it alive.
    """
    return array("q", chain(call[:numbers], *call[numbers:]))
