"""CUDA's errors, raised by any of its layers, as one-line errors of this package."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
from numba.cuda.cudadrv.driver import CudaAPIError, LinkerError

from numba_lstm.backends.cuda import stream
from numba_lstm.errors import DeviceError, DeviceMemoryError

SHORT = "the GPU has too little free memory for this; take fewer rows at a time"
# The classes of layers that need not be installed, and where they are.
CLASSES = {
    "cuda.core._utils.cuda_utils": "CUDAError",
    "cuda.bindings.nvjitlink": "nvJitLinkError",
    "cuda.bindings.nvvm": "nvvmError",
}


def made(module: str, text: str) -> Exception:
    """An error of the class where that is installed, otherwise of a similar class."""
    name = CLASSES[module]
    try:
        kind = getattr(importlib.import_module(module), name)
    except ImportError:
        kind = type(name, (Exception,), {"__module__": module})
    error: Exception = kind(1)  # a number of CUDA's
    error.args = (text,)
    return error


def translated(error: BaseException) -> BaseException:
    with (
        pytest.raises(type(error) if isinstance(error, KeyboardInterrupt) else Exception) as info,
        stream.translated_errors(),
    ):
        raise error
    return info.value


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("cuda.core._utils.cuda_utils", "CUDA_ERROR_OUT_OF_MEMORY: The API call failed because it was unable to"),
        ("cuda.core._utils.cuda_utils", "cudaErrorMemoryAllocation: The API call failed because it was unable to"),
        ("cuda.bindings.nvjitlink", "ERROR_INTERNAL (6)\nptxas fatal   : Memory allocation failure\0"),
        ("cuda.bindings.nvvm", "ERROR_OUT_OF_MEMORY (1)"),
    ],
)
def test_too_little_memory(module: str, text: str) -> None:
    found = translated(made(module, text))
    assert type(found) is DeviceMemoryError and str(found) == SHORT
    assert str(found.__cause__)


def test_too_little_memory_for_numba() -> None:
    """numba wraps some of NVIDIA's errors."""
    for error in (
        CudaAPIError(2, "Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY"),
        LinkerError("[2] Call to cuLinkComplete results in CUDA_ERROR_OUT_OF_MEMORY"),
    ):
        assert type(translated(error)) is DeviceMemoryError
    error = LinkerError("the link failed")
    error.__cause__ = made("cuda.core._utils.cuda_utils", "CUDA_ERROR_OUT_OF_MEMORY: The API call failed")
    assert type(translated(error)) is DeviceMemoryError


@pytest.mark.parametrize(
    ("module", "text", "shown"),
    [
        (
            "cuda.core._utils.cuda_utils",
            "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: a launch did\nnot occur",
            "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: a launch did not occur",
        ),
        (
            "cuda.bindings.nvjitlink",
            "ERROR_PTX_COMPILE (4)\nnvJitLink error log: ptxas fatal   : Unsupported .version 9.5\n\0",
            "ERROR_PTX_COMPILE (4) nvJitLink error log: ptxas fatal : Unsupported .version 9.5",
        ),
        ("cuda.bindings.nvvm", "", "nvvmError"),
    ],
)
def test_other_errors(module: str, text: str, shown: str) -> None:
    found = translated(made(module, text))
    assert type(found) is DeviceError
    assert str(found) == f"CUDA failed: {shown}; 'cpu' as the device gives the same results"


def raised_by(module: str) -> Callable[[], None]:
    """A function of a module that raises an error of a builtin class."""
    there: dict[str, Any] = {"__name__": module}
    exec("def launch(): raise RuntimeError('the linker was closed')", there)
    launch: Callable[[], None] = there["launch"]
    return launch


def test_an_error_is_cudas_by_the_raising_module() -> None:
    for module in ("cuda.core._linker", "numba.cuda.cudadrv.devices"):
        with pytest.raises(DeviceError, match=r"^CUDA failed: the linker was closed; "), stream.translated_errors():
            raised_by(module)()


@pytest.mark.parametrize("error", [ValueError("x"), MemoryError(), DeviceError("y"), KeyboardInterrupt()], ids=repr)
def test_errors_of_others_are_not_translated(error: BaseException) -> None:
    assert translated(error) is error
    for module in ("numba_lstm.backends.cuda.pinned", "cudax", "tests"):
        with pytest.raises(RuntimeError, match=r"^the linker was closed$"), stream.translated_errors():
            raised_by(module)()
