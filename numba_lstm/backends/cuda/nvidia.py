"""The report of NVIDIA's driver, asked without any package."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

# From the driver's interface, cuda.h.
_MAJOR, _MINOR = 75, 76
_ORDINAL = 9
_NO_DEVICE = 100


def driver() -> dict[str, Any]:
    """``version`` of CUDA that the driver supports, ``devices`` with name, compute capability and bytes of memory, and
    ``problem``: why there is nothing to compute on, or None.
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


def device_of(address: int) -> int:
    """The number of the GPU that memory lies on, for a process that uses the driver already; 0 where it cannot say."""
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
