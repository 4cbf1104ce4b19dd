"""Several cells one above the other, used as one cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from numba_lstm.cell import LSTMCell
from numba_lstm.checks import check_bool, check_input_dim, shown
from numba_lstm.errors import ConfigError
from numba_lstm.layers.base import CommonArguments, Component, check_weight_count, follow
from numba_lstm.layers.call import Array
from numba_lstm.layers.registry import cell_from_config, register, to_entry
from numba_lstm.layers.states import flat_states
from numba_lstm.semantics.dialects import Dialect
from numba_lstm.semantics.sizes import NewWeight, check_weights


@register
class StackedRNNCells(Component):
    """A stack of `LSTMCell`s: each takes the output of the one below as its input.

    ``reverse_state_order=True`` is taken where all cells have the same units and changes nothing there: Keras turns
    round the order of the states twice, and fails with unequal units. Keras 3 does not have it.
    Source: TensorFlow 1.15, Keras 2.15 and 3.15 `StackedRNNCells`.
    """

    def __init__(
        self, cells: Sequence[LSTMCell], reverse_state_order: bool = False, **common: Unpack[CommonArguments]
    ) -> None:
        cells = list(cells) if isinstance(cells, list | tuple) else []
        if not cells or not all(isinstance(cell, LSTMCell) for cell in cells):
            raise ConfigError(f"cells is {shown(cells)}; expected one LSTMCell or more in a list")
        follow(cells, "StackedRNNCells", common)
        super().__init__(**common)
        if len({id(cell) for cell in cells}) < len(cells):
            raise ConfigError("cells holds the same cell twice; expected each once; make another cell for each place")
        self.cells: list[LSTMCell] = cells
        self.reverse_state_order = check_bool(reverse_state_order, "reverse_state_order")
        if self.reverse_state_order:
            self._check_reversible()

    def _parts(self) -> list[LSTMCell]:
        return self.cells

    def _check_reversible(self) -> None:
        units = [cell.units for cell in self.cells]
        if self.dialect == "keras3":
            raise ConfigError("reverse_state_order is True; Keras 3 has no such argument; leave it out")
        if len(set(units)) > 1:
            raise ConfigError(
                f"reverse_state_order is True for cells of {units} units; Keras fails unless all have the same; "
                "leave it out and reverse the states yourself"
            )

    def __call__(self, inputs: Any, states: Any, training: bool = False) -> tuple[Array, list[list[Array]]]:
        """One step: inputs (batch, input_dim), states [[h, c], ...] or flat -> output, [[h, c], ...]."""
        flat = flat_states(states, self.name, len(self.cells))
        new = []
        for i, cell in enumerate(self.cells):
            inputs, state = cell(inputs, flat[2 * i : 2 * i + 2], training=training)
            new.append(list(state))
        return inputs, new

    @property
    def state_size(self) -> list[list[int]]:
        """[[units, units], ...], one entry a cell."""
        return [list(cell.state_size) for cell in self.cells]

    @property
    def output_size(self) -> int:
        """The units of the last cell."""
        return self.cells[-1].units

    def get_initial_state(self, inputs: Any = None, batch_size: int | None = None, dtype: str | None = None) -> Any:
        """States of zeros, [[h, c], ...]."""
        return [cell.get_initial_state(inputs=inputs, batch_size=batch_size, dtype=dtype) for cell in self.cells]

    def build(self, input_dim: Any) -> None:
        """Make the weights for inputs of `input_dim` features."""
        width = check_input_dim(input_dim)
        check_weights(self, width, self.dtype)
        for cell in self.cells:
            cell.build(width)
            width = cell.units
        self._settle(built=True)

    def expect(self, input_shape: Any) -> None:
        """Let the cells' weights for inputs (..., input_dim) be made when they are first looked at."""
        super().expect(input_shape)
        for cell, width in zip(self.cells, [input_shape[-1], *(cell.units for cell in self.cells)], strict=False):
            cell.expect(width)

    def new_weights(self, input_dim: int) -> list[NewWeight]:
        """The weights that `build` would make, of the cells that have none."""
        widths = [input_dim, *(cell.units for cell in self.cells)]
        return [weight for cell, width in zip(self.cells, widths, strict=False) for weight in cell.new_weights(width)]

    def weight_names(self) -> list[str]:
        """``cell_0/kernel`` and so on, in the order of `get_weights`."""
        return [f"cell_{i}/{name}" for i, cell in enumerate(self.cells) for name in cell.weight_names()]

    def get_weights(self) -> list[Array]:
        """The weights of all cells, the lowest first."""
        return [weight for cell in self.cells for weight in cell.get_weights()]

    def set_weights(self, weights: Sequence[Any], *, copy: bool = True) -> None:
        """Take over the weights of all cells, the lowest first."""
        check_weight_count(self.name, weights, self.weight_names())
        start = 0
        for cell in self.cells:
            stop = start + len(cell.weight_names())
            cell.set_weights(weights[start:stop], copy=copy)
            start = stop
        self._settle(built=True)

    @property
    def losses(self) -> list[float]:
        """The penalties of all cells."""
        return [loss for cell in self.cells for loss in cell.losses]

    def apply_constraints(self) -> None:
        """Project the weights of all cells onto their constraints."""
        for cell in self.cells:
            cell.apply_constraints()

    def get_config(self) -> dict[str, Any]:
        """The configuration as the dialect's Keras writes it; reverse_state_order is not in it, as in Keras."""
        return {**super().get_config(), "cells": [to_entry(cell, self.dialect) for cell in self.cells]}

    @classmethod
    def prepare_arguments(cls, arguments: dict[str, Any], dialect: Dialect) -> None:
        """Make the cells."""
        cells = arguments.get("cells")
        if not isinstance(cells, list | tuple):
            raise ConfigError(f"cells of StackedRNNCells is {shown(cells)}; expected a list of cells")
        arguments["cells"] = [cell_from_config(cell, dialect) for cell in cells]
