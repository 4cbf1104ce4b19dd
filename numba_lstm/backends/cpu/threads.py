"""How many threads kernels use, and the helpers that run them beside the calling thread. Kernels release the GIL.

There is one way of sharing work. A caller offers it to the helpers and begins with it; a helper that is free takes part
as soon as the system lets it; the caller ends what nobody has begun, and waits for nothing but what a helper is in the
midst of. So no call depends on a helper: not in a forked child, which has none yet, not while other threads' calls have
all of them, and not on a machine whose CPUs are busy.

Helpers are threads of ordinary priority. One of lower priority can be kept from running while it holds the GIL, and
the whole process waits for it then.

What a Ctrl-C does. Work owns the memory that its kernels touch: a function that is handed over refers to the arrays
behind the addresses in it, and the helper holds on to the function. So a caller may be torn away at any time. It waits
for the helpers nevertheless, and they end early, at the next `check`.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from numba_lstm.errors import ConfigError

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

Result = TypeVar("Result")

_number: int | None = None
_crowded_until, _crowded_for = 0.0, 0.0  # time.perf_counter() and seconds

# Less than this gain over one thread is none; then helpers are left alone for some seconds, twice as many each time.
LEAST_GAIN, CROWDED_SECONDS, MOST_CROWDED_SECONDS = 1.0, 0.02, 1.0
# The end of the process waits so long for a helper that is in a kernel.
SECONDS_AT_EXIT = 2.0


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


class Stopped(BaseException):
    """Raised by `check`: nobody wants the rest of this work any more."""


class Stop:
    """Tells work in other threads to end early: it does so at its next `check`."""

    __slots__ = ("asked",)

    def __init__(self) -> None:
        self.asked = False

    def obeyed_by(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """work(*arguments), in this thread, which heeds this object meanwhile."""
        before = _here.stop
        try:
            _here.stop = self
            return work(*arguments)
        finally:
            _here.stop = before


class _Here(threading.local):
    """The work that a thread is doing for others."""

    shares = False  # it takes part in work that is shared already
    stop: Stop | None = None


_here = _Here()


def check() -> None:
    """To be called between kernel calls: raises `Stopped` if this thread works for a caller that is gone."""
    if _here.stop is not None and _here.stop.asked:
        raise Stopped


class _Task(Stop):
    """Work offered to one helper."""

    __slots__ = ("_work", "error", "running")

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__()
        self._work = work
        self.running = threading.Lock()  # held by a helper that is in the midst of it
        self.error: BaseException | None = None

    def run(self) -> None:
        """In a helper: do the work, unless the caller is gone."""
        with self.running:
            try:
                if not self.asked:
                    self.obeyed_by(self._work)
            except BaseException as error:
                self.error = error


class _Helpers:
    """The helper threads of a process: as many as any call asked for so far, asleep while there is nothing to do."""

    def __init__(self) -> None:
        self._offered: deque[_Task] = deque()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._threads = 0
        self._starting = threading.Lock()

    def offer(self, work: Callable[[], object], number: int, tasks: list[_Task]) -> None:
        """Have `number` helpers do work(), each as soon as it is free. tasks: gets one more for each."""
        if self._threads < number:
            self._start(number)
        for _ in range(min(number, self._threads)):
            task = _Task(work)
            tasks.append(task)
            self._offered.append(task)
            # A helper that has not woken up yet will see this task as well.
            if self._bell.qsize() < self._threads:
                self._bell.put(None)

    def withdraw(self, tasks: Sequence[_Task]) -> None:
        """Let no helper begin with them any more."""
        for task in tasks:
            with contextlib.suppress(ValueError):  # a helper has taken it
                self._offered.remove(task)

    def _start(self, number: int) -> None:
        with self._starting, contextlib.suppress(RuntimeError):  # the system grants no more threads: go without
            while self._threads < number:
                # Not threading.Thread, whose start() a Ctrl-C can leave half done.
                _thread.start_new_thread(self._serve, ())
                self._threads += 1

    def _serve(self) -> None:
        _here.shares = True
        while True:
            self._bell.get()
            with contextlib.suppress(IndexError):  # nothing is left
                while True:
                    self._offered.popleft().run()

    def end(self) -> None:
        """At the end of the process: compiled code is about to go, so no helper may be in it or enter it any more."""
        there: SimpleQueue[None] = SimpleQueue()
        forever = threading.Lock()
        forever.acquire()

        def stay() -> None:
            there.put(None)
            forever.acquire()

        self._offered.clear()
        self.offer(stay, self._threads, [])
        with contextlib.suppress(Empty):
            for _ in range(self._threads):
                there.get(timeout=SECONDS_AT_EXIT)


_helpers = _Helpers()
atexit.register(lambda: _helpers.end())


def _begin_anew() -> None:
    """A forked child has none of its parent's threads, and locks as they happened to be."""
    global _helpers, _here
    _helpers, _here = _Helpers(), _Here()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def alone() -> bool:
    """Whether this thread takes part in work that is shared already: what it calls is not shared once more."""
    return _here.shares


