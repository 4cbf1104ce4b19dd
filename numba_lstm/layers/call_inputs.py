"""The arrays of a call where they lie: those on a GPU are computed and returned there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from numba_lstm.backends.cuda.arrays import DeviceArray, lies_on_gpu
from numba_lstm.backends.cuda.interface import LEGACY
from numba_lstm.backends.cuda.selection import resolve
from numba_lstm.errors import DeviceError

if TYPE_CHECKING:
    from numba_lstm.backends.cuda.caller_stream import CallerStream


class CallInputs:
    """The arguments of a call: its arrays, those on a GPU as `DeviceArray`s, and its device; for a with statement.

    With arrays in main memory there is nothing to do at either end of it.
    """

    __slots__ = ("_others", "device", "home", "inputs")

    def __init__(self, device: Any, home: CallerStream | None, inputs: Any, others: dict[str, Any]) -> None:
        self.device = device
        self.home = home  # the GPU and the stream that the inputs came on, and the results go back to
        self.inputs = inputs
        self._others = others

    def __enter__(self) -> CallInputs:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __getitem__(self, name: str) -> Any:
        return self._others[name]

    def returned(self, results: Any) -> Any:
        """The results of a call where they belong: on the GPU that the inputs came on, or in memory of their own."""
        return _apart(results, self.inputs) if self.home is None else _at(self.home, results)


def adopt(device: Any, layer: str, inputs: Any, **others: Any) -> AbstractContextManager[CallInputs]:
    """The arrays of a call, for as long as it lasts; `others` by the names of their arguments, alone or in lists.

    Inputs on a GPU are computed on it, on the caller's stream, with "auto" as with "cuda". Raises `DeviceError` for
    arrays on a GPU where the call computes on the CPU, or on several GPUs, and what `resolve` raises.
    """
    on_gpu = {name: value for name, value in others.items() if value is not None and _has_one_on_gpu(value)}
    from_gpu = type(inputs) is not np.ndarray and lies_on_gpu(inputs)
    if not from_gpu and not on_gpu:
        return CallInputs(device, None, inputs, others)
    return _adopt_on_gpu(device, layer, inputs, from_gpu, on_gpu, others)


@contextmanager
def _adopt_on_gpu(
    device: Any, layer: str, inputs: Any, from_gpu: bool, on_gpu: dict[str, Any], others: dict[str, Any]
) -> Iterator[CallInputs]:
    names = {"inputs": inputs} if from_gpu else on_gpu
    name = f"{layer}: {next(iter(names))}"
    if resolve("cuda" if from_gpu and device == "auto" else device) == "cpu":
        raise DeviceError(
            f"{name} is on a GPU, and device is {device!r}; expected device='cuda', or an array in main memory; copy "
            "it first, for example with .get() or .cpu()"
        )
    from numba_lstm.backends.cuda import caller_stream, ingest, stream  # late: they import numba's CUDA

    first = next(_arrays_of(next(iter(names.values()))))
    offer = ingest.inspect(first, name)
    with ExitStack() as stack:
        stack.enter_context(stream.use_gpu(offer.gpu_number))
        here = caller_stream.CallerStream(LEGACY if offer.stream is None or not from_gpu else offer.stream)
        stack.callback(here.give_back)
        stack.enter_context(stream.use_stream(here))

        def uploaded(value: Any, name: str) -> Any:
            if isinstance(value, list | tuple):
                return [uploaded(each, name) for each in value]
            return ingest.adopt(ingest.inspect(value, name), here) if lies_on_gpu(value) else value

        if from_gpu:
            inputs = ingest.adopt(offer, here)
        others |= {key: uploaded(value, f"{layer}: {key}") for key, value in on_gpu.items()}
        yield CallInputs("cuda", here if from_gpu else None, inputs, others)


def _arrays_of(value: Any, depth: int = 2) -> Iterator[Any]:
    """`value`, or what lists of arrays have that lies on a GPU; lists of numbers are not gone through."""
    if lies_on_gpu(value):
        yield value
    elif depth and isinstance(value, list | tuple) and not isinstance(next(iter(value), 0), int | float):
        for each in value:
            yield from _arrays_of(each, depth - 1)


def _has_one_on_gpu(value: Any) -> bool:
    return next(_arrays_of(value), None) is not None


def _apart(results: Any, inputs: Any) -> Any:
    """A layer may hand on what it was given, or a view of it; the caller gets a copy then."""
    if not isinstance(inputs, np.ndarray):
        return results
    if isinstance(results, list):
        return [_apart(each, inputs) for each in results]
    shared = isinstance(results, np.ndarray) and np.may_share_memory(results, inputs)
    return results.copy() if shared else results


def _at(home: CallerStream, results: Any) -> Any:
    if isinstance(results, list):
        return [_at(home, each) for each in results]
    if isinstance(results, DeviceArray):
        return results
    from numba_lstm.backends.cuda import copies

    return copies.upload(home, np.asarray(results))
