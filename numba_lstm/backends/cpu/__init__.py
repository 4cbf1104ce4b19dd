"""The CPU: `policy` decides, `run` and `stacked` make the calls on `threads`, `call_plan` and `streaming` small ones.

Plans are functions in `policy` alone; what threads and interrupts may do to memory is written in `threads`.
"""

from __future__ import annotations

from types import ModuleType

# `from numba_lstm.backends.cpu import run` comes to `__getattr__` as long as the module is not there.
_LOADING_LLVM = frozenset({"call_plan", "operands", "run", "stacked", "stateless", "streaming"})


def __getattr__(name: str) -> ModuleType:
    if name not in _LOADING_LLVM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from numba_lstm.kernels.undisturbed import load

    return load(f"{__name__}.{name}")
