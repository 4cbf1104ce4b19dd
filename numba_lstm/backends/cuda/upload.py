"""Arrays as arguments of kernels: uploaded from main memory, or read in place on the GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from numba_lstm.backends.cpu import windows
from numba_lstm.backends.cuda import copies
from numba_lstm.backends.cuda.arrays import DeviceArray, in_main_memory
from numba_lstm.backends.cuda.caller_stream import CallerStream
from numba_lstm.backends.cuda.stream import Array, Stream, address
from numba_lstm.kernels.arguments import Masks, Window


@dataclass(frozen=True)
class DeviceBatch:
    """A (batch, timesteps, width) array in a GPU's memory."""

    stream: Stream
    memory: Any  # keeps it alive
    window: Window
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def copy_to_host(self) -> Array:
        """A copy in main memory, of outputs that are contiguous."""
        return self.stream.download(self.memory, self.stream.host_array(self.shape, self.dtype))


def upload_batch(stream: Stream, inputs: Array | DeviceArray, dtype: np.dtype[Any]) -> DeviceBatch:
    """Inputs (batch, timesteps, input_dim); of windows that overlap, the record that they share is uploaded."""
    if isinstance(inputs, DeviceArray):
        return DeviceBatch(stream, inputs, window_of(inputs), inputs.shape, dtype)
    timesteps, width = inputs.shape[1:]
    found = windows.record_of(inputs)
    if found is not None:
        record, stride = found
        memory = stream.upload(np.asarray(record, dtype))
        return DeviceBatch(stream, memory, Window(address(memory), 0, stride * width, width), inputs.shape, dtype)
    memory = stream.upload(np.asarray(inputs, dtype))
    return DeviceBatch(stream, memory, Window(address(memory), 0, timesteps * width, width), inputs.shape, dtype)


def window_of(array: DeviceArray) -> Window:
    """(rows, timesteps, ...), with any strides of rows and timesteps; the numbers of a timestep are contiguous."""
    size = array.dtype.itemsize
    return Window(array.address, 0, array.strides[0] // size, array.strides[1] // size)


def upload_mask(stream: Stream, mask: Any, timesteps: int) -> tuple[Window, Any]:
    """A mask (batch, timesteps), or None, and the memory to keep alive."""
    if mask is None:
        return Window(0, 0, 0, 0), None
    if isinstance(mask, DeviceArray):
        return window_of(mask), mask
    memory = stream.upload(np.asarray(mask).astype(np.uint8))
    return Window(address(memory), 0, timesteps, 1), memory


def upload_dropout(stream: Stream, masks: Any, batch: int, dtype: np.dtype[Any]) -> tuple[Masks, Any]:
    """Dropout masks (1 or 4, batch, width), or None, and the memory to keep alive."""
    if masks is None:
        return Masks(0, 0, batch), None
    if isinstance(masks, DeviceArray):
        array = masks if masks.is_contiguous and masks.dtype == dtype else masks.astype(dtype)
        return Masks(array.address, len(array), batch), array
    memory = stream.upload(np.asarray(masks, dtype))
    return Masks(address(memory), len(masks), batch), memory


def upload_states(stream: Stream, h: Any, c: Any, dtype: np.dtype[Any]) -> tuple[Any, Any, Any]:
    """h, c and the last output, (batch, units) each, in memory that the kernel updates."""
    uploaded = [stream.upload(np.asarray(in_main_memory(array), dtype)) for array in (h, c, np.zeros(h.shape))]
    return uploaded[0], uploaded[1], uploaded[2]


def copy_states(stream: CallerStream, h: Any, c: Any, dtype: np.dtype[Any], has_mask: bool) -> tuple[Any, Any, Any]:
    """The same as `DeviceArray`s, with as few copies from main memory as possible: those may wait for the stream.

    has_mask: whether there is a mask; without one the last output is not used.
    """
    whole = copies.empty(stream, (3, *h.shape), dtype)
    states = whole[0], whole[1], whole[2]
    # Most sequences start from zeros.
    from_zero = [not isinstance(array, DeviceArray) and _is_zero(array) for array in (h, c)]
    if all(from_zero):
        copies.fill_with_zeros(whole[: 3 if has_mask else 2])
        return states
    for array, zero, state in zip((h, c), from_zero, states, strict=False):
        if zero:
            copies.fill_with_zeros(state)
        else:
            copies.copy(array if isinstance(array, DeviceArray) else copies.upload(stream, np.asarray(array)), state)
    if has_mask:
        copies.fill_with_zeros(states[2])
    return states


def _is_zero(array: Array) -> bool:
    """Whether every bit is zero; those of -0.0 are not."""
    return not np.ascontiguousarray(array).view(np.uint8).any()
