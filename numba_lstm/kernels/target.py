"""The CPU that kernels are compiled for, found without numba: its features and the width of its vectors."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from numba_lstm.kernel_cache import kernel_files, loader


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
    found = loader.host_features()
    avx = os.environ.get("NUMBA_ENABLE_AVX", "1") != "0"
    return frozenset(name for name in found if avx or not name.startswith("avx"))


INTERPRETED = _interpreted()
FEATURES = _features()
# A cache that was built for less than this CPU has is used as it is.
_BUILT_FOR = None if INTERPRETED else kernel_files.chosen_features()
_COMPILED_FOR = _BUILT_FOR if _BUILT_FOR is not None and _BUILT_FOR <= FEATURES else FEATURES
# Another width is another layout of packed weights, so all kernels of a process have one.
VECTOR_BITS = 512 if "avx512f" in _COMPILED_FOR and not INTERPRETED else 256
LANES_FLOAT32, LANES_FLOAT64 = VECTOR_BITS // 32, VECTOR_BITS // 64
BF16_PAIRS = "avx512bf16" in _COMPILED_FOR
