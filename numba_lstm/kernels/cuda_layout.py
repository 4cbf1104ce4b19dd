"""The memory layout of a small cell while a block of CUDA threads runs rows through a sequence.

A thread has one unit of ``rows`` rows. The threads of all units form a group, which shares its rows; a block has up to
``groups`` of them. The layout consists of plain integers: a kernel is compiled for each.
"""

from __future__ import annotations

from typing import NamedTuple

# The most numbers that one load of a thread reads; what is read together is aligned to it.
LOAD_WIDTH = 4


class SharedOperand(NamedTuple):
    """A factor of the weights, x or h: two timesteps of it in shared memory, and the places of its weights."""

    depth: int  # numbers of a row, k
    width: int  # from one row to the next
    masks: int  # of dropout: 0, 1 (for all gates) or 4 (one per gate)
    copies: int  # of each row: 4 with four masks, otherwise 1
    in_registers: int = 0  # the number of first k whose weights are in the registers of the unit's thread
    in_shared: int = 0  # the number of next k whose weights are in shared memory; the others stay in global memory

    @classmethod
    def of(cls, depth: int, masks: int) -> SharedOperand:
        """An operand whose weights are all in global memory."""
        return cls(depth, -(-depth // LOAD_WIDTH) * LOAD_WIDTH, masks, max(1, masks))


class Layout(NamedTuple):
    """All constants of a kernel other than activations, dtype and masks."""

    units: int
    block_length: int  # see arguments.Cell
    rows: int
    groups: int
    inputs: int  # of each row, the inputs that a thread of the group copies to shared memory
    x: SharedOperand
    h: SharedOperand

    @classmethod
    def of(cls, units: int, block_length: int, rows: int, groups: int, x: SharedOperand, h: SharedOperand) -> Layout:
        """The layout in which the threads of a group share the inputs of a row."""
        return cls(units, block_length, rows, groups, -(-x.depth // units), x, h)

    def group_size(self, operand: SharedOperand) -> int:
        """The numbers of a group's rows, with a gap after which the next group starts in other memory banks."""
        return operand.copies * self.rows * operand.width + LOAD_WIDTH

    @property
    def buffers(self) -> int:
        """The numbers of both operands, for two timesteps."""
        return 2 * self.groups * (self.group_size(self.x) + self.group_size(self.h))

    @property
    def shared(self) -> int:
        """The numbers in shared memory."""
        return Offsets.of(self).end


class Offsets(NamedTuple):
    """Offsets in a block's shared memory: weights of h, weights of x, h of two timesteps, x of two timesteps."""

    h_weights: int
    x_weights: int
    h: int  # of the first group, at even timesteps
    x: int
    h_group: int  # from one group to the next
    x_group: int
    h_timestep: int  # from even timesteps to odd ones
    x_timestep: int
    end: int

    @classmethod
    def of(cls, layout: Layout) -> Offsets:
        """The offsets of a layout, without gaps."""
        x_weights = 4 * layout.units * layout.h.in_shared
        h = x_weights + 4 * layout.units * layout.x.in_shared
        h_group, x_group = layout.group_size(layout.h), layout.group_size(layout.x)
        h_timestep, x_timestep = layout.groups * h_group, layout.groups * x_group
        x = h + 2 * h_timestep
        return cls(0, x_weights, h, x, h_group, x_group, h_timestep, x_timestep, x + 2 * x_timestep)
