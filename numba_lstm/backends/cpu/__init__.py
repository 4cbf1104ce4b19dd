"""The CPU: operands as kernels take them, threads, stacked cells, windows, ragged batches and single steps."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    # `from numba_lstm.backends.cpu import stacked` comes here as long as the module is not there.
    if name == "stacked":
        from numba_lstm.kernels.undisturbed import load

        return load(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
