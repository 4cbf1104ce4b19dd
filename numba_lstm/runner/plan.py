"""The number of rows in a chunk, from the memory of a row and the memory that a run may take."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from numba_lstm.errors import Argument, ConfigError, Message, ShapeError
from numba_lstm.layers.recurrent import Recurrent
from numba_lstm.model import Sequential

# Without max_memory: enough rows for the kernels' full speed, few enough for the progress to move.
_ORDINARY_CHUNK = 64 * 2**20
_EFFICIENT_ROWS = 64
# The same for a GPU, estimated and not yet measured: copies that take milliseconds, and rows for all of its
# multiprocessors. Part of its memory stays free, since other processes may allocate some meanwhile.
_CHUNK_OF_GPU, _MEMORY_OF_CHUNK = 128 * 2**20, 2**30
_EFFICIENT_ROWS_OF_GPU = 1024
_SHARE_OF_GPU = 0.8
# What compiling the kernels takes at most, when their cache is empty, and some air: 120 MB were measured.
_COMPILER = 160 * 2**20


def chunks(first: int, last: int, size: int) -> Iterator[tuple[int, int]]:
    """``(start, stop)`` for rows first to last, `size` at a time; no rows at all are one empty chunk."""
    yield first, min(first + size, last)
    for start in range(first + size, last, size):
        yield start, min(start + size, last)


def row_range(rows: tuple[int, int | None] | None, available: int, name: str) -> tuple[int, int]:
    """The first row, and one past the last. Raises `ShapeError` for rows that `name` does not have."""
    if rows is None:
        return 0, available
    first, last = rows[0], available if rows[1] is None else rows[1]
    if last > available or first >= last:
        asked = f"{rows[0]}:{'' if rows[1] is None else rows[1]}"
        text = f" is {asked}, but {name} has {available} rows; expected a range within 0:{available}"
        raise ShapeError(Message(Argument("rows"), text))
    return first, last


@dataclass(frozen=True)
class Need:
    """The bytes that a row takes."""

    memory: int  # of main memory, at most, while its chunk and the neighbours of that are on their way
    transfer: int  # that are read and written for it
    gpu: int  # of a GPU's memory, at most, while its chunk is computed there


def need_of(model: Sequential, timesteps: int, dtype: str, *, waiting: int, doubles: bool, last_only: bool) -> Need:
    """The memory per row while two chunks are in progress: one computed, its neighbours read and written.

    Args:
        waiting: the bytes that the reader's part of a row takes.
        doubles: whether the last stage works on outputs in float64.
        last_only: whether sequences are cut to their last timestep.
    """
    size = np.dtype(dtype).itemsize
    leading = (timesteps, 1) if model.time_major else (1, timesteps)
    shape: Any = (*leading, *(model.row_shape or ())[1:])
    before = largest = prod(shape)
    on_gpu = most_on_gpu = 0
    for layer in model.layers:
        shape = layer.output_shape(shape)
        shape = shape[0] if isinstance(shape, list) else shape
        after = prod(shape)
        # A layer may hold a copy of its input, and parts of its output beside the whole.
        largest = max(largest, 2 * before + 3 * after)
        if isinstance(layer, Recurrent):
            sequences = [before, *(timesteps * cell.units for cell in layer.cells)]
            on_gpu += sum(sequences)
            most_on_gpu = max(most_on_gpu, *sequences)
        before = after
    written = before // timesteps if last_only and len(shape) > 2 else before
    # States, gates and dropout masks, which do not grow with the timesteps.
    beside = 16 * (sum(model.state_units) + (model.input_dim or 0))
    return Need(
        memory=int(2 * waiting + size * (largest + written + beside) + (32 * written if doubles else 0)),
        transfer=int(waiting + size * written),
        # Two sequences at a time, in buffers that another one may have been too large for. A mask has bytes.
        gpu=int(size * (max(on_gpu, 2 * most_on_gpu) + beside) + timesteps),
    )


def bytes_of_weights(model: Sequential, dtype: str) -> int:
    """The bytes of the weights as the kernels store them."""
    return model.count_params() * np.dtype(dtype).itemsize


def bytes_to_come(model: Sequential, dtype: str) -> int:
    """The bytes that the process will still allocate, beside the rows, before the first chunk is done."""
    return _COMPILER + bytes_of_weights(model, dtype)


def rows_on_gpus(rows: int, need: Need, *, workers: int, free: int, each: int) -> int:
    """The default number of rows of a chunk that goes to a GPU.

    Args:
        rows: how many there are in all.
        need: the memory of a row.
        workers: the number of chunks in progress, on all devices.
        free: the free bytes of the fullest device.
        each: the number of chunks on a device at a time.
    """
    size = min(_CHUNK_OF_GPU // max(1, need.transfer), _MEMORY_OF_CHUNK // need.memory)
    size = max(size, _EFFICIENT_ROWS)
    # Two chunks a worker where they stay large: while one is computed, others are read and written.
    size = min(size, max(-(-rows // (2 * workers)), _EFFICIENT_ROWS_OF_GPU))
    return max(1, min(size, int(free * _SHARE_OF_GPU) // (each * max(1, need.gpu))))


def rows_per_chunk(
    rows: int,
    row_bytes: int,
    *,
    batch_rows: int | None,
    max_memory: int | None,
    to_come: int,
    name: str,
    usual: int | None = None,
    in_use: int | None = None,
) -> int:
    """The number of rows of a chunk. Raises `ConfigError` if `max_memory` leaves no room for one row of `name`.

    Args:
        rows: how many there are in all.
        row_bytes: the bytes of each row.
        batch_rows: the number of rows asked for.
        max_memory: the bytes that the process may take in all.
        to_come: the bytes that it will still allocate for itself.
        name: the input's name.
        usual: the default number of rows; None: derived from their size.
        in_use: the bytes of the process without the chunks; None: those it takes now.
    """
    if usual is None:
        usual = max(_ORDINARY_CHUNK // row_bytes, _EFFICIENT_ROWS)
    size = usual if batch_rows is None else batch_rows
    if max_memory is not None:
        taken = (memory_in_use() if in_use is None else in_use) + to_come
        fitting = (max_memory - taken) // row_bytes
        if fitting < 1:
            needed = -(-(taken + row_bytes) // 10**6)
            raise ConfigError(
                Message(
                    Argument("max_memory"),
                    f" is {max_memory / 1e6:,.0f} MB, too little for a row of {name} and the program itself; "
                    f"expected at least {needed:,} MB",
                )
            )
        size = min(size, fitting)
    return max(1, min(size, rows))


def memory_in_use() -> int:
    """Bytes of memory that this process holds now, or its peak if the system reports only that."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows; the reserve for the program has to do
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
