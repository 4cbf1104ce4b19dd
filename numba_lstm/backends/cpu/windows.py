"""Windows of one record that overlap: what their timesteps have in common is worked out once."""

from __future__ import annotations

from typing import Any

from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Array = NDArray[Any]


def record_of(inputs: Array) -> tuple[Array, int] | None:
    """The record (timesteps, input_dim) and the stride whose windows a batch (batch, timesteps, input_dim) is.

    It is told from the strides of a view, such as numpy.lib.stride_tricks.sliding_window_view makes. None if the batch
    is no such view, or its windows have less than half of their timesteps in common.
    """
    (batch, timesteps, width), (of_row, of_step, of_number) = inputs.shape, inputs.strides
    if batch < 2 or of_step <= 0 or of_row <= 0 or of_row % of_step:
        return None
    stride = of_row // of_step
    steps = (batch - 1) * stride + timesteps
    if 2 * steps > batch * timesteps:
        return None
    return as_strided(inputs, (steps, width), (of_step, of_number), writeable=False), stride


def windows_of(record: Array, batch: int, length: int, stride: int) -> Array:
    """The view (batch, length, width) of a record (timesteps, width); read only."""
    of_step, of_number = record.strides
    return as_strided(record, (batch, length, record.shape[1]), (stride * of_step, of_step, of_number), writeable=False)
