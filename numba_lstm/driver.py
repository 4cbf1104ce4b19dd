"""Calls on their way from cells and layers to the backend of their device.

Cells and layers pack their weights and hand over whole calls; `backends.cpu` and `backends.cuda` execute them as their
`policy` decides, from shapes and threads alone. Everything here trusts its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from numba_lstm.backends.cpu import call_plan, policy, stacked, threads
from numba_lstm.kernels.pack import Array

Result = TypeVar("Result")


def sequences(
    inputs: Array, calls: Sequence[stacked.CellCall], device: str = "cpu", return_states: bool = True
) -> tuple[Array, list[Any]]:
    """Run a batch through several cells, the first over the inputs (batch, timesteps, input_dim).

    Every call but the last has to return sequences. Returns the outputs of the last one, as `backends.cpu.run.sequence`
    does, and h and c of each cell; without `return_states` h and c may be None. device: "cpu" or "cuda".
    """
    if device == "cpu":
        return stacked.stacked(inputs, calls)
    from numba_lstm.backends.cuda import run as cuda  # late: it imports numba's CUDA

    return cuda.stacked(inputs, calls, return_states)


def plan(stages: Sequence[call_plan.Stage], batch: int, timesteps: int) -> Callable[[], call_plan.CallPlan] | None:
    """A function that makes plans for calls of one shape on the CPU; None where threads may share the work."""
    if call_plan.is_small(stages, batch, timesteps):
        return partial(call_plan.CallPlan, stages, batch, timesteps)
    return None


def side_by_side(calls: Sequence[Callable[[], Result]], rows: int, work: int) -> list[Result]:
    """The results of independent calls on `rows` rows that do `work` multiplications each.

    Each gets a thread if the rows are too few to be shared among threads and the work is worth one.
    """
    if policy.runs_side_by_side(rows, work) and threads.usable() > 1:
        return threads.together(calls)
    return [call() for call in calls]
