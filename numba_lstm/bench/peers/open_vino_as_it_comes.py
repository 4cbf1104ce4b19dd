"""OpenVINO with its own choice of precision: bf16 on machines that have it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba_lstm.bench.peers import open_vino
from numba_lstm.bench.problem import Problem

NAME, PRECISION, TIME_MAJOR = "OpenVINO, as it comes", "bf16", False
IMPORTS, VERSIONS = open_vino.IMPORTS, ()


def sequence(problem: Problem, threads: int) -> Callable[[], Any]:
    """A batch of sequences."""
    return open_vino.sequence(problem, threads, None)
