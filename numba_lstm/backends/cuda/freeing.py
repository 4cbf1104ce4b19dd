"""Resources of CUDA - memory on a GPU, page-locked memory, streams, events - and how it ends.

numba frees in the thread in which the last user ends, and the driver wants a current GPU there, the right one. So
what is made here is kept in a list of its own, apart from the arrays that are made of it; when they are gone, the list
is emptied while its GPU is the current one.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numba_lstm.kernels.cuda_target import SIMULATED, cuda


class _Ended:
    """The resources of one GPU that are to be freed."""

    def __init__(self) -> None:
        self.kept: deque[list[Any]] = deque()
        self.freeing = threading.Lock()


_ended: dict[Any, _Ended] = {}  # by numba's objects for GPUs


class _ArrayOwner:
    """The owner that arrays of some memory refer to in place of the memory itself."""

    def __init__(self, gpu: Any, kept: list[Any], interface: str) -> None:
        setattr(self, interface, getattr(kept[0], interface))
        weakref.finalize(self, let_go, gpu, kept).atexit = False


def on_gpu(number: int, make: Callable[[], Any]) -> Any:
    """The array on a GPU that make() makes while that is the current one. Raises what that raises."""
    with cuda.gpus[number]:
        if SIMULATED:
            return make()
        _free(cuda.gpus[number])
        kept = [make()]
        return cuda.as_cuda_array(_ArrayOwner(cuda.gpus[number], kept, "__cuda_array_interface__"), sync=False)


def page_locked(number: int, size: int) -> NDArray[np.uint8]:
    """A number of bytes of page-locked main memory; any thread may have them made. Raises what numba raises."""
    with cuda.gpus[number]:
        if not SIMULATED:
            _free(cuda.gpus[number])
        kept = [cuda.pinned_array(size, np.uint8)]
        return np.asarray(_ArrayOwner(cuda.gpus[number], kept, "__array_interface__"))


def let_go(gpu: Any, kept: list[Any]) -> None:
    """Empty a list of what nobody else has, such as a stream or an event, while its GPU is the current one.

    Called in any thread and at any moment, in the middle of this too; so nothing here waits for another thread.
    """
    _ended.setdefault(gpu, _Ended()).kept.append(kept)
    _free(gpu)


def _free(gpu: Any) -> None:
    ended = _ended.get(gpu)
    # A thread that is at it frees what others add meanwhile; what it just missed is found here once more.
    while ended is not None and ended.kept and ended.freeing.acquire(blocking=False):
        try:
            with gpu:
                while ended.kept:
                    ended.kept.popleft().clear()
        except Exception:  # in the middle of a call on another GPU, say: it is freed the next time
            return
        finally:
            ended.freeing.release()
