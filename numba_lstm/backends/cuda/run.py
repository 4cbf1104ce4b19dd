"""Sequences on a GPU, through one cell and through several: what `backends.cpu` has in `run` and `stacked`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from numba_lstm.backends.cpu import windows
from numba_lstm.backends.cpu.packing import PackedCell
from numba_lstm.backends.cpu.stacked import CellCall, in_turn
from numba_lstm.backends.cuda import placing
from numba_lstm.backends.cuda.arrays import DeviceArray
from numba_lstm.backends.cuda.caller import Caller
from numba_lstm.backends.cuda.card import Array, Card, address, current
from numba_lstm.backends.cuda.cells import cell_on, kernel_for
from numba_lstm.backends.cuda.moving import described
from numba_lstm.backends.cuda.placing import marks_on, masks_on, states_in_place, states_on
from numba_lstm.kernels.arguments import Options, State, Window
from numba_lstm.kernels.cuda_arguments import CudaCall


@dataclass(frozen=True)
class OnCard:
    """A (batch, timesteps, width) array in a card's memory."""

    card: Card
    memory: Any  # keeps it alive
    window: Window
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def fetch(self) -> Array:
        """A copy in main memory, of outputs that lie there without gaps."""
        return self.card.download(self.memory, self.card.room(self.shape, self.dtype))


def batch_on(card: Card, inputs: Array | DeviceArray, dtype: np.dtype[Any]) -> OnCard:
    """Inputs (batch, timesteps, input_dim) on the card; of windows that overlap, the record that they share."""
    if isinstance(inputs, DeviceArray):
        return OnCard(card, inputs, placing.window_of(inputs), inputs.shape, dtype)
    timesteps, width = inputs.shape[1:]
    found = windows.record_of(inputs)
    if found is not None:
        record, stride = found
        memory = card.upload(np.asarray(record, dtype))
        return OnCard(card, memory, Window(address(memory), 0, stride * width, width), inputs.shape, dtype)
    memory = card.upload(np.asarray(inputs, dtype))
    return OnCard(card, memory, Window(address(memory), 0, timesteps * width, width), inputs.shape, dtype)


def backwards(window: Window, timesteps: int) -> Window:
    """The same timesteps from the last to the first."""
    start = window.start + (timesteps - 1) * window.time_stride
    return window._replace(start=start, time_stride=-window.time_stride)


@dataclass(frozen=True)
class Launch:
    """A launch that is ready: everything lies on the card."""

    card: Card
    kernel: Any
    blocks: int
    threads: int
    call: CudaCall
    outputs: OnCard
    states: tuple[Any, Any, Any]  # h, c and the last output, (batch, units) each, updated by the kernel
    memory: tuple[Any, ...]  # what else is to be kept alive

    def start(self) -> None:
        """Launch it; it is done some time later."""
        self.card.launch(self.kernel, self.blocks, self.threads, self.call)

    def results(self, states_too: bool = True) -> tuple[Any, Any, Any]:
        """The outputs, on the card if they are sequences, and the final h and c, None without `states_too`."""
        batch, _, units = self.outputs.shape
        card, dtype = self.card, self.outputs.dtype

        def fetched(memory: Any) -> Array:
            return card.download(memory, card.room((batch, units), dtype))

        # The memory that the kernel uses is free for others when this returns.
        card.wait()
        h, c = map(fetched, self.states[:2]) if states_too else (None, None)
        if self.call.options.return_sequences:
            return self.outputs, h, c
        if self.call.options.masked:
            return fetched(self.states[2]), h, c
        return fetched(self.states[0]) if h is None else h, h, c

    def left_there(self, card: Caller) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
        """The outputs and the final h and c, of a job whose states are `DeviceArray`s."""
        dtype = self.outputs.dtype
        h, c, last = self.states
        if self.call.options.return_sequences:
            return DeviceArray(card, described(self.outputs.memory, self.outputs.shape, dtype)), h, c
        return last if self.call.options.masked else h.copy(), h, c


