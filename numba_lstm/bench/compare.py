"""The libraries at one problem: each checked against float64, then all timed in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from numba_lstm.bench import timing
from numba_lstm.bench.problem import Array, Problem

# Largest difference from float64 that is taken for rounding: anything above means another computation.
TOLERANCE = {"float32": 5e-5, "bf16": 0.1, "float64": 1e-12}

Say = Callable[[str], None]


class Timed(NamedTuple):
    """A peer's error and times at a problem."""

    peer: ModuleType
    error: float
    times: timing.Times


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


def timed(problem: Problem, peers: Sequence[ModuleType], threads: int, seconds: float, say: Say) -> list[Timed]:
    """Each peer's error and times, measured for about `seconds` seconds each.

    A peer that fails is left out, unless it is the first, which is this project.
    """
    ready, errors, runs = [], [], []
    for peer in peers:
        try:
            run = peer.sequence(problem, threads)
            errors.append(checked(peer, problem, run))
        except Exception as failure:  # other people's libraries; one that fails must not cost the others' figures
            if peer is peers[0]:
                raise
            shape = ", ".join(map(str, (problem.batch, problem.timesteps, problem.input_dim, problem.units)))
            say(f"left out at {shape}: {peer.NAME}: {failure}")
            continue
        ready.append(peer)
        runs.append(run)
    return [Timed(*each) for each in zip(ready, errors, timing.interleaved(runs, seconds), strict=True)]
