"""Every choice about sequences and memory on a GPU, as functions of shapes and of a card's measures alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from numba_lstm.errors import ConfigError
from numba_lstm.kernels.cuda_layout import LOAD_WIDTH, Layout, SharedOperand

# Forces the tier of this name.
TIER_VARIABLE = "NUMBA_LSTM_CUDA_TIER"
UNBOUNDED = 2**31

# Threads of a block of the portable tier, at most.
THREADS = 128

# Of resident cells: threads of a block, at most; bytes of its shared memory, and of those that x and h may take;
# registers of a thread for weights, fewer by that number for each dropout mask, and by two for each input beyond eight
# that the thread fetches ahead. (With more, some kernels would lack registers; the tests look for it.)
THREADS_OF_RESIDENTS, SHARED_BYTES, BUFFER_BYTES = 128, 48 << 10, 24 << 10
WEIGHT_REGISTERS, DROPOUT_REGISTERS, FREE_INPUT_REGISTERS = 112, 16, 8

# Of kernels that move numbers: a block's threads, in multiples of those that advance together, and blocks at most.
WARPS, MOST_BLOCKS = 8, 4096

# Memory that is kept for the next call on the same stream: bytes of a buffer, at most, and streams, those used last.
LARGEST_KEPT, STREAMS_KEPT = 256 << 20, 8


class CellShape(NamedTuple):
    """The properties of a cell that the choice of a tier depends on."""

    units: int
    input_dim: int
    dtype: str
    over_units: bool  # whether an activation needs all units of a row at once, as softmax does

    def __str__(self) -> str:
        return f"a {self.dtype} cell of {self.units} units and {self.input_dim} inputs" + (
            " with an activation over all units" if self.over_units else ""
        )


@dataclass(frozen=True)
class Tier:
    """A way to run a sequence on a GPU, and the cells that can take it; all of them give the same bits."""

    name: str
    what: str
    largest_units: Mapping[str, int]  # by dtype
    largest_input_dim: int = UNBOUNDED
    inputs_a_unit: int = UNBOUNDED
    over_units: bool = True

    @property
    def cells(self) -> str:
        """Which ones those are, in words."""
        if self.largest_input_dim == UNBOUNDED:
            return "every cell"
        units = ", ".join(f"{most} units in {dtype}" for dtype, most in self.largest_units.items())
        return f"cells of up to {units}, {self.largest_input_dim} inputs and {self.inputs_a_unit} a unit"

    def takes(self, cell: CellShape) -> bool:
        """Whether a cell can take it."""
        return (
            cell.units <= self.largest_units[cell.dtype]
            and cell.input_dim <= min(self.largest_input_dim, self.inputs_a_unit * cell.units)
            and (self.over_units or not cell.over_units)
        )


# The first one that takes a cell runs it.
TIERS = (
    Tier(
        "resident",
        "weights stay in registers and shared memory",
        {"float32": 128, "float64": 64},
        largest_input_dim=128,
        inputs_a_unit=4,
        over_units=False,
    ),
    Tier("portable", "weights are read at each timestep", {"float32": UNBOUNDED, "float64": UNBOUNDED}),
)


class Measures(NamedTuple):
    """The properties of a card that plans depend on."""

    processors: int  # multiprocessors
    threads: int  # that advance together


class LaunchPlan(NamedTuple):
    """How a sequence is run."""

    tier: Tier
    rows: int  # of a thread
    layout: Layout | None  # of a resident cell
    blocks: int
    threads: int  # of a block


def tier_for(cell: CellShape, forced: str | None = None) -> Tier:
    """The tier for a cell, or the one of the name ``forced``. Raises `ConfigError` for one that does not fit."""
    fitting = [tier for tier in TIERS if tier.takes(cell)]
    if not forced:
        return fitting[0]
    found = next((tier for tier in fitting if tier.name == forced), None)
    if found is None:
        names = ", ".join(tier.name for tier in fitting)
        raise ConfigError(f"{TIER_VARIABLE} is {forced!r}; expected one of {names} for {cell}")
    return found


def plan_for(
    cell: CellShape,
    block_length: int,
    batch: int,
    dropout: tuple[int, int],
    card: Measures,
    forced: str | None = None,
    rows: int | None = None,
) -> LaunchPlan:
    """The tier and the grid for a number of rows.

    block_length: see arguments.Cell. dropout: masks of x and of h, 0, 1 or 4 each. forced: see `tier_for`. rows: that
    a thread takes; by default as `rows_of_block` has them.
    """
    tier = tier_for(cell, forced)
    if rows is None:
        rows = rows_of_block(batch, card.processors, most_rows(tier, cell.dtype, any(dropout), cell.over_units))
    if tier.name == "portable":
        threads = min(THREADS, -(-cell.units // card.threads) * card.threads)
        return LaunchPlan(tier, rows, None, -(-batch // rows), threads)
    layout = layout_for(cell, block_length, rows, *dropout)
    groups = min(layout.groups, max(1, batch // (layout.rows * card.processors)))
    return LaunchPlan(tier, layout.rows, layout, -(-batch // (layout.rows * groups)), groups * cell.units)


def rows_of_block(rows: int, processors: int, most: int) -> int:
    """Rows that threads take: the more, the fewer readings of the weights, and the fewer blocks.

    rows: of the batch. processors: multiprocessors of the card. most: 1, 2 or 4; with more, sums would leave the
    registers.
    """
    fitting = [count for count in (2, 4) if count <= most and -(-rows // count) >= processors]
    return max(fitting, default=1)


def most_rows(tier: Tier, dtype: str, dropout: bool, over_units: bool) -> int:
    """The most rows of a thread for which the compiled kernels have all sums in registers."""
    if tier.name == "resident":
        return 4 // (2 if dtype == "float64" else 1) // (2 if dropout else 1)
    return 2 if dropout or over_units else 4


def layout_for(cell: CellShape, block_length: int, rows: int, dropout: int, recurrent_dropout: int) -> Layout:
    """Where a resident cell's numbers are: as many weights as fit in registers, then in shared memory; h's first.

    rows: of a thread; fewer are taken if their x and h were too much. dropout, recurrent_dropout: masks of each.
    """
    words = 2 if cell.dtype == "float64" else 1
    size, units = 4 * words, cell.units

    def of(rows: int, groups: int) -> Layout:
        x, h = SharedOperand.of(cell.input_dim, dropout), SharedOperand.of(units, recurrent_dropout)
        return Layout.of(units, block_length, rows, groups, x, h)

    while rows > 1 and of(rows, 1).buffers * size > BUFFER_BYTES:
        rows //= 2
    groups = min(THREADS_OF_RESIDENTS // units, BUFFER_BYTES // (of(rows, 1).buffers * size))
    found = of(rows, max(1, groups))
    fetched = words * rows * found.inputs
    registers = WEIGHT_REGISTERS - 2 * max(0, fetched - FREE_INPUT_REGISTERS)
    registers -= DROPOUT_REGISTERS * max(dropout, recurrent_dropout)
    kept = max(0, registers) // (4 * words)
    of_h = min(units, kept)
    of_x = _whole(cell.input_dim, kept - of_h, 2 * LOAD_WIDTH)
    room = (SHARED_BYTES // size - found.buffers) // (4 * units)
    h_shared = _whole(units - of_h, room, LOAD_WIDTH)
    x_shared = _whole(cell.input_dim - of_x, room - h_shared, LOAD_WIDTH)
    x = found.x._replace(in_registers=of_x, in_shared=x_shared)
    return found._replace(x=x, h=found.h._replace(in_registers=of_h, in_shared=h_shared))


def _whole(wanted: int, room: int, multiple: int) -> int:
    """All that is wanted if there is room for it, otherwise as much as is a multiple of something."""
    return wanted if wanted <= room else max(0, room) // multiple * multiple


def moving_grid(numbers: int, together: int) -> tuple[int, int]:
    """Blocks, and threads of each, that move that many numbers; together: threads that advance together."""
    threads = WARPS * together
    return min(-(-numbers // threads), MOST_BLOCKS), threads


def keeps(size: int) -> bool:
    """Whether a buffer of that many bytes is kept for the next call."""
    return size <= LARGEST_KEPT
