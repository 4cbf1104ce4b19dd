"""Queries of NVIDIA's driver, without any package."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

# From the driver's interface, cuda.h.
_MAJOR, _MINOR = 75, 76
_ORDINAL = 9
_NO_DEVICE = 100


def driver() -> dict[str, Any]:
    """The driver's report: ``version`` of CUDA that it supports, ``devices``, and ``problem``.

    Each device has a name, a compute capability and its bytes of memory. The problem is the reason why no GPU can be
    used, or None.
    """
    found: dict[str, Any] = {"version": None, "devices": [], "problem": None}
    name = _library()
    try:
        library = ctypes.CDLL(name)
    except OSError:
        found["problem"] = f"no NVIDIA driver ({name} is not there)"
        return found
    if code := library.cuInit(0):
        found["problem"] = "no NVIDIA GPU" if code == _NO_DEVICE else f"NVIDIA's driver does not start (error {code})"
        return found
    number = ctypes.c_int(0)
    if not library.cuDriverGetVersion(ctypes.byref(number)):
        found["version"] = f"{number.value // 1000}.{number.value % 1000 // 10}"
    library.cuDeviceGetCount(ctypes.byref(number))
    found["devices"] = [_device(library, i) for i in range(number.value)]
    if not found["devices"]:
        found["problem"] = "no NVIDIA GPU"
    return found


def gpu_number_of(address: int) -> int:
    """The number of the GPU with memory at an address, 0 if unknown; for a process that uses the driver already."""
    number = ctypes.c_int(0)
    code = ctypes.CDLL(_library()).cuPointerGetAttribute(ctypes.byref(number), _ORDINAL, ctypes.c_uint64(address))
    return 0 if code else number.value


def _library() -> str:
    return "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def _device(library: Any, index: int) -> dict[str, Any]:
    device, number, memory = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_size_t(0)
    text = ctypes.create_string_buffer(256)
    library.cuDeviceGet(ctypes.byref(device), index)
    library.cuDeviceGetName(text, len(text), device)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    capability = []
    for attribute in (_MAJOR, _MINOR):
        library.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
        capability.append(str(number.value))
    return {
        "name": text.value.decode("utf-8", "replace"),
        "compute_capability": ".".join(capability),
        "memory": memory.value,
    }
