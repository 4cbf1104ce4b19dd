"""The load from other processes during a measurement."""

from __future__ import annotations

import os
import time
from pathlib import Path


class Elsewhere:
    """The CPU time of other processes, from its creation until it is asked; None if that is unknown."""

    def __init__(self) -> None:
        self._start = self._now()

    @staticmethod
    def _now() -> tuple[float, float, float] | None:
        """Wall time, seconds that all CPUs were busy, seconds of this process and the children that ended."""
        try:
            import resource

            ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        except (ImportError, OSError):
            return None
        user, nice, system, _, _, irq, softirq, steal = ticks
        busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
        own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return time.perf_counter(), busy, sum(usage.ru_utime + usage.ru_stime for usage in own)

    def cpus(self) -> float | None:
        """The number of CPUs that other processes kept busy, on average."""
        end = self._now()
        if self._start is None or end is None:
            return None
        wall, busy, own = (now - then for now, then in zip(end, self._start, strict=True))
        return max(0.0, busy - own) / wall
