"""The layers of a model, one timestep per call: memory laid out once, and calls that pass nothing but an address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numba_lstm.backends.cpu.packing import BLOCK_LENGTH, PackedCell, PackedDense, spans_units
from numba_lstm.kernels.arguments import Functions, StepPlan, StepStage
from numba_lstm.kernels.codes import SOFTMAX
from numba_lstm.kernels.compile import bound, entry
from numba_lstm.kernels.pack import Array, address, aligned_zeros, padded


class StreamingPlan:
    """Rows of a batch on their way through cells and heads, one timestep a call of ``run()``.

    inputs: (rows, input_dim), read by every run; outputs: (rows, units), written; both C-contiguous, of the dtype of
    the stages, and the caller's to fill and to read. States start as zeros. Two threads may not run it at once. Who has
    another thread run it has that thread refer to it: `run` by itself is nothing but addresses.
    """

    def __init__(self, stages: Sequence[PackedCell | PackedDense], inputs: Array, outputs: Array, group: int) -> None:
        self.inputs, self.outputs = inputs, outputs
        self._group = min(group, len(inputs))
        self._plans: list[Array] = []  # of each call
        self._states: list[tuple[Array, Array]] = []  # of each cell h, (2, rows, units), and c, (rows, units)
        self._arrays: list[Array] = [inputs, outputs]  # what the addresses point to
        calls, source = [], inputs
        parts = _split(stages)
        for functions, part in parts:
            target = outputs if part is parts[-1][1] else self._new(inputs.shape[0], _units(part[-1]))
            calls.append(self._call(functions, part, source, target))
            source = target
        self._calls = calls
        self.is_one_call = len(calls) == 1  # which a Ctrl-C cannot leave half done; several it can, see `finish`
        self.run: Callable[[], None] = calls[0] if self.is_one_call else self._in_turn

    def states(self) -> list[Array]:
        """h and c of every cell as they are now, (rows, units) each: views, which may be written to."""
        turn = self.turn
        return [state for h, c in self._states for state in (h[turn], c)]

    @property
    def turn(self) -> int:
        """0 or 1, in turn: which of its two arrays h each cell has written last; see `StepPlan.turn`."""
        return int(self._plans[-1][0])

    def finish(self, turn: int) -> None:
        """Do what is missing of a run that was interrupted, with the inputs that it had; turn: the one before it."""
        for call, plan in zip(self._calls, self._plans, strict=True):
            if int(plan[0]) == turn:
                call()

    def align(self) -> None:
        """Let all calls have the same turn from here on, after a run that may be incomplete."""
        for plan in self._plans:
            plan[0] = self.turn

    def _in_turn(self) -> None:
        for call in self._calls:
            call()

    def _call(
        self, functions: dict[str, Any], stages: Sequence[PackedCell | PackedDense], source: Array, target: Array
    ) -> Any:
        """The plan of some neighbouring stages, and the compiled function that follows it."""
        dtype, rows = source.dtype, source.shape[0]
        cells = [stage for stage in stages if not isinstance(stage, PackedDense)]
        many = True if rows > 1 or any(map(spans_units, cells)) else None
        lanes = padded(1, dtype)
        widths = [padded(cell.cell.units, dtype) if many is None or spans_units(cell) else lanes for cell in cells]
        scratch = (
            self._new(self._group, 4 * max(widths, default=0)),
            self._new(self._group, 4 * lanes),
            self._kept(np.zeros(self._group, np.uint8)),
        )
        plan = StepPlan(0, len(stages), rows, self._group, *map(address, (source, target, *scratch)))
        numbers = [number for stage in stages for number in self._stage(stage, rows, dtype)]
        self._plans.append(np.array([*plan, *numbers], np.int64))
        pair = functions.get("activation"), functions.get("recurrent_activation")
        flags = (
            None if None in pair else Functions(*pair),
            True if "head" in functions else None,
            functions.get("head"),
            many,
        )
        return bound(entry("stepping.step_stages", (dtype.type(0),) * 3, flags), address(self._plans[-1]))

    def _stage(self, stage: PackedCell | PackedDense, rows: int, dtype: np.dtype[Any]) -> StepStage:
        """The numbers of one stage, and memory for what it keeps or gives."""
        if isinstance(stage, PackedDense):
            wide = 4 * padded(1, dtype)
            results = self._new(rows, -(-stage.units // wide) * wide)
            weights = [0 if array is None else address(self._kept(array)) for array in (stage.kernel, stage.bias)]
            shape = stage.input_dim, stage.units, BLOCK_LENGTH, stage.activation, 0
            return StepStage(weights[0], 0, weights[1], *shape, address(results), 0, 0)
        self._arrays += stage.arrays
        cell = stage.cell
        width = padded(cell.units, dtype)
        h, c = self._new(2 * rows, width), self._new(rows, width)
        self._states.append((h.reshape(2, rows, width)[:, :, : cell.units], c[:, : cell.units]))
        return StepStage(*cell, address(h), address(h[rows:]), address(c))

    def _new(self, rows: int, width: int) -> Array:
        dtype = self.inputs.dtype
        return self._kept(aligned_zeros(rows * width, dtype)).reshape(rows, width)

    def _kept(self, array: Array) -> Array:
        self._arrays.append(array)
        return array


def _units(stage: PackedCell | PackedDense) -> int:
    return stage.units if isinstance(stage, PackedDense) else stage.cell.units


def _split(stages: Sequence[PackedCell | PackedDense]) -> list[tuple[dict[str, Any], list[PackedCell | PackedDense]]]:
    """The stages in as few parts as compiled functions are needed, each with the activations to compile in."""
    parts: list[tuple[dict[str, Any], list[PackedCell | PackedDense]]] = []
    for stage in stages:
        if isinstance(stage, PackedDense):
            functions = {"head": None if stage.activation == SOFTMAX else stage.function}
        else:
            functions = {"activation": stage.activation, "recurrent_activation": stage.recurrent_activation}
        merged = _merged(parts[-1][0], functions) if parts else None
        if merged is None:
            parts.append((functions, [stage]))
        else:
            parts[-1][0].update(merged)
            parts[-1][1].append(stage)
    return parts


def _merged(functions: dict[str, Any], others: dict[str, Any]) -> dict[str, Any] | None:
    """Activations that serve both; None where one is the user's own, or in registers, and the other is not the same."""
    merged = dict(functions)
    for role, function in others.items():
        before = merged.setdefault(role, function)
        if before is not function:
            if role == "head" and (before is None or function is None):
                merged[role] = function if before is None else before
                continue
            if before is None or function is None or callable(before) or callable(function):
                return None
            merged[role] = True  # every built-in one
    return merged
