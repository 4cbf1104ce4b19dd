"""The middle stage of a run on GPUs: chunks are distributed over all GPUs, several in progress on each."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future

from numba_lstm.backends.cpu import threads
from numba_lstm.backends.cuda import nvidia
from numba_lstm.backends.cuda.pinned import PinnedMemory, WorkerStream
from numba_lstm.backends.cuda.pool import Pool
from numba_lstm.backends.cuda.stream import free_memory, gpu_count, use_stream
from numba_lstm.runner.plan import memory_in_use
from numba_lstm.runner.stages import Chunk, ComputeChunk, Read, Result

WORKERS = 3  # of a GPU: one's chunk is read or uploaded, another's computed, the third's downloaded or written


class GpuWorkers:
    """A compute with workers on every GPU that this process sees.

    Each worker has its own thread, stream, pinned memory and device memory, and one chunk at a time, which it uploads,
    computes and downloads. So the workers overlap with each other, and with the reading of one chunk and the writing of
    another. One thread reads all chunks, each into the pinned memory of its worker, and the writer writes them from
    there.
    """

    def __init__(self, compute: ComputeChunk) -> None:
        self._compute = compute
        self._gpus = range(gpu_count())
        self.each = WORKERS
        self.free_memory = min(map(free_memory, self._gpus))  # of the fullest GPU, before the run allocates anything
        self.memory_in_use = memory_in_use()  # by the process, before that too
        pools: list[list[Pool]] = [[] for _ in self._gpus]
        # Neighbouring chunks go to different GPUs.
        self._workers = [_Worker(number, pools[number]) for _ in range(self.each) for number in self._gpus]
        self._reading = threads.started(1, "numba_lstm_reader")
        self._turn = 0

    @property
    def under_way(self) -> int:
        """One chunk per worker: a worker gets no other chunk before its last one is written."""
        return len(self._workers)

    def notes(self) -> list[str]:
        """The GPUs in use, and whether pinned memory was refused."""
        known = nvidia.driver()["devices"]
        names = [f"{n} ({known[n]['name']})" if n < len(known) else str(n) for n in self._gpus]
        found = [f"GPUs: {', '.join(names)}; chunks under way on each: {self.each}"]
        if any(worker.pinned.refused for worker in self._workers):
            found.append("the system granted no page-locked memory, so copies to and from the GPU take longer")
        return found

    def submit(self, read: Read) -> Future[Result]:
        """Have the chunk read, then computed by the next worker."""
        worker = self._workers[self._turn]
        self._turn = (self._turn + 1) % len(self._workers)
        return worker.submit(self._compute, self._reading.submit(read, worker.pinned.empty))

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
        self._stream: WorkerStream | None = None
        self.pinned = PinnedMemory(number)
        self._freed: Future[None] | None = None  # set when it starts to end
        self._thread = threads.started(1, f"numba_lstm_gpu_{number}")

    def submit(self, compute: ComputeChunk, chunk: Future[Chunk]) -> Future[Result]:
        return self._thread.submit(self._run, compute, [chunk])

    def _run(self, compute: ComputeChunk, chunk: list[Future[Chunk]]) -> Result:
        if self._freed is not None:
            raise CancelledError
        if self._stream is None:
            self._stream = WorkerStream(self._number, self.pinned, self._pools)
        with use_stream(self._stream):
            # Removed from the list, since the thread pool keeps references to arguments, and so to pinned memory.
            return compute(chunk.pop().result())

    def end(self) -> Future[None]:
        """Start nothing further; after its current work the thread frees its memory and ends."""
        if self._freed is None:
            self._freed = self._thread.submit(self._free)
            self._thread.shutdown(wait=False)
        return self._freed

    def _free(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
