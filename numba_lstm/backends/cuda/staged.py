"""A GPU for long runs: a stream of its own, copies by way of page-locked memory, and buffers that are used again.

From page-locked memory a card reads by itself, beside its kernels and the copies of other streams; from ordinary memory
the driver would copy first, and the calling thread wait for it.
"""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Callable
from math import prod
from typing import Any, TypeVar

import numpy as np

from numba_lstm.backends.cuda import freeing
from numba_lstm.backends.cuda.card import Array, Card, one_line
from numba_lstm.backends.cuda.pool import Pool
from numba_lstm.errors import DeviceError, DeviceMemoryError
from numba_lstm.kernels.cuda_target import SIMULATED, cuda

_T = TypeVar("_T")


class _Lent:
    """A part of a page-locked buffer. NumPy's views of it all hold on to this, and to no array that is gone before."""

    def __init__(self, part: Array) -> None:
        self.__array_interface__ = part.__array_interface__


class PageLocked:
    """Page-locked main memory for a GPU. Any thread may use it.

    Where the system grants none, ordinary memory takes its place, and copies take longer: `refused` says so.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._pool = Pool(self._make)
        self.refused = False

    def _make(self, size: int) -> Array:
        try:
            with one_line():
                return freeing.page_locked(self._number, size)
        except DeviceError:
            self.refused = True
            return np.empty(size, np.uint8)

    def room(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array like ``numpy.empty``'s; its memory is used again when nobody has it any more."""
        size = prod(shape) * dtype.itemsize
        if not size:
            return np.empty(shape, dtype)
        buffer = self._pool.take(size)
        lent = _Lent(buffer.memory[:size])
        self._pool.lend(buffer, lent)
        return np.asarray(lent).view(dtype).reshape(shape)

    def forget(self) -> None:
        """Free what nobody uses."""
        self._pool.forget()


def is_page_locked(array: Array) -> bool:
    """Whether an array lies in memory of `PageLocked`."""
    owner: Any = array
    while owner is not None and not isinstance(owner, _Lent):
        owner = getattr(owner, "base", None)
    return owner is not None


class StagedCard(Card):
    """A card for the thread that makes it, and for no other one.

    pools: of all that use this card in the same process; this one's is added. Where memory is short, all of them give
    up what they do not use.
    """

    def __init__(self, number: int, page_locked: PageLocked, pools: list[Pool]) -> None:
        with one_line():
            cuda.select_device(number)
            stream = [cuda.stream()]
            # The stream itself stays apart, to end with its GPU the current one.
            super().__init__(stream[0] if SIMULATED else cuda.external_stream(int(stream[0])))
        self._page_locked, self._pools = page_locked, pools
        self._pool = Pool(lambda size: Card.empty(self, size, np.dtype(np.uint8)))
        pools.append(self._pool)
        self._in_use: list[Array] = []  # main memory that copies that were asked for still read or write
        weakref.finalize(self, _end, cuda.gpus[number], stream, self._in_use).atexit = False

    def upload(self, array: Array) -> Any:
        """A copy of an array in the card's memory, flat; one number at least. The array may change afterwards.

        Unless it lies in page-locked memory without gaps: it is copied from there, some time before `wait` returns.
        """
        if not (array.size and array.flags.c_contiguous and is_page_locked(array)):
            source = self.room(array.shape if array.size else (1,), array.dtype)
            source[...] = array if array.size else 0
            array = source
        there = self.empty(array.size, array.dtype)
        self._in_use.append(array)
        with one_line():
            there.copy_to_device(array.reshape(-1), stream=self.stream)
        return there

    def download(self, array: Any, out: Array) -> Array:
        """A copy in main memory: see `Card.download`."""
        self._in_use.append(out)
        return super().download(array, out)

    def keep(self, array: Array) -> Any:
        """The same, to stay for other streams too, and apart from what is used again."""
        return self._ask(lambda: Card.keep(self, array))

    def empty(self, size: int, dtype: np.dtype[Any]) -> Any:
        """Room for that many numbers. What was asked for in it before is done before what is asked for from now on."""
        size = max(size, 1) * dtype.itemsize
        buffer = self._ask(lambda: self._pool.take(size))
        there = buffer.memory[:size].view(dtype)
        self._pool.lend(buffer, there)
        return there

    def _ask(self, take: Callable[[], _T]) -> _T:
        """The result of take(), tried again without idle buffers if memory is short."""
        try:
            return take()
        except DeviceMemoryError:
            self.forget()
            return take()

    def forget(self) -> None:
        """Free the idle buffers of all that use the card."""
        self.wait()  # memory is not free before the last that was asked for in it is done
        # The traceback of the error that led here holds memory, and is part of a cycle in some versions of Python.
        gc.collect()
        for pool in list(self._pools):
            pool.forget()

    def room(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Page-locked room, to download to."""
        return self._page_locked.room(shape, dtype)

    def wait(self) -> None:
        """Until all is done that was asked for."""
        super().wait()
        self._in_use.clear()

    def close(self) -> None:
        """Free its memory and the page-locked one, where nobody uses them."""
        try:
            self.wait()
        finally:
            self._pool.forget()
            self._page_locked.forget()
        if not SIMULATED:
            with one_line(), cuda.gpus[self.number]:
                # numba puts off what it frees; another memory manager, put in its place, may do as it likes.
                put_off = getattr(cuda.current_context().memory_manager, "deallocations", None)
                if put_off is not None:
                    put_off.clear()


def _end(gpu: Any, stream: list[Any], in_use: list[Array]) -> None:
    """The resources that outlive a card: its stream, and main memory that may not end before the copies that use it."""
    with contextlib.suppress(Exception):  # nobody is there to be told
        if in_use:
            with gpu:
                stream[0].synchronize()
    freeing.let_go(gpu, stream)
