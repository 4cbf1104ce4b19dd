"""The shapes beside the other libraries: each checked against float64, then all timed in turn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

from benchmarks.limits import Limits, floor
from benchmarks.results import shape_text, threads_text
from benchmarks.shapes import Shape
from numba_lstm.bench.compare import Say, timed
from numba_lstm.bench.problem import Problem


def rows(
    section: str,
    shapes: Iterable[Shape],
    peers: Sequence[ModuleType],
    threads: int,
    seconds: float,
    limits: Limits,
    say: Say,
) -> list[dict[str, Any]]:
    """One entry a shape and peer."""
    entries = []
    for shape in shapes:
        problem = Problem(*shape)
        found = timed(problem, peers, threads, seconds, say)
        least, limit = floor(problem, limits, threads)
        for peer, error, times in found:
            entries.append(
                {
                    "section": section,
                    "threads": threads,
                    "shape": list(shape),
                    "peer": peer.NAME,
                    "precision": peer.PRECISION,
                    "min": times.minimum,
                    "median": times.median,
                    "calls": times.calls,
                    "error": error,
                    "floor": least,
                    "limit": limit,
                }
            )
        say(_line(entries[-len(found) :]))
    return entries


def _line(entries: Sequence[dict[str, Any]]) -> str:
    own = entries[0]
    others = ", ".join(f"{entry['peer']} {entry['min'] / own['min']:.2f}x" for entry in entries[1:])
    reached = f"{own['min'] * 1e3:.3f} ms, {own['floor'] / own['min']:.0%} of the limit"
    return f"{threads_text(own['threads'])}, {shape_text(own['shape'])}: {reached}; {others}"
