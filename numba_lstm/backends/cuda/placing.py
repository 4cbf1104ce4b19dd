"""Arrays as arguments of kernels, wherever they lie: uploaded from main memory, or read in place on the GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_lstm.backends.cuda import moving
from numba_lstm.backends.cuda.arrays import DeviceArray, in_main_memory
from numba_lstm.backends.cuda.caller import Caller
from numba_lstm.backends.cuda.card import Array, Card, address
from numba_lstm.kernels.arguments import Masks, Window


def window_of(array: DeviceArray) -> Window:
    """(rows, timesteps, ...) with the numbers of a timestep side by side; the other strides are free."""
    size = array.dtype.itemsize
    return Window(array.address, 0, array.strides[0] // size, array.strides[1] // size)


def marks_on(card: Card, mask: Any, timesteps: int) -> tuple[Window, Any]:
    """A mask (batch, timesteps), and what keeps it alive; nothing is read where there is none."""
    if mask is None:
        return Window(0, 0, 0, 0), None
    if isinstance(mask, DeviceArray):
        return window_of(mask), mask
    memory = card.upload(np.asarray(mask).astype(np.uint8))
    return Window(address(memory), 0, timesteps, 1), memory


def masks_on(card: Card, masks: Any, batch: int, dtype: np.dtype[Any]) -> tuple[Masks, Any]:
    """Dropout masks (1 or 4, batch, width) as kernels take them, and what keeps them alive."""
    if masks is None:
        return Masks(0, 0, batch), None
    if isinstance(masks, DeviceArray):
        there = masks if masks.is_contiguous and masks.dtype == dtype else masks.astype(dtype)
        return Masks(there.address, len(there), batch), there
    memory = card.upload(np.asarray(masks, dtype))
    return Masks(address(memory), len(masks), batch), memory


def states_on(card: Card, h: Any, c: Any, dtype: np.dtype[Any]) -> tuple[Any, Any, Any]:
    """h, c and the last output, (batch, units) each: memory of their own, for the kernel updates it."""
    uploaded = [card.upload(np.asarray(in_main_memory(array), dtype)) for array in (h, c, np.zeros(h.shape))]
    return uploaded[0], uploaded[1], uploaded[2]


def states_in_place(card: Caller, h: Any, c: Any, dtype: np.dtype[Any], masked: bool) -> tuple[Any, Any, Any]:
    """The same without a copy from main memory, as far as that can be: it could wait for the stream.

    masked: whether there is a mask; without one nobody looks at the last output.
    """
    whole = moving.empty(card, (3, *h.shape), dtype)
    states = whole[0], whole[1], whole[2]
    # Most sequences start from zeros.
    from_zero = [not isinstance(array, DeviceArray) and _is_zero(array) for array in (h, c)]
    if all(from_zero):
        moving.clear(whole[: 3 if masked else 2], None)
        return states
    for array, zero, state in zip((h, c), from_zero, states, strict=False):
        if zero:
            moving.clear(state, None)
        else:
            moving.copy(array if isinstance(array, DeviceArray) else moving.put(card, np.asarray(array)), state)
    if masked:
        moving.clear(states[2], None)
    return states


def _is_zero(array: Array) -> bool:
    """Whether every bit is: -0.0 is none."""
    return not np.ascontiguousarray(array).view(np.uint8).any()
