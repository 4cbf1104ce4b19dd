"""How many threads kernels use, and the pool that runs them. Plain Python: kernels release the GIL."""

from __future__ import annotations

import bisect
import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from numba_lstm.errors import ConfigError

Result = TypeVar("Result")

_lock = threading.Lock()
_number: int | None = None
_here = threading.local()  # .is_worker in the pool's own threads
_helpers: tuple[int, ThreadPoolExecutor] | None = None
_pool: tuple[int, int, ThreadPoolExecutor] | None = None  # process id, workers, pool
_crowded_until, _crowded_for = 0.0, 0.0  # time.perf_counter() and seconds

# Less than this gain over one thread is none; then helpers are left alone for so many seconds, twice as many each time.
LEAST_GAIN, CROWDED_SECONDS, MOST_CROWDED_SECONDS = 1.0, 0.02, 1.0


def available_cpus() -> int:
    """CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _checked(number: object, name: str) -> int:
    if isinstance(number, str) and number.strip().isdigit():
        number = int(number)
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= 1024:
        raise ConfigError(f"{name} is {number!r}; expected a number of threads from 1 to 1024")
    return number


def set_num_threads(number: int) -> None:
    """Use this many threads from now on, in every thread of this process.

    Raises ConfigError unless it is an integer from 1 to 1024. No result depends on it.
    """
    global _number
    _number = _checked(number, "the number of threads")


def get_num_threads() -> int:
    """Threads in use: set_num_threads, else NUMBA_LSTM_NUM_THREADS, else the CPUs this process may run on."""
    if _number is not None:
        return _number
    variable = os.environ.get("NUMBA_LSTM_NUM_THREADS")
    return _checked(variable, "NUMBA_LSTM_NUM_THREADS") if variable else available_cpus()


def _mark_worker() -> None:
    _here.is_worker = True


def alone() -> bool:
    """True in a thread of the pool: it must not wait for another, which may be waiting for it."""
    return getattr(_here, "is_worker", False)


def started(workers: int, name: str, initializer: Callable[[], None] | None = None) -> ThreadPoolExecutor:
    """A pool whose threads all run already.

    Another thread starts them: a Ctrl-C reaches the main thread alone, and if it came there between the start of a
    worker and the pool's note of it, nothing would ever end that worker, and the process would wait for it at its end.
    """
    pool = ThreadPoolExecutor(workers, name, initializer)

    def start() -> None:
        all_run = threading.Event()
        for _ in range(workers):
            pool.submit(all_run.wait)
        all_run.set()

    starter = threading.Thread(target=start, name=name)
    starter.start()
    starter.join()
    return pool


def usable() -> int:
    """How many threads a call from this thread may take: one from a thread of the pool."""
    return 1 if alone() else get_num_threads()


def _executor(workers: int) -> ThreadPoolExecutor:
    """A pool of this process with so many workers at least. A forked child has none of its parent's threads."""
    global _pool
    with _lock:
        if _pool is None or _pool[0] != os.getpid() or _pool[1] < workers:
            if _pool is not None and _pool[0] == os.getpid():
                _pool[2].shutdown(wait=False)
            _pool = os.getpid(), workers, started(workers, "numba_lstm", _mark_worker)
        return _pool[2]


def split(rows: int, parts: int, whole: int = 1, shares: Any = None) -> list[tuple[int, int]]:
    """Ranges of rows, as even as multiples of ``whole`` allow, at most ``parts`` of them.

    shares: (rows,) the work of each row, if that differs; then the ranges are about even in work.
    """
    units = -(-rows // whole)
    parts = max(1, min(parts, units))
    edges = [min(rows, units * part // parts * whole) for part in range(parts + 1)]
    if shares is not None and parts > 1:
        done = list(itertools.accumulate(shares.tolist(), initial=0))
        cuts = [bisect.bisect_left(done, done[-1] * part / parts) for part in range(1, parts)]
        edges = sorted({0, *(min(rows, round(cut / whole) * whole) for cut in cuts), rows})
    return list(itertools.pairwise(edges))


def run(work: Callable[[int, int], None], ranges: list[tuple[int, int]]) -> None:
    """work(first, last) for every range, the first in the calling thread; the first error is raised when all ended."""
    together([partial(work, *part) for part in ranges])


def together(calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """The results of several calls, each in a thread of its own; the first error is raised when all have ended."""
    if len(calls) == 1 or alone():
        return [call() for call in calls]
    pool = _executor(len(calls) - 1)
    others = [pool.submit(call) for call in calls[1:]]
    # This thread is one of them meanwhile: what it calls must not wait for threads that have enough to do.
    _here.is_worker = True
    try:
        first = calls[0]()
    finally:
        _here.is_worker = False
        for other in others:
            other.exception()
    return [first, *(other.result() for other in others)]


def _give_way() -> None:
    """Let every other thread and process of the machine go before this thread, where the platform has that."""
    _mark_worker()
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _helper() -> ThreadPoolExecutor:
    global _helpers
    with _lock:
        if _helpers is None or _helpers[0] != os.getpid():
            workers = max(1, available_cpus() - 1)
            _helpers = os.getpid(), started(workers, "numba_lstm_helper", _give_way)
        return _helpers[1]


def call_helper(work: Callable[[], None]) -> Callable[[], object]:
    """Have a thread of lowest priority begin with work() as soon as it is free; returns what calls it off again.

    Nothing waits for it: work that has begun by then goes on to its end.
    """
    return _helper().submit(work).cancel


def with_help(work: Callable[[], None], helpers: int) -> None:
    """work() in this thread, and in so many helpers as well, as soon as they are free; see `call_helper`."""
    calls_off = [] if alone() else [call_helper(work) for _ in range(helpers)]
    try:
        work()
    finally:
        for call_off in calls_off:
            call_off()


def crowded() -> bool:
    """Whether helpers did not make up for what they cost lately: something else has their CPU, or Python's lock."""
    return time.perf_counter() < _crowded_until


def note_gain(gain: float) -> None:
    """Remember for `crowded` how much sooner help just made something end, as a multiple."""
    global _crowded_until, _crowded_for
    _crowded_for = 0.0 if gain >= LEAST_GAIN else min(MOST_CROWDED_SECONDS, 2 * _crowded_for or CROWDED_SECONDS)
    _crowded_until = time.perf_counter() + _crowded_for
