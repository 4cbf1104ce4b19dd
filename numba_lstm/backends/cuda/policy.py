"""All decisions about sequences and memory on a GPU, as functions of shapes and of the GPU's properties alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from numba_lstm.errors import ConfigError
from numba_lstm.kernels.cuda_layout import LOAD_WIDTH, Layout, SharedOperand

# The environment variable with the name of a tier that is forced.
TIER_VARIABLE = "NUMBA_LSTM_CUDA_TIER"
UNBOUNDED = 2**31

# The most threads of a block of the portable tier.
THREADS = 128

# Of the resident tier: the most threads of a block; the most bytes of its shared memory, and of x and h in it; the
# registers of a thread for weights, fewer by DROPOUT_REGISTERS for each dropout mask, and by two for each prefetched
# input beyond FREE_INPUT_REGISTERS. (With more, some kernels would spill registers; the tests check this.)
RESIDENT_THREADS, SHARED_BYTES, BUFFER_BYTES = 128, 48 << 10, 24 << 10
WEIGHT_REGISTERS, DROPOUT_REGISTERS, FREE_INPUT_REGISTERS = 112, 16, 8

# Of kernels that copy arrays: the warps of a block, and the most blocks.
WARPS, MOST_BLOCKS = 8, 4096

# Of the pools of callers' streams: the most bytes of a buffer, and the most pools, of the streams used last.
LARGEST_POOLED, MOST_POOLS = 256 << 20, 8


class CellShape(NamedTuple):
    """The properties of a cell that the tier depends on."""

    units: int
    input_dim: int
    dtype: str
    normalizes_row: bool  # whether an activation needs all units of a row at once, as softmax does

    def __str__(self) -> str:
        return f"a {self.dtype} cell of {self.units} units and {self.input_dim} inputs" + (
            " with an activation over all units" if self.normalizes_row else ""
        )


@dataclass(frozen=True)
class Tier:
    """A kind of kernels, and the cells that it supports. All tiers give the same bits."""

    name: str
    description: str
    largest_units: Mapping[str, int]  # by dtype
    largest_input_dim: int = UNBOUNDED
    inputs_per_unit: int = UNBOUNDED
    normalizes_row: bool = True

    @property
    def cells(self) -> str:
        """The supported cells, in words."""
        if self.largest_input_dim == UNBOUNDED:
            return "every cell"
        units = ", ".join(f"{most} units in {dtype}" for dtype, most in self.largest_units.items())
        return f"cells of up to {units}, {self.largest_input_dim} inputs and {self.inputs_per_unit} a unit"

    def supports(self, cell: CellShape) -> bool:
        """Whether the tier can run a cell."""
        return (
            cell.units <= self.largest_units[cell.dtype]
            and cell.input_dim <= min(self.largest_input_dim, self.inputs_per_unit * cell.units)
            and (self.normalizes_row or not cell.normalizes_row)
        )


# The first one that supports a cell runs it.
TIERS = (
    Tier(
        "resident",
        "weights stay in registers and shared memory",
        {"float32": 128, "float64": 64},
        largest_input_dim=128,
        inputs_per_unit=4,
        normalizes_row=False,
    ),
    Tier("portable", "weights are read at each timestep", {"float32": UNBOUNDED, "float64": UNBOUNDED}),
)


class DeviceProperties(NamedTuple):
    """The properties of a GPU that plans depend on."""

    multiprocessors: int
    warp_size: int


class LaunchPlan(NamedTuple):
    """The tier, the layout and the grid of a sequence."""

    tier: Tier
    rows: int  # of a thread
    layout: Layout | None  # of the resident tier
    blocks: int
    threads: int  # of a block


def tier_for(cell: CellShape, forced: str | None = None) -> Tier:
    """The tier for a cell, or the one named ``forced``. Raises `ConfigError` if that does not support the cell."""
    fitting = [tier for tier in TIERS if tier.supports(cell)]
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
    device: DeviceProperties,
    forced: str | None = None,
    rows: int | None = None,
) -> LaunchPlan:
    """The tier, the layout and the grid for a batch.

    block_length: see arguments.Cell. dropout: masks of x and of h, 0, 1 or 4 each. forced: see `tier_for`. rows: of a
    thread; by default those of `rows_of_block`.
    """
    tier = tier_for(cell, forced)
    if rows is None:
        rows = rows_of_block(
            batch, device.multiprocessors, most_rows(tier, cell.dtype, any(dropout), cell.normalizes_row)
        )
    if tier.name == "portable":
        threads = min(THREADS, -(-cell.units // device.warp_size) * device.warp_size)
        return LaunchPlan(tier, rows, None, -(-batch // rows), threads)
    layout = layout_for(cell, block_length, rows, *dropout)
    groups = min(layout.groups, max(1, batch // (layout.rows * device.multiprocessors)))
    return LaunchPlan(tier, layout.rows, layout, -(-batch // (layout.rows * groups)), groups * cell.units)


def rows_of_block(rows: int, multiprocessors: int, most: int) -> int:
    """The rows of a thread. With more of them the weights are read less often, but there are fewer blocks.

    rows: of the batch. multiprocessors: of the GPU. most: 1, 2 or 4, see `most_rows`.
    """
    fitting = [count for count in (2, 4) if count <= most and -(-rows // count) >= multiprocessors]
    return max(fitting, default=1)


def most_rows(tier: Tier, dtype: str, dropout: bool, normalizes_row: bool) -> int:
    """The most rows of a thread with which compiled kernels keep all sums in registers."""
    if tier.name == "resident":
        return 4 // (2 if dtype == "float64" else 1) // (2 if dropout else 1)
    return 2 if dropout or normalizes_row else 4


def layout_for(cell: CellShape, block_length: int, rows: int, dropout: int, recurrent_dropout: int) -> Layout:
    """The layout of a resident cell: as many weights as fit in registers, then in shared memory; those of h first.

    rows: of a thread; fewer if their x and h do not fit. dropout, recurrent_dropout: the numbers of masks.
    """
    words = 2 if cell.dtype == "float64" else 1
    size, units = 4 * words, cell.units

    def of(rows: int, groups: int) -> Layout:
        x, h = SharedOperand.of(cell.input_dim, dropout), SharedOperand.of(units, recurrent_dropout)
        return Layout.of(units, block_length, rows, groups, x, h)

    while rows > 1 and of(rows, 1).buffers * size > BUFFER_BYTES:
        rows //= 2
    groups = min(RESIDENT_THREADS // units, BUFFER_BYTES // (of(rows, 1).buffers * size))
    found = of(rows, max(1, groups))
    prefetched = words * rows * found.inputs
    registers = WEIGHT_REGISTERS - 2 * max(0, prefetched - FREE_INPUT_REGISTERS)
    registers -= DROPOUT_REGISTERS * max(dropout, recurrent_dropout)
    in_registers = max(0, registers) // (4 * words)
    h_registers = min(units, in_registers)
    x_registers = _fitting(cell.input_dim, in_registers - h_registers, 2 * LOAD_WIDTH)
    room = (SHARED_BYTES // size - found.buffers) // (4 * units)
    h_shared = _fitting(units - h_registers, room, LOAD_WIDTH)
    x_shared = _fitting(cell.input_dim - x_registers, room - h_shared, LOAD_WIDTH)
    x = found.x._replace(in_registers=x_registers, in_shared=x_shared)
    return found._replace(x=x, h=found.h._replace(in_registers=h_registers, in_shared=h_shared))


def _fitting(wanted: int, room: int, multiple: int) -> int:
    """`wanted` if there is room for it, otherwise the largest multiple that fits."""
    return wanted if wanted <= room else max(0, room) // multiple * multiple


def copy_grid(size: int, warp_size: int) -> tuple[int, int]:
    """The blocks, and the threads of each, that copy `size` numbers."""
    threads = WARPS * warp_size
    return min(-(-size // threads), MOST_BLOCKS), threads


def is_pooled(size: int) -> bool:
    """Whether buffers of `size` bytes come from a pool."""
    return size <= LARGEST_POOLED
