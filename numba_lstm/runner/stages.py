"""A run as three stages - reader, compute, writer - that pass chunks of rows along.

The stages know nothing of one another: a device brings its own compute, a comparison its own writer, and the loop
below stays the same. Rows are independent, so where a chunk is cut never changes a bit of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


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

    def read(self, start: int, stop: int) -> Chunk:
        """Rows start to stop."""


class Writer(Protocol):
    """Where results go. Nothing of them is to be seen before ``commit``."""

    def write(self, result: Result) -> None:
        """Take the next rows: they come in order and without holes."""

    def commit(self) -> None:
        """Put everything in its place."""

    def discard(self) -> None:
        """Forget everything that was not committed, leaving no file behind."""


Compute = Callable[[Chunk], Result]


def drive(
    reader: Reader,
    compute: Compute,
    writer: Writer,
    chunks: Iterable[tuple[int, int]],
    progress: Callable[[int], None],
) -> None:
    """Move each chunk of rows ``(start, stop)`` from reader through compute to writer, then commit.

    Compute has a thread of its own. So the next chunk is read and the last one written meanwhile, and an interrupt
    reaches the calling thread at once, even while a kernel runs. Whatever fails, the writer discards.
    `progress` is called with the number of rows written so far.
    """
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="numba_lstm")
    running: Future[Result] | None = None
    rows_done = 0

    def finish(future: Future[Result]) -> None:
        nonlocal rows_done
        result = future.result()
        writer.write(result)
        rows_done += result.stop - result.start
        progress(rows_done)

    try:
        for start, stop in chunks:
            following = worker.submit(compute, reader.read(start, stop))
            if running is not None:
                finish(running)
            running = following
        if running is not None:
            finish(running)
        writer.commit()
    except BaseException:
        worker.shutdown(wait=False, cancel_futures=True)
        writer.discard()
        raise
    worker.shutdown()
