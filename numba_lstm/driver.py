"""From configuration, weights and masks to a device and its backend: where it is decided what computes.

Cells and layers pack their weights here once and hand over whole calls; `backends.cpu` and `backends.cuda` carry them
out, on plans that are pure functions of shapes and threads (their `policy`). Everything here trusts its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from numba_lstm.backends.cpu import policy, threads
from numba_lstm.backends.cpu import run as cpu
from numba_lstm.backends.cpu.packing import PackedCell as PackedCell
from numba_lstm.backends.cpu.packing import PackedDense as PackedDense
from numba_lstm.backends.cpu.packing import activation_code as activation_code
from numba_lstm.backends.cpu.packing import pack_cell as pack_cell
from numba_lstm.backends.cpu.packing import pack_dense as pack_dense
from numba_lstm.backends.cpu.run import activate as activate
from numba_lstm.backends.cpu.run import dense as dense
from numba_lstm.backends.cpu.run import normalize_rows as normalize_rows
from numba_lstm.backends.cpu.run import sequence as sequence
from numba_lstm.backends.cpu.run import step as step
from numba_lstm.backends.cpu.stacked import CellCall as CellCall
from numba_lstm.backends.cpu.stacked import stacked
from numba_lstm.kernels.pack import Array

Result = TypeVar("Result")


def sequences(
    inputs: Array, calls: Sequence[CellCall], device: str = "cpu", states_too: bool = True
) -> tuple[Array, list[Any]]:
    """Run a batch through several cells, the first over the inputs (batch, timesteps, input_dim).

    Every call but the last has to return sequences. Returns the outputs of the last one, as `sequence` does, and h and
    c of each cell; without `states_too` they may be None. device: "cpu" or "cuda".
    """
    if device == "cpu":
        return stacked(inputs, calls)
    from numba_lstm.backends.cuda import run as cuda  # late: it imports numba's CUDA

    return cuda.stacked(inputs, calls, states_too)


def sequence_on(device: str) -> Callable[..., tuple[Any, Any, Any]]:
    """`sequence` for a device, "cpu" or "cuda"; that of "cuda" leaves sequences of outputs there, to be fetched."""
    if device == "cpu":
        return cpu.sequence
    from numba_lstm.backends.cuda import run as cuda  # late, as above

    return cuda.sequence


def side_by_side(calls: Sequence[Callable[[], Result]], rows: int, work: int) -> list[Result]:
    """The results of independent calls on `rows` rows that do `work` multiplications each.

    Each gets a thread if the rows are too few to be shared among threads and the work is worth one.
    """
    if policy.runs_side_by_side(rows, work) and threads.usable() > 1:
        return threads.together(calls)
    return [call() for call in calls]