def sequence(
    cell: PackedCell,
    inputs: Any,
    h: Any,
    c: Any,
    *,
    card: Card | None = None,
    states_too: bool = True,
    **options: Any,
) -> tuple[Any, Any, Any]:
    """`backends.cpu.run.sequence` on a GPU: the same arguments, results and bits.

    Arrays may lie on the card already. A sequence of outputs is left there, and of inputs that are a `DeviceArray`
    everything is, on their stream. card: the stream to use; by default that of the thread. states_too: whether to copy
    the final h and c to main memory; otherwise they are None. Raises `DeviceError`.
    """
    if isinstance(inputs, DeviceArray):
        job = prepare(inputs.card, cell, inputs, h, c, **options)
        job.start()
        return job.left_there(inputs.card)
    job = prepare(current() if card is None else card, cell, inputs, h, c, **options)
    job.start()
    return job.results(states_too)


def stacked(inputs: Any, calls: Sequence[CellCall], states_too: bool = True) -> tuple[Any, list[Any]]:
    """Run a batch through several cells, see `driver.sequences`.

    What goes from cell to cell stays on the card, and all of it does if the inputs lie there.
    """
    outputs, states = in_turn(inputs, calls, partial(sequence, states_too=states_too))
    to_fetch = calls[-1].return_sequences and not isinstance(inputs, DeviceArray)
    return outputs.fetch() if to_fetch else outputs, states


def prepare(
    card: Card,
    cell: PackedCell,
    inputs: Array | OnCard | DeviceArray,
    h: Array | DeviceArray,
    c: Array | DeviceArray,
    *,
    mask: Array | DeviceArray | None = None,
    dropout_mask: Array | DeviceArray | None = None,
    recurrent_dropout_mask: Array | DeviceArray | None = None,
    go_backwards: bool = False,
    return_sequences: bool = False,
    zero_output_for_mask: bool = False,
    rows: int | None = None,
) -> Launch:
    """The arguments of `backends.cpu.run.sequence`, copied to the card, and the kernel for them.

    rows: of a thread; by default as policy.py has them. Raises `ConfigError` for a forced tier that takes no such cell.
    """
    units, dtype = cell.cell.units, cell.dtype
    batch, timesteps = inputs.shape[:2]
    own = cell_on(card, cell)
    x = inputs if isinstance(inputs, OnCard) else batch_on(card, inputs, dtype)
    steps, marks = marks_on(card, mask, timesteps)
    dropout, dropout_memory = masks_on(card, dropout_mask, batch, dtype)
    recurrent_dropout, recurrent_memory = masks_on(card, recurrent_dropout_mask, batch, dtype)
    if isinstance(inputs, DeviceArray):
        states = states_in_place(inputs.card, h, c, dtype, mask is not None)
    else:
        states = states_on(card, h, c, dtype)
    dropped = dropout.number, recurrent_dropout.number
    plan, kernel = kernel_for(card, own, dtype, batch, dropped, mask is not None, rows)
    h_next = card.empty(batch * units if plan.layout is None else 1, dtype)
    z = card.empty(4 * batch * units if own.over_units else 1, dtype)
    outputs = card.empty(batch * timesteps * units if return_sequences else 1, dtype)
    y = OnCard(card, outputs, Window(address(outputs), 0, timesteps * units, units), (batch, timesteps, units), dtype)
    call = CudaCall(
        first_row=0,
        last_row=batch,
        timesteps=timesteps,
        cell=own.cell,
        inputs=backwards(x.window, timesteps) if go_backwards else x.window,
        mask=backwards(steps, timesteps) if go_backwards else steps,
        dropout=dropout,
        recurrent_dropout=recurrent_dropout,
        state=State(*map(address, states)),
        h_next=address(h_next),
        z=address(z),
        outputs=y.window,
        options=Options(return_sequences, mask is not None, zero_output_for_mask),
    )
    memory = own, x, marks, dropout_memory, recurrent_memory, h_next, z
    return Launch(card, kernel, plan.blocks, plan.threads, call, y, states, memory)