def usable() -> int:
    """How many threads a call from this thread may take."""
    return 1 if alone() else get_num_threads()


def with_help(own: Callable[[], object], work: Callable[[], object], helpers: int, wait: bool = False) -> None:
    """own() in this thread, and work() in `helpers` helpers meanwhile, or in as many of them as come.

    wait: for those that are in the midst of it when own() has ended, and raise what the first of them raised.
    Otherwise they may outlast this call; what they raise is lost, and no matter to the caller.
    """
    tasks: list[_Task] = []
    try:
        if helpers:
            _helpers.offer(work, helpers, tasks)
        own()
    except BaseException:
        for task in tasks:
            task.asked = wait = True
        raise
    finally:
        _helpers.withdraw(tasks)
        if wait:
            _wait_for(tasks)
    if wait:
        for task in tasks:
            if task.error is not None:
                raise task.error


def _wait_for(tasks: Sequence[_Task]) -> None:
    """Until no helper is in the midst of one of them. A Ctrl-C meanwhile is raised afterwards."""
    interrupt = None
    for task in tasks:
        while task.running.locked():
            try:
                with task.running:  # not acquire and release: a Ctrl-C may come between the two
                    pass
            except BaseException as error:
                interrupt = error
                for one in tasks:
                    one.asked = True
    if interrupt is not None:
        raise interrupt


def together(calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """The results of several calls, which this thread and helpers take one by one.

    When one raises, no further one is begun, and the error is raised when those that were begun have ended.
    """
    if len(calls) == 1:
        return [calls[0]()]
    results: list[Any] = [None] * len(calls)
    left = deque(enumerate(calls))

    def work() -> None:
        try:
            while True:
                check()
                try:
                    number, call = left.popleft()
                except IndexError:
                    return
                results[number] = call()
        except BaseException:
            left.clear()
            raise

    before = _here.shares
    helpers = min(len(calls), usable()) - 1
    try:
        _here.shares = True
        with_help(work, work, helpers, wait=True)
    finally:
        # No call stands before the next line: a Ctrl-C would have the thread share nothing for ever.
        _here.shares = before
    return results


def run(work: Callable[[int, int], None], ranges: list[tuple[int, int]]) -> None:
    """work(first, last) for every range, see `together`."""
    if len(ranges) == 1:
        work(*ranges[0])
    else:
        together([partial(work, *part) for part in ranges])


def crowded() -> bool:
    """Whether helpers did not make up for what they cost lately: something else has their CPU, or Python's lock."""
    return time.perf_counter() < _crowded_until


def note_gain(gain: float) -> None:
    """Remember for `crowded` how much sooner help just made something end, as a multiple."""
    global _crowded_until, _crowded_for
    _crowded_for = 0.0 if gain >= LEAST_GAIN else min(MOST_CROWDED_SECONDS, 2 * _crowded_for or CROWDED_SECONDS)
    _crowded_until = time.perf_counter() + _crowded_for


def started(workers: int, name: str) -> ThreadPoolExecutor:
    """A pool for the stages of a run, whose threads all run already.

    Another thread starts them: a Ctrl-C reaches the main thread alone, and if it came there between the start of a
    worker and the pool's note of it, nothing would ever end that worker, and the process would wait for it at its end.
    """
    from concurrent.futures import ThreadPoolExecutor  # late: a short call has no use for it

    pool = ThreadPoolExecutor(workers, name)

    def start() -> None:
        all_run = threading.Event()
        for _ in range(workers):
            pool.submit(all_run.wait)
        all_run.set()

    starter = threading.Thread(target=start, name=name)
    starter.start()
    starter.join()
    return pool
