"""torch.nn.LSTM in bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba_lstm.bench.peers import pytorch
from numba_lstm.bench.problem import Problem

NAME, PRECISION, TIME_MAJOR = "torch, bf16", "bf16", True
IMPORTS, VERSIONS = pytorch.IMPORTS, ()


def sequence(problem: Problem, threads: int) -> Callable[[], Any]:
    """A batch of sequences."""
    return pytorch.sequence(problem, threads, "bfloat16")
