"""A run as three stages - reader, compute, writer - that pass chunks of rows along.

The stages know nothing of one another: a device brings its own compute, a comparison its own writer, and the loop
below stays the same. Rows are independent, so where a chunk is cut never changes a bit of the result.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from numba_lstm.backends.cpu import threads
from numba_lstm.formats.npy import Empty


@dataclass(frozen=True)
class Chunk:
    """Input rows. In time-major runs the first two axes of inputs and mask are swapped."""

    start: int  # the number of the first row in the whole input: it places the rows' dropout masks
    stop: int
    inputs: NDArray[Any]  # (rows, timesteps, input_dim), or (rows, timesteps) of indices
    mask: NDArray[np.bool_] | None  # (rows, timesteps)
    initial_state: NDArray[Any] | None  # (rows, all states side by side)


@dataclass(frozen=True)
class Result:
    """The output rows of a chunk."""

    start: int
    stop: int
    outputs: tuple[NDArray[Any], ...]  # one array, or mean and standard deviation
    final_state: NDArray[Any] | None  # (rows, all states side by side)


class Reader(Protocol):
    """The source of rows."""

    @property
    def rows(self) -> int:
        """The number of rows."""

    @property
    def timesteps(self) -> int:
        """The number of timesteps of each row."""

    def read(self, start: int, stop: int, empty: Empty = np.empty) -> Chunk:
        """Rows start to stop. empty: allocates the array for the inputs, if there is only one."""


class Writer(Protocol):
    """The target of results. Nothing of them is visible before ``commit``."""

    def write(self, result: Result) -> None:
        """Take the next rows, in order and without gaps."""

    def commit(self) -> None:
        """Publish everything that was written."""

    def discard(self) -> None:
        """Discard everything that was not committed, leaving no file behind."""


class Compute(Protocol):
    """The stage between them. Results come in the order of the chunks, even if they are computed in another."""

    @property
    def under_way(self) -> int:
        """The number of chunks that it accepts before the first of them must be written."""

    def submit(self, read: Read) -> Future[Result]:
        """Start the chunk that ``read()``, or ``read(empty)``, returns."""

    def cancel(self) -> None:
        """Start no further chunk, end early, and wait for nothing."""

    def close(self) -> None:
        """Free all resources, after all results are there."""


Read = Callable[..., Chunk]
ComputeChunk = Callable[[Chunk], Result]


class OneThread:
    """A compute with its own thread.

    The next chunk is read and the last one written meanwhile, and an interrupt reaches the calling thread at once, even
    while a kernel runs.
    """

    under_way = 2  # one is computed, and the next one waits for its turn

    def __init__(self, compute: ComputeChunk) -> None:
        self._compute = compute
        self._stop = threads.Stop()
        self._worker = threads.started(1, "numba_lstm")

    def submit(self, read: Read) -> Future[Result]:
        """Read the chunk, and leave the rest to the thread."""
        return self._worker.submit(self._stop.obeyed_by, self._compute, read())

    def cancel(self) -> None:
        """Start no further chunk, and end the current one early."""
        self._stop.asked = True
        self._worker.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """End the thread."""
        self._worker.shutdown()


def drive(
    reader: Reader,
    compute: Compute,
    writer: Writer,
    chunks: Iterable[tuple[int, int]],
    progress: Callable[[int], None],
) -> None:
    """Move each chunk of rows ``(start, stop)`` from reader through compute to writer, then commit.

    A failure in any thread cancels compute, and the writer discards its output. `progress` is called with the
    number of rows written so far.
    """
    pending: deque[Future[Result]] = deque()
    rows_done = 0

    def finish() -> None:
        nonlocal rows_done
        result = pending.popleft().result()
        writer.write(result)
        rows_done += result.stop - result.start
        progress(rows_done)

    try:
        for start, stop in chunks:
            if len(pending) == compute.under_way:
                finish()
            pending.append(compute.submit(partial(reader.read, start, stop)))
        while pending:
            finish()
        writer.commit()
    except BaseException:
        compute.cancel()
        writer.discard()
        raise
