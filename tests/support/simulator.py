"""numba's simulator of CUDA, mended: the threads of a block are Python's, and may run at any time."""

from __future__ import annotations

import sys
import threading
from typing import Any

from numba.cuda.simulator import kernelapi

_lock = threading.Lock()


def mend() -> None:
    """Let all threads of a block have the same shared array.

    The simulator looks for the array of a line, and makes it if it is not there. Two threads that both look before one
    has made it get an array each, and then compute with zeros or with what the memory held.
    """
    made = kernelapi.FakeCUDAShared.array

    def array(self: Any, shape: Any, dtype: Any, **alignment: Any) -> Any:
        if shape == 0:  # memory whose size the launch gives: there is one
            return made(self, shape, dtype, **alignment)
        frame = sys._getframe(1)
        line = frame.f_code.co_filename, frame.f_lineno
        with _lock:
            if line not in self._allocations:
                self._allocations[line] = made(self, shape, dtype, **alignment)
            return self._allocations[line]

    kernelapi.FakeCUDAShared.array = array
