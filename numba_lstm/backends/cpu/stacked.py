"""Cells one above the other, each over the whole sequence of outputs of the one below: in turn, or as a wavefront."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from numba_lstm import driver
from numba_lstm.backends.cpu import ragged, threads, windows
from numba_lstm.backends.cpu.operands import (
    NO_MASK,
    ROWS_OF_A_TILE,
    Operands,
    masks_of,
    places_in,
    state_of,
    window_of,
)
from numba_lstm.backends.cpu.packing import PackedCell
from numba_lstm.backends.cpu.wavefront import Wavefront
from numba_lstm.backends.cuda.arrays import DeviceArray
from numba_lstm.kernels.arguments import Options, Scratch, State, record_of
from numba_lstm.kernels.pack import Array, address, aligned_zeros

# Multiplications that take as long as going from one stretch to the next, and that a wavefront costs besides.
WORK_PER_HANDOVER, WORK_PER_WAVEFRONT = 500_000, 12_000_000
# Layers of so many units and more are shared by two threads better one by one, each with half of the units.
LEAST_UNITS_OF_TWO = 192

# Outputs between the layers that are kept at a time: a long sequence goes through all of them in parts.
BYTES_BETWEEN = 32 << 20


class CellCall(NamedTuple):
    """What driver.sequence is told about one cell, that is, all but the inputs."""

    cell: PackedCell
    h: Array
    c: Array
    mask: Array | None
    dropout_mask: Array | None
    recurrent_dropout_mask: Array | None
    go_backwards: bool
    return_sequences: bool
    zero_output_for_mask: bool


def sequences(
    inputs: Array, calls: Sequence[CellCall], device: str = "cpu", states_too: bool = True
) -> tuple[Array, list[Any]]:
    """Run a batch through several cells, the first over the inputs (batch, timesteps, input_dim).

    Every call but the last has to return sequences. Returns the outputs of the last one, as driver.sequence does, and
    h and c of each cell; without `states_too` they may be None. device: "cpu" or "cuda".
    """
    if device != "cpu":
        # What goes from cell to cell stays on the device, and all of it if the inputs lie there.
        results, states = _in_turn(inputs, calls, driver.sequence_on(device, states_too))
        to_fetch = calls[-1].return_sequences and not isinstance(inputs, DeviceArray)
        return results.fetch() if to_fetch else results, states
    if len(calls) == 1:
        return _in_turn(inputs, calls)
    outputs = inputs
    states = []
    for group in _groups(calls):
        plan = plan_of([call.cell for call in group], outputs, group[0].mask)
        outputs, final = _in_turn(outputs, group) if plan is None else _wavefront(outputs, group, *plan)
        states += final
    return outputs, states


def plan_of(cells: Sequence[PackedCell], inputs: Array, mask: Array | None) -> tuple[int, int] | None:
    """How cells one above the other share threads: timesteps that a thread takes of one at once, and how many threads.

    None if they do not: because rows or units do, or because there is too little to gain. inputs: (batch, timesteps,
    input_dim). mask: (batch, timesteps) or None.
    """
    batch, timesteps = inputs.shape[:2]
    workers = min(threads.usable(), len(cells))
    # A thread alone with two or three rows of five takes nearly as long as with all of them.
    if workers < 2 or not 0 < batch < ROWS_OF_A_TILE or threads.crowded():
        return None
    works = [4 * cell.cell.units * (cell.cell.input_dim + cell.cell.units) * batch * timesteps for cell in cells]
    saved = sum(works) - max(max(works), sum(works) // workers)
    if saved < max(WORK_PER_WAVEFRONT, sum(works) // 8):
        return None
    if workers == 2 and all(
        cell.cell.units >= LEAST_UNITS_OF_TWO and driver.worth_two(cell, batch, work)
        for cell, work in zip(cells, works, strict=True)
    ):
        return None
    if batch > 1 and (windows.record_of(inputs) or (mask is not None and ragged.longest_first(mask) is not None)):
        return None
    # The more stretches the sooner the next layer starts, and the more often threads change hands.
    length = -(-timesteps // max(1, math.isqrt(max(works) // WORK_PER_HANDOVER)))
    return -(-length // ROWS_OF_A_TILE) * ROWS_OF_A_TILE, workers


def _groups(calls: Sequence[CellCall]) -> Iterator[Sequence[CellCall]]:
    """Neighbouring cells that take the timesteps in the same order."""
    starts = [i for i, call in enumerate(calls) if i == 0 or call.go_backwards]
    for start, stop in zip(starts, [*starts[1:], len(calls)], strict=True):
        yield calls[start:stop]


def _in_turn(
    inputs: Array, calls: Sequence[CellCall], sequence: Callable[..., tuple[Any, Any, Any]] = driver.sequence
) -> tuple[Any, list[Any]]:
    outputs = inputs
    states: list[Array] = []
    for call in calls:
        outputs, h, c = sequence(inputs=outputs, **call._asdict())
        states += [h, c]
    return outputs, states


def _wavefront(inputs: Array, calls: Sequence[CellCall], length: int, workers: int) -> tuple[Array, list[Array]]:
    (batch, timesteps), last = inputs.shape[:2], calls[-1]
    if calls[0].go_backwards:
        first, inputs = calls[0], inputs[:, ::-1]
        calls = [first._replace(mask=None if first.mask is None else first.mask[:, ::-1]), *calls[1:]]
    outputs = np.empty((batch, timesteps if last.return_sequences else 1, last.cell.cell.units), last.cell.dtype)
    bytes_of_step = batch * last.cell.dtype.itemsize * sum(call.cell.cell.units for call in calls[:-1])
    piece = max(1, BYTES_BETWEEN // (bytes_of_step * length)) * length
    states = [state_of(call.h, call.c, call.cell.dtype) for call in calls]
    for start in range(0, timesteps, piece):
        part = slice(start, min(start + piece, timesteps))
        layers: list[_Layer] = []
        x = inputs[:, part]
        for call, state in zip(calls, states, strict=True):
            layers.append(_Layer(call, x, part, state, length, outputs if call is last else None))
            x = layers[-1].outputs
        Wavefront(layers, part.stop - start, length, workers, driver.WORK_PER_CALL).run()
        states = [layer.state for layer in layers]
    h, c, output = (
        [state[i, :, : call.cell.cell.units].copy() for call, state in zip(calls, states, strict=True)]
        for i in range(3)
    )
    final = output if last.mask is not None else h
    return outputs if last.return_sequences else final[-1], [state for pair in zip(h, c, strict=True) for state in pair]


class _Layer:
    """A cell on its way through some timesteps of a sequence, as `wavefront.Layer`.

    inputs: (batch, timesteps, input_dim) of that part of the sequence, in the order of processing; those of a stretch
    are there before it begins. state: as of `state_of`. outputs: the caller's array for those of the whole
    sequence, (batch, all timesteps, units), or None.
    """

    def __init__(
        self, call: CellCall, inputs: Array, part: slice, state: Array, length: int, outputs: Array | None
    ) -> None:
        cell, dtype = call.cell, call.cell.dtype
        batch, timesteps, input_dim = inputs.shape
        self._cell, self._batch, self._units, self._length = cell, batch, cell.cell.units, length
        self.work = 4 * self._units * (input_dim + self._units) * batch
        # A thread that comes too late writes the same once more: harmless below, not where the caller sees it.
        self._is_private = outputs is not None and call.return_sequences
        self.outputs = np.empty((batch, timesteps, self._units), dtype) if outputs is None else outputs[:, part]
        x, kept = window_of(inputs, dtype)
        marks, kept_mask = NO_MASK if call.mask is None else window_of(call.mask[:, part], np.dtype(np.uint8))
        dropout, kept_dropout = masks_of(call.dropout_mask, batch, dtype)
        recurrent_dropout, kept_recurrent = masks_of(call.recurrent_dropout_mask, batch, dtype)
        self._operands = Operands(
            x,
            None,
            marks,
            dropout,
            recurrent_dropout,
            State(0, 0, 0),  # that of each stretch is put here
            window_of(self.outputs, dtype)[0],
            Options(call.return_sequences, call.mask is not None, call.zero_output_for_mask),
            (kept, kept_mask, kept_dropout, kept_recurrent, self.outputs),
        )
        # The states before the first stretch and after each.
        self._states = aligned_zeros((-(-timesteps // length) + 1) * state.size, dtype).reshape(-1, *state.shape)
        self._states_at = address(self._states)
        self.state: Array = self._states[0]
        self.state[...] = state
        self._idle: list[tuple[Scratch, Array]] = []  # memory that no thread works in
        self._kernel = self._operands.kernel(cell, self._new_scratch()[0])

    def compute(self, start: int, stop: int, state: Array, again: bool) -> tuple[Array, Array | None]:
        """The state after the timesteps [start, stop), and the outputs if nobody but the caller is to see them yet."""
        if again:
            after = aligned_zeros(state.size, state.dtype).reshape(state.shape)
            at = address(after)
        else:
            number = -(-stop // self._length)
            after = self._states[number]
            at = self._states_at + number * after.nbytes
        after[...] = state
        try:
            scratch = self._idle.pop()
        except IndexError:
            scratch = self._new_scratch()
        call = self._operands.call(self._cell, (0, self._batch), start, stop - start, scratch[0])
        call, private = call._replace(state=places_in(at, after.nbytes // 3)), None
        if self._is_private:
            private = np.empty((self._batch, stop - start, self._units), after.dtype)
            call = call._replace(outputs=window_of(private, after.dtype)[0])
        record = record_of(call)
        self._kernel(record.buffer_info()[0])
        self._idle.append(scratch)
        return after, private

    def keep(self, start: int, stop: int, result: tuple[Array, Array | None]) -> None:
        """Take over the state, and the outputs."""
        self.state, private = result
        if private is not None:
            self.outputs[:, start:stop] = private

    def _new_scratch(self) -> tuple[Scratch, Array]:
        return self._operands.scratch(self._cell, self._batch, steps=self._length)
