"""Cells on a GPU: their weights, which stay there, and the kernel that runs their sequences."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from numba_lstm.backends.cpu.packing import PackedCell
from numba_lstm.backends.cuda import policy, selection
from numba_lstm.backends.cuda.stream import Stream, address
from numba_lstm.kernels import cuda, cuda_resident
from numba_lstm.kernels.arguments import Cell
from numba_lstm.kernels.pack import unpack_gates

_uploading = threading.Lock()  # held by the thread that uploads a cell's weights


@dataclass(frozen=True)
class DeviceCell:
    """A cell's weights in a GPU's memory, in Keras's own layout, and its activations as functions for kernels."""

    memory: tuple[Any, ...]  # keeps them alive
    cell: Cell
    activation: Any
    recurrent_activation: Any

    @property
    def normalizes_row(self) -> bool:
        """Whether an activation needs all units of a row at once."""
        return self.activation is None or self.recurrent_activation is None


def device_cell(stream: Stream, cell: PackedCell) -> DeviceCell:
    """The weights of a cell on the stream's GPU; they stay there as long as the packed cell exists."""
    found = cell.on_gpus.get(stream.gpu_number)
    if found is None:
        with _uploading:
            found = cell.on_gpus.get(stream.gpu_number)
            if found is None:
                found = cell.on_gpus[stream.gpu_number] = _upload(stream, cell)
    return found


def _upload(stream: Stream, cell: PackedCell) -> DeviceCell:
    shape = cell.cell
    depths = zip(cell.arrays, (shape.input_dim, shape.units, 1), strict=True)
    memory = tuple(stream.upload_and_wait(unpack_gates(array, depth, shape.units)) for array, depth in depths)
    kernel, recurrent_kernel, bias = map(address, memory)
    return DeviceCell(
        memory,
        shape._replace(kernel=kernel, recurrent_kernel=recurrent_kernel, bias=bias),
        cuda.activation_function(shape.activation, cell.activation),
        cuda.activation_function(shape.recurrent_activation, cell.recurrent_activation),
    )


def kernel_for(
    stream: Stream,
    cell: DeviceCell,
    dtype: np.dtype[Any],
    batch: int,
    dropout: tuple[int, int],
    has_mask: bool,
    rows: int | None = None,
) -> tuple[policy.LaunchPlan, Any]:
    """The plan of `policy.plan_for` for a batch, and its kernel; all kernels have the same arguments.

    dropout: masks of x and of h, 0, 1 or 4 each. rows: of a thread; by default the policy's. Raises `ConfigError` for a
    forced tier that does not support the cell.
    """
    arguments, functions = cell.cell, (cell.activation, cell.recurrent_activation)
    shape = policy.CellShape(arguments.units, arguments.input_dim, dtype.name, cell.normalizes_row)
    device = policy.DeviceProperties(stream.multiprocessors, stream.warp_size)
    plan = policy.plan_for(shape, arguments.block_length, batch, dropout, device, selection.forced_tier(), rows)
    if plan.layout is None:
        return plan, cuda.sequence_kernel(dtype.name, *functions, has_mask, any(dropout), plan.rows)
    return plan, cuda_resident.sequence_kernel(dtype.name, *functions, has_mask, plan.layout)
