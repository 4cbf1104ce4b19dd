"""Batches of rows of unequal lengths: the longest first, so that the kernels leave padding out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numba_lstm.backends.cpu import threads

Array = NDArray[Any]

# Share of padding in a batch from which its rows are sorted; a thread copies rows in multiples of a group of the
# kernels, up to a number of bytes.
WORTH_SORTING, ROWS_AT_ONCE, BYTES_AT_ONCE = 1 / 16, 48, 4 << 20


def longest_first(mask: Array) -> Array | None:
    """The order of rows by how many timesteps count, the most first; None if sorting would not save anything.

    mask: (batch, timesteps), true where a step counts.
    """
    counts = np.count_nonzero(mask, axis=1)
    if not mask.size or np.all(counts[1:] <= counts[:-1]):
        return None
    # Padding is before the first step that counts, or after the last one; holes between do not end a row.
    padding = np.maximum(np.argmax(mask, axis=1), np.argmax(mask[:, ::-1], axis=1))
    padding[counts == 0] = mask.shape[1]
    return np.argsort(-counts, kind="stable") if padding.sum() > WORTH_SORTING * mask.size else None


def in_order(
    order: Array,
    ranges: list[tuple[int, int]],
    call: Callable[..., tuple[Array, Array, Array]],
    inputs: Array,
    h: Array,
    c: Array,
    mask: Array,
    dropout_masks: tuple[Array | None, Array | None],
    *,
    return_sequences: bool,
    zero_output_for_mask: bool,
) -> tuple[Array, Array, Array]:
    """The results of run.sequence for these arguments, from calls on some rows at a time, taken in that order.

    dropout_masks: those of the inputs and of h. ranges: what each thread takes of it. call: run.sequence with the cell
    and both options. Only the timesteps that one of the rows needs are copied and run; what the others give is known.
    The results do not depend on the order in a single bit.
    """
    batch, timesteps, input_dim = inputs.shape
    units, dtype = h.shape[1], inputs.dtype
    outputs = np.empty((batch, timesteps, units), dtype) if return_sequences else np.zeros((batch, units), dtype)
    final_h, final_c = h.astype(dtype), c.astype(dtype)
    at_once = max(1, BYTES_AT_ONCE // (ROWS_AT_ONCE * timesteps * input_dim * dtype.itemsize)) * ROWS_AT_ONCE

    def part(begin: int, end: int) -> None:
        for first in range(begin, end, at_once):
            rows = order[first : min(first + at_once, end)]
            needed = np.flatnonzero(mask[rows].any(axis=0))
            if not needed.size:
                outputs[order[first:end]] = 0
                break
            start, stop = int(needed[0]), int(needed[-1]) + 1
            of_inputs, of_h = (None if masks is None else masks[:, rows] for masks in dropout_masks)
            last, final_h[rows], final_c[rows] = call(
                inputs[rows, start:stop],
                h[rows],
                c[rows],
                mask=mask[rows, start:stop],
                dropout_mask=of_inputs,
                recurrent_dropout_mask=of_h,
                into=(outputs[:, start:stop], rows) if return_sequences else None,
            )
            if return_sequences:
                outputs[rows, :start] = 0
                outputs[rows, stop:] = 0 if zero_output_for_mask else outputs[rows, stop - 1 : stop]
            elif stop == timesteps or not zero_output_for_mask:
                outputs[rows] = last

    threads.run(part, ranges)
    return outputs, final_h, final_c
