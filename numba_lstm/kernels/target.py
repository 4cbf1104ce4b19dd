"""The CPU that kernels are compiled for, found without numba: its features and the width of its vectors."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from numba_lstm.kernel_cache import kernel_files


def _interpreted() -> bool:
    """Whether NUMBA_DISABLE_JIT is set, as numba itself sees it."""
    if "numba" not in sys.modules and not Path(".numba_config.yaml").exists():
        try:
            return int(os.environ.get("NUMBA_DISABLE_JIT", "0")) != 0
        except ValueError:  # numba ignores it too
            return False
    from numba import config

    return bool(config.DISABLE_JIT)


def _features() -> frozenset[str]:
    """The features of the CPU, or those that numba is told to compile for."""
    chosen = os.environ.get("NUMBA_CPU_FEATURES")
    if chosen is None and os.environ.get("NUMBA_CPU_NAME", "").lower() == "generic":
        chosen = ""
    if chosen is not None:
        return frozenset(part[1:] for part in chosen.split(",") if part.startswith("+"))
    from numba_lstm.kernel_cache import loader  # late: it imports llvmlite

    found = loader.host_features()
    avx = os.environ.get("NUMBA_ENABLE_AVX", "1") != "0"
    return frozenset(name for name in found if avx or not name.startswith("avx"))


INTERPRETED = _interpreted()

# Found at first use, for it takes llvmlite.
FEATURES: frozenset[str]
VECTOR_BITS: int
LANES_FLOAT32: int
LANES_FLOAT64: int
BF16_PAIRS: bool


def __getattr__(name: str) -> Any:
    if name not in __annotations__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    features = _features()
    # A cache that was built for less than this CPU has is used as it is.
    built_for = None if INTERPRETED else kernel_files.chosen_features()
    compiled_for = built_for if built_for is not None and built_for <= features else features
    # Another width is another layout of packed weights, so all kernels of a process have one.
    bits = 512 if "avx512f" in compiled_for and not INTERPRETED else 256
    lanes = {"LANES_FLOAT32": bits // 32, "LANES_FLOAT64": bits // 64}
    globals().update(FEATURES=features, VECTOR_BITS=bits, BF16_PAIRS="avx512bf16" in compiled_for, **lanes)
    return globals()[name]
