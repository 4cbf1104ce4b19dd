"""A stream of a GPU: memory, copies and launches, all through numba.

CUDA's errors are raised as one-line `DeviceError`s, those of too little memory as `DeviceMemoryError`, which callers
can remedy.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numba_lstm.backends.cuda import resources
from numba_lstm.backends.cuda.arrays import DeviceArray
from numba_lstm.errors import DeviceError, DeviceMemoryError
from numba_lstm.kernels.cuda_target import SIMULATED, cuda, is_cuda_error

Array = NDArray[Any]

# The words of the driver, the runtime, the compilers and the linker for too little memory.
_OUT_OF_MEMORY = re.compile("out.of.memory|memory.?allocation", re.IGNORECASE)
_SIMULATED_MULTIPROCESSORS, _SIMULATED_MEMORY = 2, 1 << 30
# One launch at a time: two threads would compile the same kernel twice, and the simulator cannot run two at once.
_launching = threading.Lock()
_local = threading.local()  # .stream: of the threads that use one


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise errors of every layer of CUDA as those of this package."""
    try:
        yield
    except Exception as error:
        if not is_cuda_error(error):
            raise
        text = " ".join(str(error).replace("\0", " ").split()) or type(error).__name__
        if _OUT_OF_MEMORY.search(text) or _OUT_OF_MEMORY.search(str(error.__cause__)):
            raise DeviceMemoryError("the GPU has too little free memory for this; take fewer rows at a time") from error
        raise DeviceError(f"CUDA failed: {text}; 'cpu' as the device gives the same results") from error


def current_stream() -> Stream:
    """The stream of `use_stream` in this thread, otherwise the default stream of the current GPU."""
    found: Stream | None = getattr(_local, "stream", None)
    return Stream() if found is None else found


@contextmanager
def use_stream(stream: Stream) -> Iterator[None]:
    """Make `stream` the current one of this thread."""
    before = getattr(_local, "stream", None)
    _local.stream = stream
    try:
        yield
    finally:
        _local.stream = before


@contextmanager
def use_gpu(number: int) -> Iterator[None]:
    """Make a GPU the current one of this thread."""
    with translated_errors(), cuda.gpus[number]:
        yield


def gpu_count() -> int:
    """The number of GPUs that this process sees; CUDA_VISIBLE_DEVICES selects them."""
    with translated_errors():
        return len(cuda.gpus)


def free_memory(gpu_number: int) -> int:
    """The free bytes of a GPU."""
    with use_gpu(gpu_number):
        free = cuda.current_context().get_memory_info().free
    return _SIMULATED_MEMORY if SIMULATED else int(free)


class Stream:
    """A stream of the current GPU: its work is done in order, and beside that of other streams.

    numba_stream: numba's object for it, 0 for the default stream.
    """

    def __init__(self, numba_stream: Any = 0) -> None:
        self.numba_stream = numba_stream
        with translated_errors():
            self.gpu_number = 0 if SIMULATED else int(cuda.get_current_device().id)

    def upload(self, array: Array) -> Any:
        """A flat copy of an array in the GPU's memory, of one number at least."""
        flat = np.ascontiguousarray(array).reshape(-1)
        flat = flat if flat.size else np.zeros(1, flat.dtype)
        with translated_errors():
            return resources.allocate(self.gpu_number, lambda: cuda.to_device(flat, stream=self.numba_stream))

    def upload_and_wait(self, array: Array) -> Any:
        """The same, for other streams too: the copy is done when this returns."""
        memory = Stream.upload(self, array)
        self.synchronize()
        return memory

    def empty(self, size: int, dtype: np.dtype[Any]) -> Any:
        """Memory for `size` numbers, and one at least, with any content."""
        with translated_errors():
            return resources.allocate(
                self.gpu_number, lambda: cuda.device_array(max(size, 1), dtype, stream=self.numba_stream)
            )

    def host_array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array in main memory to download to, with any content."""
        return np.empty(shape, dtype)

    def download(self, memory: Any, out: Array) -> Array:
        """Fill ``out``, which is contiguous, from the beginning of the GPU's memory, and return it once it is full."""
        if out.size:
            with translated_errors():
                memory[: out.size].copy_to_host(out.reshape(-1), stream=self.numba_stream)
                self.synchronize()
        return out

    def launch(self, kernel: Any, blocks: int, threads: int, *arguments: Any) -> None:
        """Launch a kernel, unless there are no blocks; it is compiled first if need be."""
        with translated_errors(), _launching, warnings.catch_warnings():
            # numba's advice about small grids: few rows make one.
            warnings.filterwarnings("ignore", "Grid size")
            if blocks:
                kernel[blocks, threads, self.numba_stream](*arguments)

    def free_idle(self) -> None:
        """Free idle buffers, of a stream that has a pool."""

    def synchronize(self) -> None:
        """Wait until all work of the stream is done."""
        with translated_errors():
            if SIMULATED or self.numba_stream == 0:
                cuda.synchronize()
            else:
                self.numba_stream.synchronize()

    @property
    def multiprocessors(self) -> int:
        """The number of the GPU's multiprocessors."""
        if SIMULATED:
            return _SIMULATED_MULTIPROCESSORS
        return int(cuda.get_current_device().MULTIPROCESSOR_COUNT)

    @property
    def warp_size(self) -> int:
        """The number of threads that advance together; blocks have multiples of it."""
        return 1 if SIMULATED else 32


def address(memory: Any) -> int:
    """The address of an array on a GPU, which the caller keeps alive."""
    if isinstance(memory, DeviceArray):
        return memory.address
    if SIMULATED:
        return int(memory.ctypes.data)
    return int(memory.__cuda_array_interface__["data"][0])
