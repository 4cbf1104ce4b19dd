"""Cells on a card: their weights, which stay there, and the kernel that runs their sequences."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from numba_lstm.backends.cpu.packing import PackedCell
from numba_lstm.backends.cuda import choice, policy
from numba_lstm.backends.cuda.card import Card, address
from numba_lstm.kernels import cuda, cuda_resident
from numba_lstm.kernels.arguments import Cell
from numba_lstm.kernels.pack import unpack_gates

_weights = threading.Lock()  # whoever has it puts a cell's weights on a card


@dataclass(frozen=True)
class CellOnCard:
    """A cell's weights in a card's memory, in Keras's own layout, and its activations as kernels take them."""

    memory: tuple[Any, ...]  # keeps them alive
    cell: Cell
    activation: Any
    recurrent_activation: Any

    @property
    def over_units(self) -> bool:
        """Whether an activation needs all units of a row at once."""
        return self.activation is None or self.recurrent_activation is None


def cell_on(card: Card, cell: PackedCell) -> CellOnCard:
    """The weights of a cell on the card; they stay there as long as the cell has them."""
    found = cell.on_cards.get(card.number)
    if found is None:
        with _weights:
            found = cell.on_cards.get(card.number)
            if found is None:
                found = cell.on_cards[card.number] = _put_on(card, cell)
    return found


def _put_on(card: Card, cell: PackedCell) -> CellOnCard:
    shape = cell.cell
    depths = zip(cell.arrays, (shape.input_dim, shape.units, 1), strict=True)
    memory = tuple(card.keep(unpack_gates(array, depth, shape.units)) for array, depth in depths)
    kernel, recurrent_kernel, bias = map(address, memory)
    return CellOnCard(
        memory,
        shape._replace(kernel=kernel, recurrent_kernel=recurrent_kernel, bias=bias),
        cuda.activation_function(shape.activation, cell.activation),
        cuda.activation_function(shape.recurrent_activation, cell.recurrent_activation),
    )


def kernel_for(
    card: Card,
    own: CellOnCard,
    dtype: np.dtype[Any],
    batch: int,
    dropout: tuple[int, int],
    masked: bool,
    rows: int | None = None,
) -> tuple[policy.LaunchPlan, Any]:
    """The plan for `rows` rows, as `policy.plan_for` makes it, and its kernel; all kernels take the same arguments.

    dropout: masks of x and of h, 0, 1 or 4 each. Raises `ConfigError` for a forced tier that does not take the cell.
    """
    cell, functions = own.cell, (own.activation, own.recurrent_activation)
    shape = policy.CellShape(cell.units, cell.input_dim, dtype.name, own.over_units)
    measures = policy.Measures(card.processors, card.threads)
    plan = policy.plan_for(shape, cell.block_length, batch, dropout, measures, choice.forced_tier(), rows)
    if plan.layout is None:
        return plan, cuda.sequence_kernel(dtype.name, *functions, masked, any(dropout), plan.rows)
    return plan, cuda_resident.sequence_kernel(dtype.name, *functions, masked, plan.layout)
