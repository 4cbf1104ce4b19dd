"""Sequences on a GPU, through one cell and through several, as in `run` and `stacked` of backends.cpu."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from numba_lstm.backends.cpu.packing import PackedCell
from numba_lstm.backends.cpu.stacked import CellCall, in_turn
from numba_lstm.backends.cuda.arrays import DeviceArray
from numba_lstm.backends.cuda.caller_stream import CallerStream
from numba_lstm.backends.cuda.cells import device_cell, kernel_for
from numba_lstm.backends.cuda.copies import describe
from numba_lstm.backends.cuda.stream import Array, Stream, address, current_stream
from numba_lstm.backends.cuda.upload import (
    DeviceBatch,
    copy_states,
    upload_batch,
    upload_dropout,
    upload_mask,
    upload_states,
)
from numba_lstm.kernels.arguments import Options, State, Window
from numba_lstm.kernels.cuda_arguments import CudaCall


def reversed_window(window: Window, timesteps: int) -> Window:
    """The same timesteps from the last to the first."""
    start = window.start + (timesteps - 1) * window.time_stride
    return window._replace(start=start, time_stride=-window.time_stride)


@dataclass(frozen=True)
class Launch:
    """A kernel and its arguments, all in the GPU's memory."""

    stream: Stream
    kernel: Any
    blocks: int
    threads: int
    call: CudaCall
    outputs: DeviceBatch
    states: tuple[Any, Any, Any]  # h, c and the last output, (batch, units) each, updated by the kernel
    memory: tuple[Any, ...]  # to keep alive

    def start(self) -> None:
        """Launch the kernel, without waiting for it."""
        self.stream.launch(self.kernel, self.blocks, self.threads, self.call)

    def results(self, return_states: bool = True) -> tuple[Any, Any, Any]:
        """The outputs, a `DeviceBatch` if they are sequences, and the final h and c, None without `return_states`."""
        batch, _, units = self.outputs.shape
        stream, dtype = self.stream, self.outputs.dtype

        def downloaded(memory: Any) -> Array:
            return stream.download(memory, stream.host_array((batch, units), dtype))

        # The memory that the kernel uses is free for others when this returns.
        stream.synchronize()
        h, c = map(downloaded, self.states[:2]) if return_states else (None, None)
        if self.call.options.return_sequences:
            return self.outputs, h, c
        if self.call.options.masked:
            return downloaded(self.states[2]), h, c
        return downloaded(self.states[0]) if h is None else h, h, c

    def device_results(self, stream: CallerStream) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
        """The outputs and the final h and c, of a launch whose states are `DeviceArray`s."""
        dtype = self.outputs.dtype
        h, c, last = self.states
        if self.call.options.return_sequences:
            return DeviceArray(stream, describe(self.outputs.memory, self.outputs.shape, dtype)), h, c
        return last if self.call.options.masked else h.copy(), h, c


def sequence(
    cell: PackedCell,
    inputs: Any,
    h: Any,
    c: Any,
    *,
    stream: Stream | None = None,
    return_states: bool = True,
    **options: Any,
) -> tuple[Any, Any, Any]:
    """`backends.cpu.run.sequence` on a GPU: the same arguments, results and bits.

    A sequence of outputs stays on the GPU, as a `DeviceBatch`. If the inputs are a `DeviceArray`, all results stay
    there, as `DeviceArray`s on its stream. stream: the current one of the thread by default. return_states: whether to
    copy the final h and c to main memory; otherwise they are None. Raises `DeviceError`.
    """
    if isinstance(inputs, DeviceArray):
        launch = prepare(inputs.stream, cell, inputs, h, c, **options)
        launch.start()
        return launch.device_results(inputs.stream)
    launch = prepare(current_stream() if stream is None else stream, cell, inputs, h, c, **options)
    launch.start()
    return launch.results(return_states)


def stacked(inputs: Any, calls: Sequence[CellCall], return_states: bool = True) -> tuple[Any, list[Any]]:
    """Run a batch through several cells, see `driver.sequences`.

    The outputs of all cells but the last stay on the GPU, and all results do if the inputs lie there.
    """
    outputs, states = in_turn(inputs, calls, partial(sequence, return_states=return_states))
    to_host = calls[-1].return_sequences and not isinstance(inputs, DeviceArray)
    return outputs.copy_to_host() if to_host else outputs, states


def prepare(
    stream: Stream,
    cell: PackedCell,
    inputs: Array | DeviceBatch | DeviceArray,
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
    """The arguments of `backends.cpu.run.sequence`, uploaded, and the kernel for them.

    rows: of a thread; by default the policy's. Raises `ConfigError` for a forced tier that does not support the cell.
    """
    units, dtype = cell.cell.units, cell.dtype
    batch, timesteps = inputs.shape[:2]
    on_device = device_cell(stream, cell)
    x = inputs if isinstance(inputs, DeviceBatch) else upload_batch(stream, inputs, dtype)
    mask_window, mask_memory = upload_mask(stream, mask, timesteps)
    dropout, dropout_memory = upload_dropout(stream, dropout_mask, batch, dtype)
    recurrent_dropout, recurrent_memory = upload_dropout(stream, recurrent_dropout_mask, batch, dtype)
    if isinstance(inputs, DeviceArray):
        states = copy_states(inputs.stream, h, c, dtype, mask is not None)
    else:
        states = upload_states(stream, h, c, dtype)
    masks = dropout.number, recurrent_dropout.number
    plan, kernel = kernel_for(stream, on_device, dtype, batch, masks, mask is not None, rows)
    h_next = stream.empty(batch * units if plan.layout is None else 1, dtype)
    z = stream.empty(4 * batch * units if on_device.normalizes_row else 1, dtype)
    memory = stream.empty(batch * timesteps * units if return_sequences else 1, dtype)
    shape, window = (batch, timesteps, units), Window(address(memory), 0, timesteps * units, units)
    outputs = DeviceBatch(stream, memory, window, shape, dtype)
    call = CudaCall(
        first_row=0,
        last_row=batch,
        timesteps=timesteps,
        cell=on_device.cell,
        inputs=reversed_window(x.window, timesteps) if go_backwards else x.window,
        mask=reversed_window(mask_window, timesteps) if go_backwards else mask_window,
        dropout=dropout,
        recurrent_dropout=recurrent_dropout,
        state=State(*map(address, states)),
        h_next=address(h_next),
        z=address(z),
        outputs=window,
        options=Options(return_sequences, mask is not None, zero_output_for_mask),
    )
    keep_alive = on_device, x, mask_memory, dropout_memory, recurrent_memory, h_next, z
    return Launch(stream, kernel, plan.blocks, plan.threads, call, outputs, states, keep_alive)
