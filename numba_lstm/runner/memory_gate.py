"""Chunks that share a GPU: once its memory was short, one at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from numba_lstm.backends.cuda.stream import current_stream
from numba_lstm.errors import DeviceMemoryError
from numba_lstm.runner.stages import Chunk, ComputeChunk, Result


class MemoryGate:
    """A compute that only one worker of a GPU may use at a time once the GPU's memory was short.

    A chunk that did not fit beside those of other workers is tried again alone. Raises `DeviceMemoryError` if it
    still does not fit.
    """

    def __init__(self, compute: ComputeChunk) -> None:
        self._compute = compute
        self._changed = threading.Condition()
        self._busy: dict[int, int] = {}  # by the number of the GPU: the workers that compute there
        self._short: set[int] = set()  # the GPUs whose memory was short

    def __call__(self, chunk: Chunk) -> Result:
        """The outputs of a chunk."""
        number = current_stream().gpu_number
        try:
            with self._turn(number) as alone:
                return self._compute(chunk)
        except DeviceMemoryError:
            if alone:
                raise
        with self._turn(number):
            return self._compute(chunk)

    @contextmanager
    def _turn(self, number: int) -> Iterator[bool]:
        """Wait for a turn; gives whether it is exclusive. A `DeviceMemoryError` makes all later turns exclusive."""
        with self._changed:
            self._changed.wait_for(lambda: number not in self._short or not self._busy.get(number))
            alone = number in self._short
            self._busy[number] = self._busy.get(number, 0) + 1
        try:
            if alone:
                current_stream().free_idle()  # buffers for more rows, or of other workers
            yield alone
        except DeviceMemoryError:
            self._short.add(number)
            raise
        finally:
            with self._changed:
                self._busy[number] -= 1
                self._changed.notify_all()
