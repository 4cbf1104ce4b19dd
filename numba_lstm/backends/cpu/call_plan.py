"""Small calls: memory and records of all their kernels laid out once, so that a call copies arrays and runs kernels.

A plan serves one thread at a time, and refers to all arrays whose addresses are in its records. Every call writes the
states anew, so that one that ended early, by a Ctrl-C, leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from numba_lstm.backends.cpu import policy
from numba_lstm.backends.cpu.operands import KernelCall, SequenceOperands, places_in
from numba_lstm.backends.cpu.packing import PackedCell, PackedDense
from numba_lstm.backends.cpu.stateless import activation_call, dense_call, normalizes
from numba_lstm.kernels.arguments import Options, pack_record
from numba_lstm.kernels.codes import LINEAR
from numba_lstm.kernels.pack import Array, address, aligned_zeros, padded


class CellStage(NamedTuple):
    """A cell in its place in a model."""

    cell: PackedCell
    go_backwards: bool = False
    return_sequences: bool = False

    @property
    def input_dim(self) -> int:
        """Numbers in, of a row and a timestep."""
        return self.cell.cell.input_dim

    @property
    def units(self) -> int:
        """Numbers out."""
        return self.cell.cell.units

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of inputs and outputs."""
        return self.cell.dtype


Stage = CellStage | PackedDense


def is_small(stages: Sequence[Stage], batch: int, timesteps: int) -> bool:
    """Whether one thread computes all of it best."""
    work, rows = 0, batch * timesteps
    for stage in stages:
        if isinstance(stage, PackedDense):
            work += rows * stage.units * (policy.ACTIVATION_WORK + (0 if stage.kernel is None else stage.input_dim))
        else:
            work += rows * policy.work_of_step(stage.cell.cell)
            rows = rows if stage.return_sequences else batch
    return batch > 0 and timesteps > 0 and not policy.is_for_several(work)


class CallPlan:
    """A batch of one shape on its way through cells and dense layers, on one thread."""

    def __init__(self, stages: Sequence[Stage], batch: int, timesteps: int) -> None:
        self.dtype = stages[0].dtype
        self._states: list[Array] = []  # h, c and the output of each cell, see `operands.state_of`
        self._kernels: list[Callable[[], Any]] = []
        self._calls: list[KernelCall] = []
        self._inputs = x = np.empty((batch, timesteps, stages[0].input_dim), self.dtype)
        for stage in stages:
            x = self._add_dense(stage, x) if isinstance(stage, PackedDense) else self._add_cell(stage, x)
        self._outputs = x

    def run(self, inputs: Array) -> Array:
        """The outputs for inputs (batch, timesteps, input_dim), from states of zeros: an array of its own."""
        self._inputs[...] = inputs
        for state in self._states:
            state.fill(0)
        for kernel in self._kernels:
            kernel()
        return self._outputs.copy()

    def _add_cell(self, stage: CellStage, inputs: Array) -> Array:
        """The cell's kernel call; returns the array that it will write."""
        cell, (batch, timesteps) = stage.cell, inputs.shape[:2]
        units, width = cell.cell.units, padded(cell.cell.units, cell.dtype)
        state = aligned_zeros(3 * batch * width, cell.dtype).reshape(3, batch, width)
        outputs = np.empty((batch, timesteps if stage.return_sequences else 1, units), cell.dtype)
        x = inputs[:, ::-1] if stage.go_backwards else inputs
        options = Options(stage.return_sequences, False, False)
        operands = SequenceOperands.of(cell, x, places_in(address(state), state[0].nbytes), outputs, options)
        scratch, memory = operands.scratch(cell, batch)
        record = pack_record(operands.call(cell, (0, batch), 0, timesteps, scratch))
        self._add(KernelCall(operands.kernel(cell, scratch), record, (*operands.arrays, *cell.arrays, state, memory)))
        self._states.append(state)
        return outputs if stage.return_sequences else state[0, :, :units]

    def _add_dense(self, stage: PackedDense, inputs: Array) -> Array:
        """The same for a dense layer, and for an activation."""
        units, shape = stage.units, (*inputs.shape[:-1], stage.units)
        if not inputs.flags.c_contiguous:
            rows = np.empty(inputs.shape, self.dtype)
            self._kernels.append(partial(np.copyto, rows, inputs))
            inputs = rows
        rows = inputs.reshape(-1, stage.input_dim)
        size = len(rows) * units
        outputs = aligned_zeros(padded(size, self.dtype), self.dtype)
        if stage.kernel is None:
            self._kernels.append(partial(np.copyto, outputs[:size].reshape(shape), inputs))
        else:
            self._add(dense_call(stage, rows, outputs, 0, len(rows)))
        code = stage.activation
        if code != LINEAR:
            whole = len(rows) if normalizes(code) else len(outputs) // padded(1, self.dtype)
            self._add(activation_call(code, stage.function, outputs, outputs, (0, whole), size, units))
        return outputs[:size].reshape(shape)

    def _add(self, call: KernelCall) -> None:
        self._calls.append(call)
        self._kernels.append(call.with_address())


class CellStepPlan(CallPlan):
    """One timestep of one cell, for a batch of one size, from states that each call gives."""

    def __init__(self, cell: PackedCell, batch: int) -> None:
        super().__init__([CellStage(cell)], batch, 1)
        self._x = self._inputs[:, 0]
        self._h, self._c = self._states[0][:2, :, : cell.cell.units]

    def step(self, inputs: Array, h: Array, c: Array) -> tuple[Array, Array]:
        """The new h and c, arrays of their own, for inputs (batch, input_dim), h and c (batch, units)."""
        self._x[...], self._h[...], self._c[...] = inputs, h, c
        self._kernels[0]()
        return self._h.copy(), self._c.copy()


class SmallSteps:
    """Idle `CellStepPlan`s for batches of one size: as many as threads have called a cell at a time."""

    __slots__ = ("_dtype", "_idle", "_state_shape")

    def __init__(self, cell: PackedCell, batch: int) -> None:
        self._dtype, self._state_shape = cell.dtype, (batch, cell.cell.units)
        self._idle: list[CellStepPlan] = []

    def fit(self, inputs: Array, h: Any, c: Any) -> bool:
        """Whether all are arrays as a plan takes them; inputs: of the right shape."""
        dtype, shape = self._dtype, self._state_shape
        return (
            type(h) is np.ndarray
            and type(c) is np.ndarray
            and h.shape == shape
            and c.shape == shape
            and inputs.dtype == dtype
            and h.dtype == dtype
            and c.dtype == dtype
        )

    def __call__(self, cell: PackedCell, inputs: Array, h: Array, c: Array) -> tuple[Array, Array]:
        """See `CellStepPlan.step`; cell: the one of all calls, which does not refer to itself through its plans."""
        try:
            plan = self._idle.pop()
        except IndexError:
            plan = CellStepPlan(cell, len(inputs))
        results = plan.step(inputs, h, c)
        self._idle.append(plan)
        return results


def small_steps(cell: PackedCell, batch: int) -> SmallSteps | None:
    """The steps of a cell for batches of this size, kept with its weights; None if threads may share them."""
    shape = batch, cell.cell.input_dim
    found = cell.steps.get(shape, shape)
    if found is shape:
        if len(cell.steps) >= policy.MOST_SHAPES:
            cell.steps.clear()
        found = cell.steps[shape] = SmallSteps(cell, batch) if is_small([CellStage(cell)], batch, 1) else None
    steps: SmallSteps | None = found
    return steps
