"""The middle stage of a run on GPUs: chunks are distributed over all devices, several in progress on each."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager

from numba_lstm.backends.cpu import threads
from numba_lstm.backends.cuda import nvidia
from numba_lstm.backends.cuda.card import current, free_memory, how_many, using
from numba_lstm.backends.cuda.pool import Pool
from numba_lstm.backends.cuda.staged import PageLocked, StagedCard
from numba_lstm.errors import DeviceMemoryError
from numba_lstm.runner.plan import memory_in_use
from numba_lstm.runner.stages import Chunk, ComputeChunk, Read, Result

WORKERS = 3  # of a card: one's chunk is read or uploaded, another's computed, the third's downloaded or written


class OnCards:
    """A compute with workers on every GPU that this process sees.

    Each worker has its own thread, stream, page-locked memory and device memory, and one chunk at a time, which it
    uploads, computes and downloads. So the workers overlap with each other, and with the reading of one chunk and the
    writing of another. One thread reads all chunks, each into the page-locked memory of its worker, and the writer
    writes them from there.
    """

    def __init__(self, compute: ComputeChunk) -> None:
        self._compute = compute
        self._cards = range(how_many())
        self.each = WORKERS
        self.free_memory = min(map(free_memory, self._cards))  # of the fullest card, before anything is there
        self.memory_in_use = memory_in_use()  # by the process, likewise
        pools: list[list[Pool]] = [[] for _ in self._cards]
        # Neighbouring chunks go to different cards.
        self._workers = [_Worker(number, pools[number]) for _ in range(self.each) for number in self._cards]
        self._reading = threads.started(1, "numba_lstm_reader")
        self._turn = 0

    @property
    def under_way(self) -> int:
        """One chunk per worker: a worker gets no other chunk before its last one is written."""
        return len(self._workers)

    def notes(self) -> list[str]:
        """The devices in use, and those whose memory was short."""
        known = nvidia.driver()["devices"]
        names = [f"{n} ({known[n]['name']})" if n < len(known) else str(n) for n in self._cards]
        found = [f"GPUs: {', '.join(names)}; chunks under way on each: {self.each}"]
        if any(worker.page_locked.refused for worker in self._workers):
            found.append("the system granted no page-locked memory, so copies to and from the GPU take longer")
        return found

    def submit(self, read: Read) -> Future[Result]:
        """Have the chunk read, then computed by the next worker."""
        worker = self._workers[self._turn]
        self._turn = (self._turn + 1) % len(self._workers)
        return worker.submit(self._compute, self._reading.submit(read, worker.page_locked.room))

    def cancel(self) -> None:
        """Start no further chunk. Workers finish their current chunk and free their memory; nobody waits for them."""
        self._reading.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.end()

    def close(self) -> None:
        """End all threads, and free device memory and page-locked memory."""
        ends = [worker.end() for worker in self._workers]
        self._reading.shutdown()
        for end in ends:
            end.result()


class _Worker:
    """One worker. Its own thread allocates its memory at the first chunk."""

    def __init__(self, number: int, pools: list[Pool]) -> None:
        self._number, self._pools = number, pools
        self._card: StagedCard | None = None
        self.page_locked = PageLocked(number)
        self._freed: Future[None] | None = None  # once it has begun to end
        self._thread = threads.started(1, f"numba_lstm_gpu_{number}")

    def submit(self, compute: ComputeChunk, chunk: Future[Chunk]) -> Future[Result]:
        return self._thread.submit(self._run, compute, [chunk])

    def _run(self, compute: ComputeChunk, chunk: list[Future[Chunk]]) -> Result:
        if self._freed is not None:
            raise CancelledError
        if self._card is None:
            self._card = StagedCard(self._number, self.page_locked, self._pools)
        with using(self._card):
            # Taken from the list, for the thread pool holds on to arguments, and so to page-locked memory.
            return compute(chunk.pop().result())

    def end(self) -> Future[None]:
        """Start nothing further; after its current work the thread frees its memory and ends."""
        if self._freed is None:
            self._freed = self._thread.submit(self._free)
            self._thread.shutdown(wait=False)
        return self._freed

    def _free(self) -> None:
        card, self._card = self._card, None
        if card is not None:
            card.close()


class TakingTurns:
    """A compute that only one worker of a device may use at a time, once the device's memory was short.

    A chunk that did not fit beside those of other workers is tried again alone. Raises `DeviceMemoryError` if it
    still does not fit.
    """

    def __init__(self, compute: ComputeChunk) -> None:
        self._compute = compute
        self._changed = threading.Condition()
        self._busy: dict[int, int] = {}  # by the numbers of cards: how many workers compute there
        self._short: set[int] = set()  # cards whose memory was

    def __call__(self, chunk: Chunk) -> Result:
        """The outputs of a chunk."""
        number = current().number
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
                current().forget()  # buffers for more rows, or of other workers
            yield alone
        except DeviceMemoryError:
            self._short.add(number)
            raise
        finally:
            with self._changed:
                self._busy[number] -= 1
                self._changed.notify_all()
