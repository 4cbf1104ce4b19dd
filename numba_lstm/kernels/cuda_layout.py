"""Where a small cell's numbers lie while a block of CUDA threads runs rows through a sequence.

A thread has one unit of ``rows`` rows. As many threads as there are units are a group, and have the same rows; a block
is up to ``groups`` of them. Plain numbers: a kernel is compiled for each layout.
"""

from __future__ import annotations

from typing import NamedTuple

# Numbers that one load of a thread takes, at most; what is read together begins at a multiple of it.
TOGETHER = 4


class SharedOperand(NamedTuple):
    """A factor of the weights, x or h, two timesteps of it in shared memory, and where the weights are."""

    depth: int  # numbers of a row, k
    width: int  # from one row to the next
    masks: int  # of dropout: 0, 1 (for all gates) or 4 (one a gate)
    copies: int  # of each row: 4 with four masks, otherwise 1
    in_registers: int = 0  # number of k, from the first, whose weights are in the unit's thread's registers
    in_shared: int = 0  # number of the next ones, of all units, in shared memory; the others stay in place

    @classmethod
    def of(cls, depth: int, masks: int) -> SharedOperand:
        """With no weights in a place of their own."""
        return cls(depth, -(-depth // TOGETHER) * TOGETHER, masks, max(1, masks))


class Layout(NamedTuple):
    """All that a kernel is compiled for beside activations, dtype and masks."""

    units: int
    block_length: int  # see arguments.Cell
    rows: int
    groups: int
    inputs: int  # that each thread of a group brings to shared memory, of each row
    x: SharedOperand
    h: SharedOperand

    @classmethod
    def of(cls, units: int, block_length: int, rows: int, groups: int, x: SharedOperand, h: SharedOperand) -> Layout:
        """With as many inputs as it takes."""
        return cls(units, block_length, rows, groups, -(-x.depth // units), x, h)

    def of_group(self, operand: SharedOperand) -> int:
        """Numbers from one group's rows to the next group's, which begin in other banks of the memory."""
        return operand.copies * self.rows * operand.width + TOGETHER

    @property
    def buffers(self) -> int:
        """Numbers of both operands, for two timesteps."""
        return 2 * self.groups * (self.of_group(self.x) + self.of_group(self.h))

    @property
    def shared(self) -> int:
        """Numbers in shared memory."""
        return Offsets.of(self).end


class Offsets(NamedTuple):
    """Where things begin in a block's shared memory: weights of h, weights of x, h of two timesteps, x of two."""

    h_weights: int
    x_weights: int
    h: int  # of the first group, at even timesteps
    x: int
    h_group: int  # from one group's to the next's
    x_group: int
    h_turn: int  # from one timestep's to the other's
    x_turn: int
    end: int

    @classmethod
    def of(cls, layout: Layout) -> Offsets:
        """Without gaps."""
        x_weights = 4 * layout.units * layout.h.in_shared
        h = x_weights + 4 * layout.units * layout.x.in_shared
        h_group, x_group = layout.of_group(layout.h), layout.of_group(layout.x)
        h_turn, x_turn = layout.groups * h_group, layout.groups * x_group
        x = h + 2 * h_turn
        return cls(0, x_weights, h, x, h_group, x_group, h_turn, x_turn, x + 2 * x_turn)
