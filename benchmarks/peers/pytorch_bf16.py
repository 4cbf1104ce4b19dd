"""torch.nn.LSTM in bfloat16."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.peers import pytorch
from benchmarks.problem import Array, Problem

NAME, PRECISION, TIME_MAJOR, VERSIONS = "torch, bf16", "bf16", True, ()


def sequence(problem: Problem, threads: int) -> Callable[[], Array]:
    """A batch of sequences."""
    return pytorch.sequence(problem, threads, torch.bfloat16)
