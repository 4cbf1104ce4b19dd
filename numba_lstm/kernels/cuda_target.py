"""numba's CUDA, imported here and nowhere else: where a successor would be put in its place.

With ``NUMBA_ENABLE_CUDASIM=1`` numba runs the kernels as plain Python, a thread of the system for each of CUDA's; that
needs ``NUMBA_DISABLE_JIT=1`` too, for plain Python cannot call compiled functions in a kernel.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

# numba-cuda 0.30 looks for it when it compiles its first kernel, and NumPy 2.5 has it under the other name alone.
vars(np).setdefault("row_stack", np.vstack)

from numba import config, cuda, types  # noqa: E402
from numba.cuda.cudadrv import driver  # noqa: E402
from numba.extending import intrinsic  # noqa: E402

__all__ = [
    "ALIGNMENT",
    "SIMULATED",
    "cuda",
    "cuda_kernel",
    "is_cudas",
    "stream_id",
    "try_out",
    "uncontracted",
    "unsigned",
]

SIMULATED = bool(config.ENABLE_CUDASIM)
# Where CUDA's errors come from: numba, and NVIDIA's cuda.core, cuda.bindings and cuda.pathfinder under it.
_HOMES = "numba.", "cuda."

ALIGNMENT = 16  # bytes of the widest load
# For indices of arrays: numba adds the array's length to those that may be negative.
unsigned: Any = int if config.DISABLE_JIT else np.uint32


def is_cudas(error: BaseException) -> bool:
    """Whether an error is one of CUDA's driver, compilers or linker, or of numba: by its class, or by who raised it."""
    homes = [kind.__module__ for kind in type(error).__mro__]
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is not None:
        homes.append(str(trace.tb_frame.f_globals.get("__name__")))
    return any(f"{home}.".startswith(_HOMES) for home in homes)


def stream_id(handle: int) -> int:
    """A number that no other stream of the process ever has, as its handle may have: an address is used again."""
    return handle if SIMULATED else int(driver.driver.cuStreamGetId(handle))


def cuda_kernel(function: Callable[..., Any]) -> Any:
    """Compile an entry point when it is first launched: with signatures it would need a GPU when imported."""
    # Without optimization across files, which would contract what `uncontracted` keeps apart. numba-cuda 0.30 loses the
    # option on its way unless the function comes with it.
    return cuda.jit(function) if SIMULATED else cuda.jit(function, lto=False)


@intrinsic
def _uncontracted(typingctx: Any) -> Any:
    """In a kernel: no product and sum of it becomes one operation unless it is written as `fma`.

    CUDA's compiler does that otherwise, and the results would have other bits than the CPU's. numba has no switch for
    the compiler's option, so it is set where the kernel's code is made; tests look for it in what comes out.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        context.active_code_library._nvvm_options["fma"] = False
        return context.get_dummy_value()

    return types.void(), codegen


# Plain Python contracts nothing.
uncontracted: Callable[[], None] = (lambda: None) if config.DISABLE_JIT else _uncontracted


@cuda_kernel
def trial() -> None:
    """Nothing; compiled, linked and launched as all kernels are."""
    uncontracted()


@cache
def try_out() -> None:
    """Raise, once, the error that keeps kernels from being compiled and launched on the current GPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba's advice about small grids
        trial[1, 1]()
        cuda.synchronize()
