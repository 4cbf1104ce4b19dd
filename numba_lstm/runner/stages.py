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
    """Rows on their way in. Time-major runs have the first two axes of inputs and mask the other way round."""

    start: int  # the number of the first row in the whole input: it places the rows' dropout masks
    stop: int
    inputs: NDArray[Any]  # (rows, timesteps, input_dim), or (rows, timesteps) of indices
    mask: NDArray[np.bool_] | None  # (rows, timesteps)
    initial_state: NDArray[Any] | None  # (rows, all states side by side)


@dataclass(frozen=True)
class Result:
    """The same rows on their way out."""

    start: int
    stop: int
    outputs: tuple[NDArray[Any], ...]  # one array, or mean and standard deviation
    final_state: NDArray[Any] | None  # (rows, all states side by side)


class Reader(Protocol):
    """Where rows come from."""

    @property
    def rows(self) -> int:
        """How many rows there are."""

    @property
    def timesteps(self) -> int:
        """How long each row is."""

    def read(self, start: int, stop: int, empty: Empty = np.empty) -> Chunk:
        """Rows start to stop. empty: makes the array for the inputs, where that is one."""


class Writer(Protocol):
    """Where results go. Nothing of them is to be seen before ``commit``."""

    def write(self, result: Result) -> None:
        """Take the next rows: they come in order and without holes."""

    def commit(self) -> None:
        """Put everything in its place."""

    def discard(self) -> None:
        """Forget everything that was not committed, leaving no file behind."""


class Compute(Protocol):
    """The stage between them. Results come in the order of the chunks, even if they are computed in another."""

    @property
    def under_way(self) -> int:
        """How many chunks it takes on before the first of them has to be written."""

    def submit(self, read: Read) -> Future[Result]:
        """Begin with the chunk that ``read()``, or ``read(empty)``, gives."""

    def cancel(self) -> None:
        """Begin with nothing more, end early, and wait for nothing."""

    def close(self) -> None:
        """Free what it has, when all results are there."""


Read = Callable[..., Chunk]
ComputeChunk = Callable[[Chunk], Result]


class OneThread:
    """A compute with a thread of its own.

    So the next chunk is read and the last one written meanwhile, and an interrupt reaches the calling thread at once,
    even while a kernel runs.
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
        """Begin with nothing more, and end what is going on early."""
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
    going: deque[Future[Result]] = deque()
    rows_done = 0

    def finish() -> None:
        nonlocal rows_done
        result = going.popleft().result()
        writer.write(result)
        rows_done += result.stop - result.start
        progress(rows_done)

    try:
        for start, stop in chunks:
            if len(going) == compute.under_way:
                finish()
            going.append(compute.submit(partial(reader.read, start, stop)))
        while going:
            finish()
        writer.commit()
    except BaseException:
        compute.cancel()
        writer.discard()
        raise
