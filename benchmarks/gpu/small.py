"""What everything else is built on: copies, launches, barriers, and the speed of a matrix product."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from numba_lstm.kernels.cuda_target import cuda, cuda_kernel


@cuda_kernel
def nothing() -> None:
    """An empty kernel."""


@cuda_kernel
def block_barriers(times: int) -> None:
    """Barriers of a block."""
    for _ in range(times):
        cuda.syncthreads()


@cuda_kernel
def grid_barriers(times: int) -> None:
    """Barriers of all blocks of a launch."""
    grid = cuda.cg.this_grid()
    for _ in range(times):
        grid.sync()


def best(call: Callable[[], object], times: int) -> float:
    """The least seconds of a call and the wait for it."""
    call()
    cuda.synchronize()
    found = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        cuda.synchronize()
        found.append(time.perf_counter() - started)
    return min(found)


def measured(tiny: bool) -> dict[str, Any]:
    """Seconds, and bytes or operations a second. What fails has its error in the place of a number."""
    size, times, barriers = (1 << 10, 2, 4) if tiny else (1 << 26, 20, 10_000)
    host, pinned = np.ones(size, np.float32), cuda.pinned_array(size, np.float32)
    there, other = cuda.to_device(host), cuda.device_array(size, np.float32)
    blocks = 1 if tiny else 132
    wanted: dict[str, Callable[[], Any]] = {
        "launch and wait, s": lambda: best(lambda: nothing[1, 1](), times),
        "launches in a row, s": lambda: best(lambda: [nothing[1, 1]() for _ in range(100)], times) / 100,
        "barrier of 128 threads, s": lambda: best(lambda: block_barriers[1, 128](barriers), times) / barriers,
        "barrier of the grid, s": lambda: best(lambda: grid_barriers[blocks, 32](barriers), times) / barriers,
        "from pinned memory, bytes/s": lambda: host.nbytes / best(lambda: there.copy_to_device(pinned), times),
        "to pinned memory, bytes/s": lambda: host.nbytes / best(lambda: there.copy_to_host(pinned), times),
        "from ordinary memory, bytes/s": lambda: host.nbytes / best(lambda: there.copy_to_device(host), times),
        "within the card, bytes/s": lambda: 2 * host.nbytes / best(lambda: other.copy_to_device(there), times),
        "float32 matrix product, operations/s": lambda: product(1 << (5 if tiny else 13), times),
    }
    found: dict[str, Any] = {}
    for name, measure in wanted.items():
        try:
            found[name] = measure()
        except Exception as error:  # whatever one of them raises, the others are to be measured
            found[name] = f"failed: {' '.join(str(error).split())[:200] or type(error).__name__}"
    found["barrier of a cluster"] = "not measured: numba cannot launch clusters, and no kernel here uses them"
    return found


def product(size: int, times: int) -> float:
    """Operations a second of torch's matrix product without TF32."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    matrix = torch.rand(size, size, device="cuda")

    def call() -> None:
        torch.mm(matrix, matrix)
        torch.cuda.synchronize()

    return 2 * float(size) ** 3 / best(call, times)
