"""One GPU as this package uses it: memory, copies and launches, all through numba.

Errors of CUDA come out as `DeviceError`, in one line, and as `DeviceMemoryError`, for which there is a remedy.
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

from numba_lstm.backends.cuda import freeing
from numba_lstm.backends.cuda.arrays import DeviceArray
from numba_lstm.errors import DeviceError, DeviceMemoryError
from numba_lstm.kernels.cuda_target import SIMULATED, cuda, is_cuda_error

Array = NDArray[Any]

# How the driver, the runtime, the compilers and the linker say that there is too little memory.
_SHORT = re.compile("out.of.memory|memory.?allocation", re.IGNORECASE)
_PROCESSORS_OF_THE_SIMULATOR, _MEMORY_OF_THE_SIMULATOR = 2, 1 << 30
# One launch at a time: two threads would compile the same kernel twice, and the simulator runs no two at once.
_launching = threading.Lock()
_here = threading.local()  # .card of the threads that have one


@contextmanager
def one_line() -> Iterator[None]:
    """CUDA's errors, whichever of its layers they are from, as those of this package."""
    try:
        yield
    except Exception as error:
        if not is_cuda_error(error):
            raise
        text = " ".join(str(error).replace("\0", " ").split()) or type(error).__name__
        if _SHORT.search(text) or _SHORT.search(str(error.__cause__)):
            raise DeviceMemoryError("the GPU has too little free memory for this; take fewer rows at a time") from error
        raise DeviceError(f"CUDA failed: {text}; 'cpu' as the device gives the same results") from error


def current() -> Card:
    """The card that this thread was told to use, otherwise the current GPU and its default stream."""
    found: Card | None = getattr(_here, "card", None)
    return Card() if found is None else found


@contextmanager
def using(card: Card) -> Iterator[None]:
    """Within it `current` gives `card` in this thread."""
    before = getattr(_here, "card", None)
    _here.card = card
    try:
        yield
    finally:
        _here.card = before


def how_many() -> int:
    """How many GPUs this process sees: CUDA_VISIBLE_DEVICES is what chooses among those there are."""
    with one_line():
        return len(cuda.gpus)


def free_memory(number: int) -> int:
    """Bytes that can still be had of a card."""
    with one_line(), cuda.gpus[number]:
        free = cuda.current_context().get_memory_info().free
    return _MEMORY_OF_THE_SIMULATOR if SIMULATED else int(free)


class Card:
    """The current GPU and one stream of it: what is asked for runs in order, and beside other streams."""

    def __init__(self, stream: Any = 0) -> None:
        self.stream = stream
        with one_line():
            self.number = 0 if SIMULATED else int(cuda.get_current_device().id)

    def upload(self, array: Array) -> Any:
        """A copy of an array in the card's memory, flat; one number at least."""
        flat = np.ascontiguousarray(array).reshape(-1)
        flat = flat if flat.size else np.zeros(1, flat.dtype)
        with one_line():
            return freeing.on_gpu(self.number, lambda: cuda.to_device(flat, stream=self.stream))

    def keep(self, array: Array) -> Any:
        """The same, to stay for other streams too: it is there when this returns."""
        there = Card.upload(self, array)
        self.wait()
        return there

    def empty(self, size: int, dtype: np.dtype[Any]) -> Any:
        """Room for that many numbers."""
        with one_line():
            return freeing.on_gpu(self.number, lambda: cuda.device_array(max(size, 1), dtype, stream=self.stream))

    def room(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Room in main memory, to download to."""
        return np.empty(shape, dtype)

    def download(self, array: Any, out: Array) -> Array:
        """A copy in main memory: ``out``, contiguous, is filled from the array's beginning; returned when it is."""
        if out.size:
            with one_line():
                array[: out.size].copy_to_host(out.reshape(-1), stream=self.stream)
                self.wait()
        return out

    def launch(self, kernel: Any, blocks: int, threads: int, *arguments: Any) -> None:
        """Start a kernel, unless there is nothing for it to do; it is compiled if need be."""
        with one_line(), _launching, warnings.catch_warnings():
            # numba's advice about small grids: few rows make one.
            warnings.filterwarnings("ignore", "Grid size")
            if blocks:
                kernel[blocks, threads, self.stream](*arguments)

    def forget(self) -> None:
        """Free memory that is kept for later, if there is any."""

    def wait(self) -> None:
        """Until all is done that was asked for."""
        with one_line():
            if SIMULATED or self.stream == 0:
                cuda.synchronize()
            else:
                self.stream.synchronize()

    @property
    def processors(self) -> int:
        """How many multiprocessors the card has."""
        if SIMULATED:
            return _PROCESSORS_OF_THE_SIMULATOR
        return int(cuda.get_current_device().MULTIPROCESSOR_COUNT)

    @property
    def threads(self) -> int:
        """The number of threads of a block comes in multiples of this: they advance together."""
        return 1 if SIMULATED else 32


def address(array: Any) -> int:
    """Where an array of a card begins; the caller keeps it alive."""
    if isinstance(array, DeviceArray):
        return array.address
    if SIMULATED:
        return int(array.ctypes.data)
    return int(array.__cuda_array_interface__["data"][0])
