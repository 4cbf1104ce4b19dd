"""Simulated GPUs, for tests of the traffic between the host and its GPUs.

`FakeCuda` replaces numba's ``cuda``. Its GPUs have a limited memory, and their streams work only while they are waited
for, so that arrays that are used too early or too late have other numbers. It logs every call, and as faults the end of
memory or of a stream while its GPU is not the current one, and copies from or to main memory that has ended. The kernel
is the CPU's.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from numba.cuda.cudadrv.driver import CudaAPIError
from numpy.lib.stride_tricks import as_strided

from numba_lstm.backends.cpu import packing
from numba_lstm.backends.cpu import run as cpu
from numba_lstm.backends.cuda import caller_stream, pinned, resources, stream

ACTIVATION, RECURRENT_ACTIVATION, DIALECT = "tanh", "hard_sigmoid", "tf1"


class Event(NamedTuple):
    """A call, or of a stream: "wait" begins and "waited" ends the wait for it."""

    what: str  # "memory", "pinned", "upload", "kernel", "download", "wait", "waited"
    gpu: int
    stream: int
    size: int = 0  # in bytes; of a kernel, its rows


class FakeCuda:
    """The part of numba's ``cuda`` that `numba_lstm` uses."""

    def __init__(self, gpus: int = 1, memory: int = 1 << 30) -> None:
        self.gpus = [_Gpu(self, number) for number in range(gpus)]
        self.free = [memory] * gpus
        self.least_free = [memory] * gpus
        self.pinned = self.most_pinned = 0
        self.grants_pinned = True
        self.events: list[Event] = []
        self.faults: list[str] = []
        self.on_event: Callable[[Event], None] = lambda event: None  # called in the thread that asked
        self.changed = threading.Condition()
        self._here = threading.local()
        self._work: dict[int, list[Callable[[], object]]] = {}  # of each stream

    def note(self, *event: Any) -> None:
        with self.changed:
            self.events.append(Event(*event))
            self.changed.notify_all()
        self.on_event(Event(*event))

    def wait_for(self, known: Callable[[list[Event]], bool]) -> None:
        """Wait until known(events) is true; fail after 20 seconds."""
        with self.changed:
            assert self.changed.wait_for(lambda: known(self.events), 20)

    def count(self, what: str) -> int:
        return sum(event.what == what for event in self.events)

    def first_to_compute(self) -> int | None:
        """The stream of the first kernel, if there was one."""
        return next((event.stream for event in self.events if event.what == "kernel"), None)

    @property
    def current(self) -> int:
        """The current GPU of this thread, by default the first one."""
        return getattr(self._here, "stack", [0])[-1]

    def select_device(self, number: int) -> None:
        self._here.stack = [number]

    def push(self, number: int) -> None:
        self._here.stack = [*getattr(self._here, "stack", []), number]

    def pop(self) -> None:
        self._here.stack = self._here.stack[:-1]
        if not self._here.stack:
            del self._here.stack

    def ends(self, what: str, gpu: int) -> None:
        """Note a fault if a resource ends while its GPU is not the current one; threads begin without a current GPU."""
        current = getattr(self._here, "stack", [None])[-1]
        if current != gpu:
            self.faults.append(f"{what} of GPU {gpu} ended where {current} was the current one")

    def get_current_device(self) -> _Gpu:
        return self.gpus[self.current]

    def current_context(self) -> _Gpu:
        return self.gpus[self.current]

    def stream(self) -> _Stream:
        with self.changed:
            number = len(self._work) + 1
            self._work[number] = []
        stream = _Stream(self, self.current, number, self._work[number])
        weakref.finalize(stream, self.ends, "a stream", self.current).atexit = False
        return stream

    def external_stream(self, number: int) -> _Stream:
        return _Stream(self, self.current, number, self._work[number])

    def device_array(self, size: int, dtype: Any, stream: Any = 0) -> _DeviceMemory:
        array = np.full(size, 0xFF, np.uint8) if dtype == np.uint8 else np.full(size, np.nan, dtype)
        with self.changed:
            if array.nbytes > self.free[self.current]:
                raise CudaAPIError(2, "Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY")
            self._change(self.current, -array.nbytes)
        weakref.finalize(array, self._free, self.current, array.nbytes).atexit = False
        self.note("memory", self.current, stream.number, array.nbytes)
        return _DeviceMemory(self, self.current, array)

    def as_cuda_array(self, owner: Any, sync: bool) -> _DeviceMemory:
        assert not sync
        found = owner.__cuda_array_interface__
        kind = np.dtype(found["typestr"])
        array = _at(found["data"][0], found["shape"][0] * kind.itemsize, kind=ctypes.c_uint8).view(kind)
        return _DeviceMemory(self, self.current, array, owner)

    def _free(self, gpu: int, bytes_: int) -> None:
        self.ends("memory", gpu)
        self._change(gpu, bytes_)

    def _change(self, gpu: int, bytes_: int) -> None:
        self.free[gpu] += bytes_
        self.least_free[gpu] = min(self.least_free[gpu], self.free[gpu])

    def to_device(self, array: Any, stream: _Stream) -> _DeviceMemory:
        there = self.device_array(array.size, array.dtype, stream)
        there.copy_to_device(array, stream)
        return there

    def pinned_array(self, size: int, dtype: Any) -> Any:
        if not self.grants_pinned:
            raise CudaAPIError(2, "Call to cuMemHostAlloc results in CUDA_ERROR_OUT_OF_MEMORY")
        array = np.full(size, 0xFF, dtype)
        with self.changed:
            self._lock_pages(size)
        weakref.finalize(array, self._unlock_pages, self.current, size).atexit = False
        self.note("pinned", self.current, 0, size)
        return array

    def _unlock_pages(self, gpu: int, bytes_: int) -> None:
        self.ends("pinned memory", gpu)
        self._lock_pages(-bytes_)

    def _lock_pages(self, bytes_: int) -> None:
        self.pinned += bytes_
        self.most_pinned = max(self.most_pinned, self.pinned)


