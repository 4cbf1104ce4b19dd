"""OpenVINO with its own choice of precision: bf16 on machines that have it."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.peers import open_vino
from benchmarks.problem import Array, Problem

NAME, PRECISION, TIME_MAJOR, VERSIONS = "OpenVINO, as it comes", "bf16", False, ()


def sequence(problem: Problem, threads: int) -> Callable[[], Array]:
    """A batch of sequences."""
    return open_vino.sequence(problem, threads, None)
