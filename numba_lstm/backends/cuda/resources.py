"""Allocation and release of CUDA's resources: memory of a GPU, pinned memory, streams and events.

numba frees a resource in the thread in which its last user ends, while the driver requires that the resource's GPU is
the current one of that thread. Therefore each resource is referenced by a list of its own and not by the arrays made
from it; when these are gone, the list is emptied while its GPU is the current one.
"""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numba_lstm.kernels.cuda_target import SIMULATED, cuda

_COLLECTION_TRIES = 1000  # a millisecond apart


class _Released:
    """The resources of one GPU that are to be freed."""

    def __init__(self) -> None:
        self.resources: deque[list[Any]] = deque()
        self.freeing = threading.Lock()


_released: dict[Any, _Released] = {}  # by numba's objects for GPUs


class _ArrayOwner:
    """The owner that arrays of some memory refer to in place of the memory itself."""

    def __init__(self, gpu: Any, resource: list[Any], interface: str) -> None:
        setattr(self, interface, getattr(resource[0], interface))
        weakref.finalize(self, release, gpu, resource).atexit = False


def allocate(gpu_number: int, make: Callable[[], Any]) -> Any:
    """The array that make() allocates while the GPU is the current one. Raises what make raises."""
    gpu = cuda.gpus[gpu_number]
    with gpu:
        if SIMULATED:
            return make()
        _free(gpu)
        owner = _ArrayOwner(gpu, [make()], "__cuda_array_interface__")
        return cuda.as_cuda_array(owner, sync=False)


def allocate_pinned(gpu_number: int, size: int) -> NDArray[np.uint8]:
    """`size` bytes of pinned memory, in any thread. Raises what numba raises."""
    gpu = cuda.gpus[gpu_number]
    with gpu:
        if not SIMULATED:
            _free(gpu)
        return np.asarray(_ArrayOwner(gpu, [cuda.pinned_array(size, np.uint8)], "__array_interface__"))


def collect_garbage() -> None:
    """Collect all garbage. `gc.collect` alone returns at once while another thread collects, and frees nothing."""
    thread, collected = threading.get_ident(), list[bool]()

    def on_collection(phase: str, info: dict[str, int]) -> None:
        if phase == "stop" and info["generation"] == 2 and threading.get_ident() == thread:
            collected.append(True)

    gc.callbacks.append(on_collection)
    try:
        for _ in range(_COLLECTION_TRIES):
            gc.collect()
            if collected:
                return
            time.sleep(0.001)
    finally:
        gc.callbacks.remove(on_collection)


def release(gpu: Any, resource: list[Any]) -> None:
    """Empty a list of a resource without other users while its GPU is the current one.

    Finalizers call this in any thread and at any moment, even during another call of it, so it never waits for a lock.
    """
    _released.setdefault(gpu, _Released()).resources.append(resource)
    _free(gpu)


def _free(gpu: Any) -> None:
    released = _released.get(gpu)
    # The thread that holds the lock frees what others add meanwhile; the loop finds what it just missed.
    while released is not None and released.resources and released.freeing.acquire(blocking=False):
        try:
            with gpu:
                while released.resources:
                    released.resources.popleft().clear()
        except Exception:  # for example during a call on another GPU: the next call frees it
            return
        finally:
            released.freeing.release()
