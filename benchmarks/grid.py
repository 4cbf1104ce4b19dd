"""The shapes beside the other libraries: each checked against float64, then all timed in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.limits import Limits, floor
from benchmarks.problem import Array, Problem
from benchmarks.results import shape_text, threads_text
from benchmarks.shapes import Shape

# Largest difference from float64 that is taken for rounding: anything above means another computation.
TOLERANCE = {"float32": 5e-5, "bf16": 0.1, "float64": 1e-12}

Say = Callable[[str], None]


def as_float64(outputs: Any, time_major: bool) -> Array:
    """A library's outputs as (batch, timesteps, units)."""
    if hasattr(outputs, "detach"):  # torch; NumPy knows no bfloat16
        outputs = outputs.detach().float().numpy()
    array = np.asarray(outputs, np.float64)
    return array.swapaxes(0, 1) if time_major else array


def checked(peer: ModuleType, problem: Problem, run: Callable[[], Any]) -> float:
    """The largest difference from float64. Raises ValueError if it is more than rounding."""
    outputs = as_float64(run(), peer.TIME_MAJOR)
    if outputs.shape != problem.truth.shape:
        raise ValueError(f"{peer.NAME} gives {outputs.shape}; expected {problem.truth.shape}")
    error = float(np.abs(outputs - problem.truth).max())
    if not error <= TOLERANCE[peer.PRECISION]:
        raise ValueError(f"{peer.NAME} differs from float64 by {error:.2g}: it computes something else")
    return error


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
        ready, errors, runs = [], [], []
        for peer in peers:
            try:
                run = peer.sequence(problem, threads)
                errors.append(checked(peer, problem, run))
            except Exception as failure:  # other people's libraries; one that fails must not cost the others' figures
                if peer is peers[0]:
                    raise
                say(f"left out at {shape}: {peer.NAME}: {failure}")
                continue
            ready.append(peer)
            runs.append(run)
        least, limit = floor(problem, limits, threads)
        for peer, error, times in zip(ready, errors, timing.interleaved(runs, seconds), strict=True):
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
        say(_line(entries[-len(ready) :]))
    return entries


def _line(entries: Sequence[dict[str, Any]]) -> str:
    own = entries[0]
    others = ", ".join(f"{entry['peer']} {entry['min'] / own['min']:.2f}x" for entry in entries[1:])
    reached = f"{own['min'] * 1e3:.3f} ms, {own['floor'] / own['min']:.0%} of the limit"
    return f"{threads_text(own['threads'])}, {shape_text(own['shape'])}: {reached}; {others}"