def installed(patch: pytest.MonkeyPatch, gpus: int = 1, memory: int = 1 << 30) -> FakeCuda:
    """A `FakeCuda` in place of numba's in all modules of the backend."""
    fake = FakeCuda(gpus, memory)
    for module in (caller_stream, pinned, resources, stream):
        patch.setattr(module, "cuda", fake)
    return fake


class _Gpu:
    """A device, its context and its memory, as numba has them."""

    MULTIPROCESSOR_COUNT = 4

    def __init__(self, cuda: FakeCuda, number: int) -> None:
        self._cuda, self.id = cuda, number
        self.cleared = 0

    def __enter__(self) -> None:
        self._cuda.push(self.id)

    def __exit__(self, *_: object) -> None:
        self._cuda.pop()

    @property
    def memory_manager(self) -> Any:
        return type("Manager", (), {"deallocations": self})

    def clear(self) -> None:
        """Free deferred deallocations."""
        assert self._cuda.current == self.id
        self.cleared += 1

    def get_memory_info(self) -> Any:
        return type("Memory", (), {"free": self._cuda.free[self.id]})


class _Stream:
    def __init__(self, cuda: FakeCuda, gpu: int, number: int, work: list[Callable[[], object]]) -> None:
        self._cuda, self.gpu, self.number, self._work = cuda, gpu, number, work

    def __int__(self) -> int:
        return self.number

    def add(self, what: str, size: int, work: Callable[[], object]) -> None:
        assert self._cuda.current == self.gpu
        self._cuda.note(what, self.gpu, self.number, size)
        self._work.append(work)

    def synchronize(self) -> None:
        self._cuda.note("wait", self.gpu, self.number)
        for work in self._work:
            work()
        self._work.clear()
        self._cuda.note("waited", self.gpu, self.number)


