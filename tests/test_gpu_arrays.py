"""On a real GPU: arrays of numba, PyTorch and CuPy, on their streams, with the CPU's bits and nobody waiting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from support import gpu_array_cases

import numba_lstm as nl
from numba_lstm.backends.cuda.arrays import DeviceArray

pytestmark = pytest.mark.gpu

# Those that are installed; numba is.
LIBRARIES = ["numba", *(name for name in ("torch", "cupy") if find_spec(name))]
X = gpu_array_cases.numbers(1, 33, 20, 40)
MASK = gpu_array_cases.numbers(2, 33, 20) < 0.8


def there(library: str, array: Any) -> Any:
    if library == "torch":
        import torch

        return torch.from_numpy(array).cuda(non_blocking=True)
    if library == "cupy":
        import cupy

        return cupy.asarray(array)
    from numba import cuda

    return cuda.to_device(array)


def here(library: str, result: DeviceArray) -> Any:
    """A result as an array of the library, in place, and then in main memory."""
    if library == "torch":
        import torch

        tensor = torch.from_dlpack(result)
        assert tensor.is_cuda and tensor.data_ptr() == result.address
        return tensor.cpu().numpy()
    if library == "cupy":
        import cupy

        array = cupy.from_dlpack(result)
        assert array.data.ptr == result.address
        return array.get()
    from numba import cuda

    return cuda.as_cuda_array(result).copy_to_host()


@contextmanager
def another_stream(library: str) -> Iterator[None]:
    """The library's work goes to a stream of its own."""
    if library == "torch":
        import torch

        with torch.cuda.stream(torch.cuda.Stream()):
            yield
    elif library == "cupy":
        import cupy

        with cupy.cuda.Stream(non_blocking=True):
            yield
    else:
        yield


def model() -> nl.Sequential:
    both = nl.Bidirectional(nl.LSTM(24, return_sequences=True))
    found = nl.Sequential([nl.LSTM(48, return_sequences=True), both, nl.LSTM(17, return_sequences=True)])
    found.reseed(3)
    return found


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_bits_of_the_cpu(library: str) -> None:
    network = model()
    expected = network(X, MASK)
    for _ in range(3):
        with another_stream(library):
            result = network(there(library, X), there(library, MASK), device="cuda")
            assert np.array_equal(here(library, result), expected)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_layer_with_states(library: str) -> None:
    layer = nl.LSTM(31, return_state=True, seed=1)
    state = [gpu_array_cases.numbers(3, 33, 31), gpu_array_cases.numbers(4, 33, 31)]
    expected = layer(X[:, ::-1], initial_state=state)
    backwards = there(library, X[:, ::-1].copy())
    found = layer(backwards, initial_state=[there(library, each) for each in state], device="auto")
    for result, array in zip(found, expected, strict=True):
        assert np.array_equal(here(library, result), array)


@pytest.mark.skipif("torch" not in LIBRARIES, reason="PyTorch is what keeps a GPU busy here")
def test_nobody_waits() -> None:
    """Work that is asked for behind a long one is not done when the call returns, and is right afterwards."""
    import torch

    network, x = model(), there("torch", X)
    expected = network(X)
    network(x, device="cuda")  # compiles, and puts the weights there
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(2_000_000_000)
        result = torch.from_dlpack(network(x * 1, device="cuda"))
        assert not torch.cuda.current_stream().query()
        assert np.array_equal((result * 1).cpu().numpy(), expected)


@pytest.mark.skipif("torch" not in LIBRARIES, reason="PyTorch says how much memory is its")
def test_memory_is_given_back() -> None:
    import torch
    from numba import cuda

    layer = nl.LSTM(64, return_sequences=True, seed=1)
    for _ in range(50):
        x = torch.randn(64, 100, 32, device="cuda")
        y = torch.from_dlpack(layer(x, device="cuda"))
        del x
        y.sum()
    del y
    torch.cuda.synchronize()
    free = cuda.current_context().get_memory_info().free
    for _ in range(200):
        torch.from_dlpack(layer(torch.randn(64, 100, 32, device="cuda"), device="cuda"))
    torch.cuda.synchronize()
    assert cuda.current_context().get_memory_info().free > free - (64 << 20)
