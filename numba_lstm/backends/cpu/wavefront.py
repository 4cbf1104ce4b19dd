"""Layers one above the other, over the same timesteps, on several threads.

A layer can take a stretch of time as soon as the layer below has given its outputs for it, and it has itself gone
through the stretch before. Threads take what is ready, stretch by stretch; so while one thread runs the lowest layer,
another runs the next one, a stretch behind. Plain Python: what a stretch computes releases the GIL.

No thread depends on another one's being quick. If nothing is ready because a thread has held a stretch for much longer
than it should take - another process has its CPU - whoever waits for it computes the same stretch itself, in memory of
its own, and the first to be done counts. So the calling thread goes on at the speed of one thread at worst, and never
waits for a thread that has not even begun.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numba_lstm.backends.cpu import threads

# A stretch is late after this multiple of the time that it should take, and this number of seconds.
LATE, LATE_SECONDS = 2.0, 100e-6
# A thread that helps leaves when it has had nothing to do for so long.
ENOUGH_SECONDS = 1.0


class WavefrontLayer(Protocol):
    """A layer to run: from the outputs of the layer below, if there is one, to outputs of its own."""

    work: int  # of one timestep, in any unit that all layers share
    state: Any  # what it has come to: of the timesteps that were kept

    def compute(self, start: int, stop: int, state: Any, again: bool) -> Any:
        """The timesteps [start, stop) from that state. again: while another thread does, and one of both counts.

        stop is a multiple of the stretches' length, or the end: no two stretches of a layer have the same number of
        lengths behind them, and `state` is not written to.
        """

    def keep(self, start: int, stop: int, result: Any) -> None:
        """Take over what `compute` returned, the new state too; stretch after stretch, each of them once."""


@dataclass(slots=True)
class _Stretch:
    """Timesteps [start, stop) of a layer, in the hands of a thread since then."""

    layer: int
    start: int
    stop: int
    state: Any
    since: float
    again: bool = False  # it is in the hands of another thread as well
    repeated: bool = False  # and so is not taken a third time


class Wavefront:
    """Layers, the lowest first, on their way through `timesteps` timesteps, `length` of them at a time.

    most_work: of a stretch that is longer because a thread is alone, see `WavefrontLayer.work`; a Ctrl-C waits for
    its end.
    """

    def __init__(
        self,
        layers: Sequence[WavefrontLayer],
        timesteps: int,
        length: int,
        workers: int,
        most_work: float = float("inf"),
    ) -> None:
        self._layers, self._timesteps, self._length, self._workers = layers, timesteps, length, workers
        # Timesteps, whole lengths: each stretch ends where one does, see `WavefrontLayer.compute`.
        self._most = [max(1, int(min(timesteps, most_work // layer.work) // length)) * length for layer in layers]
        self._done = [0] * len(layers)  # timesteps kept
        self._taken: list[_Stretch | None] = [None] * len(layers)
        self._paces = [float("inf")] * len(layers)  # the least seconds that a unit of each one's work took so far
        self._present = 0  # threads
        self._alone = 1  # stretches that a thread takes as one; more and more while no other one is here
        self._error: BaseException | None = None
        # Guards all of it. A Ctrl-C may come between any two steps of Python code: a bare lock, held by nothing but
        # `with` and never while waiting, is not left locked by one. threading.Condition would be.
        self._lock = threading.Lock()
        self._bells: list[Any] = []  # locks; who waits for a change waits until its own one is released
        # The longest way from a timestep of a layer to the end of everything goes through the heaviest layer above.
        works = [layer.work for layer in layers]
        self._heaviest = [max(works[i:]) for i in range(len(works))]
        self._above = [length * sum(works[i + 1 :]) for i in range(len(works))]
        # A layer's weights are in the cache of the thread that ran it last. That outweighs the order as long as ...
        self._slack = float("inf") if workers >= len(layers) else length * max(works)

    def run(self) -> None:
        """Run all layers through all timesteps; what one of them raises is raised."""
        began = time.perf_counter()
        self._caller = threading.get_ident()
        threads.with_help(self._lead, self._work, 0 if threads.alone() else self._workers - 1)
        works = zip(self._layers, self._paces, strict=True)
        alone = sum(pace * layer.work * self._timesteps for layer, pace in works)
        threads.note_gain(alone / (time.perf_counter() - began))

    def _lead(self) -> None:
        self._work()
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        """The work of each thread, until nothing is left to be taken."""
        stretch, result, here = None, None, None
        with self._lock:
            self._present += 1
        try:
            while True:
                with self._lock:
                    if stretch is not None:
                        self._finish(stretch, result)
                        here = stretch.layer
                threads.check()
                stretch = self._next(here)
                if stretch is None:
                    return
                layer = self._layers[stretch.layer]
                result = layer.compute(stretch.start, stretch.stop, stretch.state, stretch.again)
        except BaseException as error:
            # A Ctrl-C as well: the other threads are to end, and the calling one to raise it.
            with self._lock:
                self._error = self._error or error
                self._ring()
        finally:
            with self._lock:
                self._present -= 1

    def _finish(self, stretch: _Stretch, result: Any) -> None:
        at = stretch.layer
        if self._done[at] != stretch.start:
            return  # another thread was quicker
        layer = self._layers[at]
        layer.keep(stretch.start, stretch.stop, result)
        self._taken[at] = None
        self._done[at] = stretch.stop
        work = layer.work * (stretch.stop - stretch.start)
        self._paces[at] = min(self._paces[at], (time.perf_counter() - stretch.since) / work)
        self._ring()

    def _ring(self) -> None:
        """Wake all who wait."""
        while self._bells:
            self._bells.pop().release()

    def _next(self, here: int | None) -> _Stretch | None:
        """The stretch to compute now, sooner or later; None when there is no more. here: the layer of the last one."""
        calling = threading.get_ident() == self._caller
        while True:
            with self._lock:
                if self._error is not None or self._done[-1] >= self._timesteps:
                    return None
                stretch = self._ready(here)
                if stretch is None and calling:
                    stretch = self._late()
                if stretch is not None:
                    return stretch
                patience = self._patience() if calling else ENOUGH_SECONDS
                bell = threading.Lock()
                bell.acquire()
                self._bells.append(bell)
            if not bell.acquire(timeout=-1 if patience is None else patience) and not calling:
                return None

    def _ready(self, here: int | None) -> _Stretch | None:
        """The stretch that nobody has taken with the longest way to the end, or one of the same layer as before."""
        best, stop, most, below = None, 0, -1.0, self._timesteps
        length = self._length * (self._alone if self._present < 2 else 1)
        for at, done in enumerate(self._done):
            if below > done and self._taken[at] is None:
                level = float((self._timesteps - done) * self._heaviest[at] + self._above[at])
                if at == here:
                    level += self._slack
                if level > most:
                    best, most, stop = at, level, min(below, done + min(length, self._most[at]))
            below = done
        if best is None:
            return None
        self._alone = 2 * self._alone if self._present < 2 else 1
        state = self._layers[best].state
        stretch = _Stretch(best, self._done[best], stop, state, time.perf_counter())
        self._taken[best] = stretch
        return stretch

    def _late(self) -> _Stretch | None:
        """A stretch that another thread has had for too long, for this one to compute as well."""
        now = time.perf_counter()
        for taken in self._taken:
            if taken is not None and not taken.repeated and now > self._due(taken):
                taken.repeated = True
                return _Stretch(taken.layer, taken.start, taken.stop, taken.state, now, again=True)
        return None

    def _due(self, stretch: _Stretch) -> float:
        """When a stretch is late."""
        pace = self._paces[stretch.layer]
        if pace == float("inf"):
            pace = min(self._paces)
        work = self._layers[stretch.layer].work * (stretch.stop - stretch.start)
        return stretch.since + LATE * pace * work + LATE_SECONDS

    def _patience(self) -> float | None:
        """Seconds until the next stretch is late; None if that is not known."""
        dues = [self._due(taken) for taken in self._taken if taken is not None and not taken.repeated]
        due = min(dues, default=float("inf"))
        return None if due == float("inf") else max(0.0, due - time.perf_counter())