class _DeviceMemory:
    """An array in the memory of a GPU."""

    def __init__(self, cuda: FakeCuda, gpu: int, array: Any, owner: Any = None) -> None:
        self._cuda, self._gpu, self._array, self._owner = cuda, gpu, array, owner
        self.__cuda_array_interface__ = array.__array_interface__

    def __getitem__(self, part: slice) -> _DeviceMemory:
        return _DeviceMemory(self._cuda, self._gpu, self._array[part], self._owner)

    def view(self, dtype: Any) -> _DeviceMemory:
        return _DeviceMemory(self._cuda, self._gpu, self._array.view(dtype), self._owner)

    def copy_to_device(self, array: Any, stream: _Stream) -> None:
        assert stream.gpu == self._gpu and array.shape == self._array.shape and array.dtype == self._array.dtype
        host = self._host(array)
        stream.add("upload", array.nbytes, lambda: np.copyto(self._array, host()))

    def copy_to_host(self, out: Any, stream: _Stream) -> None:
        assert stream.gpu == self._gpu and out.shape == self._array.shape and out.dtype == self._array.dtype
        host = self._host(out)
        stream.add("download", out.nbytes, lambda: np.copyto(host(), self._array))

    def _host(self, array: Any) -> Callable[[], Any]:
        """Main memory by its address, as a GPU accesses it: the caller has to keep the array alive."""
        address, size, kind, owner = array.ctypes.data, array.nbytes, array.dtype, array
        while isinstance(owner, np.ndarray) and owner.base is not None:
            owner = owner.base
        alive = weakref.ref(owner)

        def found() -> Any:
            if alive() is None:
                self._cuda.faults.append("main memory ended before the copy that uses it")
                return np.zeros(size // kind.itemsize, kind)
            return _at(address, size, kind=ctypes.c_uint8).view(kind)

        return found


class FakeKernel:
    """Computes ``kernels.cuda.sequence`` on the CPU, in float32 and without dropout."""

    def __getitem__(self, launch: tuple[int, int, _Stream]) -> Callable[..., None]:
        def start(call: Any) -> None:
            launch[2].add("kernel", call.last_row, lambda: _compute(call))

        return start


def _compute(call: Any) -> None:
    assert call.first_row == call.dropout.number == call.recurrent_dropout.number == 0
    cell, x, y, options = call.cell, call.inputs, call.outputs, call.options
    batch, timesteps, units, input_dim = call.last_row, call.timesteps, cell.units, cell.input_dim
    packed = packing.pack_cell(
        _at(cell.kernel, input_dim, 4 * units),
        _at(cell.recurrent_kernel, units, 4 * units),
        _at(cell.bias, 4 * units),
        activation=ACTIVATION,
        recurrent_activation=RECURRENT_ACTIVATION,
        dialect=DIALECT,
        dtype="float32",
    )
    h, c, last = (_at(address, batch, units) for address in call.state)
    flat = _at(x.memory, x.start + (batch - 1) * x.row_stride + timesteps * input_dim)[x.start :]
    inputs = as_strided(flat, (batch, timesteps, input_dim), (4 * x.row_stride, 4 * x.time_stride, 4))
    steps = _at(call.mask.memory, batch, timesteps, kind=ctypes.c_uint8) != 0 if options.masked else None
    outputs, *states = cpu.sequence(packed, inputs.copy(), h, c, mask=steps, return_sequences=True)
    h[...], c[...], last[...] = *states, outputs[:, -1]
    if options.return_sequences:
        _at(y.memory, batch, timesteps, units)[...] = outputs


def _at(address: int, *shape: int, kind: Any = ctypes.c_float) -> Any:
    """The array that begins at an address."""
    return np.ctypeslib.as_array((kind * int(np.prod(shape))).from_address(address)).reshape(shape)
