"""Chunks that are too large for a device's memory, computed in pieces."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from numba_lstm.errors import DeviceMemoryError
from numba_lstm.runner.stages import Chunk, ComputeChunk, Result


class InPieces:
    """A compute that halves chunks that do not fit into the device's memory, and remembers the size that fitted.

    Rows are independent and dropout masks depend on row numbers, so the pieces give the bits of the whole. Several
    threads may use it: no thread tries a size that another one found too large.
    """

    def __init__(self, compute: ComputeChunk, *, time_major: bool = False) -> None:
        self._compute, self._axis = compute, int(time_major)
        self._lock = threading.Lock()
        self.rows: int | None = None  # how many fit; None while every chunk did

    def __call__(self, chunk: Chunk) -> Result:
        """The outputs of a chunk. Raises `DeviceMemoryError` if a single row does not fit."""
        results: list[Result] = []
        start = chunk.start
        while not results or start < chunk.stop:
            rows = self.rows
            stop = chunk.stop if rows is None else min(start + rows, chunk.stop)
            try:
                results.append(self._compute(self._piece(chunk, start, stop)))
            except DeviceMemoryError:
                if stop - start < 2:
                    raise
                with self._lock:
                    self.rows = min((stop - start) // 2, self.rows or stop - start)
            else:
                start = stop
        return results[0] if len(results) == 1 else self._joined(results)

    def _piece(self, chunk: Chunk, start: int, stop: int) -> Chunk:
        rows = slice(start - chunk.start, stop - chunk.start)
        cut = (slice(None),) * self._axis + (rows,)
        return Chunk(
            start,
            stop,
            chunk.inputs[cut],
            None if chunk.mask is None else chunk.mask[cut],
            None if chunk.initial_state is None else chunk.initial_state[rows],
        )

    def _joined(self, results: Sequence[Result]) -> Result:
        def whole(arrays: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
            return np.concatenate(arrays, axis=self._axis if arrays[0].ndim > 2 else 0)

        outputs = tuple(whole(parts) for parts in zip(*(result.outputs for result in results), strict=True))
        states = [result.final_state for result in results if result.final_state is not None]
        return Result(results[0].start, results[-1].stop, outputs, np.concatenate(states) if states else None)
