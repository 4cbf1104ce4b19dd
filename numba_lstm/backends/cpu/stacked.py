"""Cells one above the other, each over the whole sequence of outputs of the one below: in turn, or as a wavefront."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from numba_lstm.backends.cpu import policy, ragged, run, threads, windows
from numba_lstm.backends.cpu.operands import SequenceOperands, places_in, state_of, window_of
from numba_lstm.backends.cpu.packing import PackedCell
from numba_lstm.backends.cpu.sharing import shares_units
from numba_lstm.backends.cpu.wavefront import Wavefront
from numba_lstm.kernels.arguments import Options, Scratch, State, pack_record
from numba_lstm.kernels.pack import Array, address, aligned_zeros


class CellCall(NamedTuple):
    """The arguments of `run.sequence` for one cell, but for the inputs."""

    cell: PackedCell
    h: Array
    c: Array
    mask: Array | None
    dropout_mask: Array | None
    recurrent_dropout_mask: Array | None
    go_backwards: bool
    return_sequences: bool
    zero_output_for_mask: bool


def stacked(inputs: Array, calls: Sequence[CellCall]) -> tuple[Array, list[Array]]:
    """Run a batch through several cells, see `driver.sequences`."""
    if len(calls) == 1:
        return in_turn(inputs, calls)
    outputs = inputs
    states: list[Array] = []
    for group in _groups(calls):
        wave = wave_of([call.cell for call in group], outputs, group[0].mask)
        outputs, final = in_turn(outputs, group) if wave is None else _wavefront(outputs, group, *wave)
        states += final
    return outputs, states


def wave_of(cells: Sequence[PackedCell], inputs: Array, mask: Array | None) -> policy.Wave | None:
    """`policy.wave_of` for cells one above the other and the threads that this one may use.

    inputs: (batch, timesteps, input_dim). mask: (batch, timesteps) or None.
    """
    batch, timesteps = inputs.shape[:2]
    workers = min(threads.usable(), len(cells)) if len(cells) > 1 else 1
    if workers < 2 or threads.crowded():
        return None
    shapes = [cell.cell for cell in cells]
    can_share = all(shares_units(cell, batch, policy.work_of_step(cell.cell) * batch * timesteps) for cell in cells)
    wave = policy.wave_of(shapes, batch, timesteps, workers, can_share)
    if wave is None or batch == 1:
        return wave
    is_ragged = mask is not None and ragged.longest_first(mask) is not None
    return None if is_ragged or windows.record_of(inputs) else wave


def _groups(calls: Sequence[CellCall]) -> Iterator[Sequence[CellCall]]:
    """Neighbouring cells that take the timesteps in the same order."""
    starts = [i for i, call in enumerate(calls) if i == 0 or call.go_backwards]
    for start, stop in zip(starts, [*starts[1:], len(calls)], strict=True):
        yield calls[start:stop]


def in_turn(
    inputs: Array, calls: Sequence[CellCall], sequence: Callable[..., tuple[Any, Any, Any]] = run.sequence
) -> tuple[Any, list[Any]]:
    """The cells one after the other."""
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
    piece = max(1, policy.BYTES_BETWEEN // (bytes_of_step * length)) * length
    states = [state_of(call.h, call.c, call.cell.dtype) for call in calls]
    for start in range(0, timesteps, piece):
        part = slice(start, min(start + piece, timesteps))
        layers: list[_Layer] = []
        x = inputs[:, part]
        for call, state in zip(calls, states, strict=True):
            layers.append(_Layer(call, x, part, state, length, outputs if call is last else None))
            x = layers[-1].outputs
        Wavefront(layers, part.stop - start, length, workers, policy.WORK_PER_CALL).run()
        states = [layer.state for layer in layers]
    h, c, output = (
        [state[i, :, : call.cell.cell.units].copy() for call, state in zip(calls, states, strict=True)]
        for i in range(3)
    )
    if not last.return_sequences:
        outputs = output[-1] if last.mask is not None else h[-1].copy()
    return outputs, [state for pair in zip(h, c, strict=True) for state in pair]


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
        self._operands = SequenceOperands.of(
            cell,
            inputs,
            State(0, 0, 0),  # that of each stretch is put here
            self.outputs,
            Options(call.return_sequences, call.mask is not None, call.zero_output_for_mask),
            mask=None if call.mask is None else call.mask[:, part],
            dropout_mask=call.dropout_mask,
            recurrent_dropout_mask=call.recurrent_dropout_mask,
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
        record = pack_record(call)
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
