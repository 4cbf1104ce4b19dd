"""The arguments of the kernels, as tuples of numbers.

The driver fills in addresses; inside the kernels the same tuples hold the memory at them. All arrays are flat, offsets
and strides count elements. A kernel is handed the address of one record: the numbers of a call one after the other, 64
bits each, in the order of the fields below, which `simd.opened` reads.

Fields annotated `Any` are arrays, and what an array holds is annotated here or where the tuple is a field of another:
``DTYPE``, ``WEIGHT_DTYPE`` or ``OPERAND_DTYPE``, the places of these in the kernels' argument ``dtypes``, or the name
of a dtype. An address that is an `int` here stays one.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

# The dtype of the cell; that of its packed weights: the same, or uint16 for bf16, or uint32 for words of two bf16; and
# that of inputs and h in products: uint16 with such words, because they are rounded too, otherwise the first.
DTYPE, WEIGHT_DTYPE, OPERAND_DTYPE = range(3)


class Cell(NamedTuple):
    """A cell as the kernels see it."""

    kernel: Annotated[Any, WEIGHT_DTYPE]  # [block][k < input_dim][gate][lane], see pack.py; read only
    recurrent_kernel: Annotated[Any, WEIGHT_DTYPE]  # [block][k < units][gate][lane]; read only
    bias: Annotated[Any, DTYPE]  # [block][gate][lane], zeros without a bias; read only
    input_dim: int
    units: int
    block_length: int  # k per block of a sum: the order of operations, chosen from the cell's shape alone
    activation: int  # numbers of codes.CODES, or CUSTOM
    recurrent_activation: int


class Window(NamedTuple):
    """Where (row, timestep) lies in memory: at start + row * row_stride + timestep * time_stride."""

    memory: Any
    start: int
    row_stride: int
    time_stride: int


class Masks(NamedTuple):
    """Dropout masks, already scaled: flat (number, batch, width); number 0 (none), 1 (all gates) or 4 (one a gate)."""

    memory: Annotated[Any, DTYPE]
    number: int
    batch: int


class State(NamedTuple):
    """The states of rows between steps: flat (batch, padded units) each, updated in place; none may alias another."""

    h: Annotated[Any, DTYPE]
    c: Annotated[Any, DTYPE]
    output: Annotated[Any, DTYPE]  # the previous output, which a masked step repeats


class Scratch(NamedTuple):
    """Memory of one thread for a group of rows; what it holds means nothing between calls."""

    group: int  # rows that share one pass over the weights
    hoisted_steps: int  # timesteps whose sums over x are made at once, 0 for one block of one step at a time
    z: Annotated[Any, DTYPE]  # sums over x, [row][timestep < hoisted_steps][block][gate][lane] or [row][gate][lane]
    partial: Annotated[Any, DTYPE]  # sums between blocks of k, [row][gate][lane]
    x: Annotated[Any, OPERAND_DTYPE]  # the inputs times their dropout masks, [row or timestep][mask][input_dim]
    h: Annotated[Any, OPERAND_DTYPE]  # the same of h, [row][mask][units]
    h_next: Annotated[Any, DTYPE]  # (group, padded units)
    c: Annotated[Any, DTYPE]  # the same, for the helper of a team; of nobody else
    skip: Annotated[Any, "uint8"]  # (group,), 1 where the step is masked; zeros when handed over


class Options(NamedTuple):
    """The outputs that are written and the effect of a mask; plain numbers, so that one compiled kernel serves all."""

    return_sequences: bool
    masked: bool
    zero_output_for_mask: bool
    order: int = 0  # of int64, the row of the outputs for each row; 0 if that is the same one. With a mask only


class Team(NamedTuple):
    """One thread's place among two that share the units of a few rows, see team.py; zeros for one that works alone."""

    progress: Annotated[Any, "int64"]  # the integers at which they meet
    leads: bool
    patience: int  # rounds of waiting after which the other is taken to be elsewhere
    middle: int  # the first block of units that is the helper's
    h_next: Annotated[Any, DTYPE]  # (group, padded units), as State.h: of every second step


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
    inputs: Annotated[Window, DTYPE]  # (row, timestep) -> input_dim numbers; read only
    sums: Annotated[Window, DTYPE]  # (row, timestep) -> the sums over the inputs, see sums.input_sums_of_all; read only
    mask: Annotated[Window, "uint8"]  # (row, timestep) -> a byte, nonzero where the step counts; read only
    dropout: Masks
    recurrent_dropout: Masks
    state: State  # of the whole batch
    # (row, timestep) -> units numbers, written at every step with return_sequences; otherwise not touched (the last
    # output is in state.output with a mask, in state.h without).
    outputs: Annotated[Window, DTYPE]
    options: Options
    scratch: Scratch
    team: Team


class SumsCall(NamedTuple):
    """A call of sums.input_sums_of_all, for the timesteps [first, last) of one row."""

    first: int
    last: int
    group: int  # timesteps that share one pass over the weights
    partial: Annotated[Any, DTYPE]  # scratch, group times four vectors
    rounded: Annotated[Any, OPERAND_DTYPE]  # room for a group's inputs in bf16 if that is what is taken
    cell: Cell
    inputs: Annotated[Window, DTYPE]  # (0, timestep) -> input_dim numbers; read only
    outputs: Annotated[Window, DTYPE]  # (0, timestep) -> [block][gate][lane], written


class DenseCall(NamedTuple):
    """A call of dense.dense, for the rows [first_row, last_row)."""

    first_row: int
    last_row: int
    group: int  # rows that share one pass over the weights
    input_dim: int
    units: int
    block_length: int
    kernel: Annotated[Any, DTYPE]  # packed by pack.pack_units, as bias is; read only
    bias: Annotated[Any, DTYPE]
    inputs: Annotated[Any, DTYPE]  # (rows, input_dim); read only
    partial: Annotated[Any, DTYPE]  # scratch, (group, four vectors)
    z: Annotated[Any, DTYPE]  # scratch, (group, units rounded up to four vectors)
    outputs: Annotated[Any, DTYPE]  # (rows, units), written


class ActivationCall(NamedTuple):
    """A call of dense.activate, for the numbers [first, last), or of dense.normalize_rows, for these rows."""

    code: int  # of codes.CODES, or CUSTOM
    first: int
    last: int
    units: int  # of a row
    z: Annotated[Any, DTYPE]  # scratch of one row in whole vectors, for rows only
    inputs: Annotated[Any, DTYPE]  # read only
    outputs: Annotated[Any, DTYPE]  # written, numbers in whole vectors; may be the inputs


class StandardizeCall(NamedTuple):
    """A call of dense.standardize_rows, for the rows [first_row, last_row)."""

    first_row: int
    last_row: int
    units: int
    epsilon: Annotated[Any, "float64"]  # one number
    gamma: Annotated[Any, "float64"]  # (units,)
    beta: Annotated[Any, "float64"]
    inputs: Annotated[Any, DTYPE]  # (rows, units); read only
    outputs: Annotated[Any, DTYPE]  # (rows, units), written


class StepPlan(NamedTuple):
    """The first numbers of the record of streaming.step_stages; those of each `StepStage` follow."""

    turn: int  # 0 or 1: which of its two arrays h each cell reads; the kernel turns it round
    stages: int
    rows: int
    group: int  # rows that share one pass over the weights
    inputs: Annotated[Any, DTYPE]  # (rows, input_dim) of the first stage; read only
    outputs: Annotated[Any, DTYPE]  # (rows, units) of the last stage; written
    # Scratch, [row < group][gate][lane], or [row < group][block][gate][lane] with one row or an activation over units.
    z: Annotated[Any, DTYPE]
    partial: Annotated[Any, DTYPE]  # scratch, [row < group][gate][lane]
    skip: Annotated[Any, "uint8"]  # (group,), all zero


class StepStage(NamedTuple):
    """The numbers of one cell, or of one head: a dense layer, or an activation by itself (kernel 0).

    Those of a cell begin as a `Cell` does, and are opened as one too.
    """

    kernel: int  # see Cell, and pack.pack_units for a head
    recurrent_kernel: int  # 0 for a head
    bias: int
    input_dim: int
    units: int
    block_length: int
    activation: int
    recurrent_activation: int
    h: Annotated[Any, DTYPE]  # a cell's two arrays (rows, padded units), read and written in turn; of a head (rows,
    h_next: Annotated[Any, DTYPE]  # units padded to four vectors) what it gives, and nothing
    c: Annotated[Any, DTYPE]  # (rows, padded units)


# Where a helper stands in Team.progress, and that there is none: see team.py.
HELPER, ABSENT = 16, -1

NO_WINDOW = Window(0, 0, 0, 0)
NO_TEAM = Team(0, False, 0, 0, 0)


def pack_record(call: tuple[Any, ...], numbers: int = 3) -> array[int]:
    """The record of a call whose first ``numbers`` fields are numbers, and the others tuples of numbers.

    Whoever hands over its address keeps it alive.
    """
    return array("q", chain(call[:numbers], *call[numbers:]))


def fields_of(record: type[Any], inherited: Any = None) -> Iterator[tuple[Any, Any]]:
    """Of each field its type and what it holds: of an array as said above, None for a number.

    inherited: what the arrays of this tuple hold where their own annotation does not say it.
    """
    hints = get_type_hints(record, include_extras=True)
    for name in record._fields:
        kind, content = hints[name], inherited
        if get_origin(kind) is Annotated:
            kind, content = get_args(kind)
        yield kind, None if kind in (int, bool) else content
