"""numba's CUDA, which no other module imports, so that a successor could take its place.

With ``NUMBA_ENABLE_CUDASIM=1`` numba simulates the kernels in plain Python, with a system thread for each CUDA thread;
this needs ``NUMBA_DISABLE_JIT=1`` too, since plain Python cannot call compiled functions in a kernel.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

# numba-cuda 0.30 uses np.row_stack when it compiles its first kernel; NumPy 2.5 has only np.vstack.
vars(np).setdefault("row_stack", np.vstack)

from numba import config, cuda, types  # noqa: E402
from numba.cuda.cudadrv import driver  # noqa: E402
from numba.extending import intrinsic  # noqa: E402

__all__ = [
    "ALIGNMENT",
    "SIMULATED",
    "cuda",
    "cuda_kernel",
    "is_cuda_error",
    "run_trial_kernel",
    "stream_id",
    "uncontracted",
    "unsigned",
]

SIMULATED = bool(config.ENABLE_CUDASIM)
# The packages that raise CUDA's errors: numba, and NVIDIA's cuda.core, cuda.bindings and cuda.pathfinder.
_PACKAGES = "numba.", "cuda."

ALIGNMENT = 16  # bytes of the widest load
# The type of indices: numba adds the array's length to an index of a signed type if it is negative.
unsigned: Any = int if config.DISABLE_JIT else np.uint32


def is_cuda_error(error: BaseException) -> bool:
    """Whether CUDA's driver, compilers or linker, or numba, raised an error: by its class or the raising frame."""
    modules = [kind.__module__ for kind in type(error).__mro__]
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is not None:
        modules.append(str(trace.tb_frame.f_globals.get("__name__")))
    return any(f"{module}.".startswith(_PACKAGES) for module in modules)


def stream_id(handle: int) -> int:
    """A number that identifies a stream for the life of the process; its handle, an address, may be reused."""
    return handle if SIMULATED else int(driver.driver.cuStreamGetId(handle))


def cuda_kernel(function: Callable[..., Any]) -> Any:
    """Compile an entry point at its first launch: with signatures, its import would need a GPU."""
    # Link-time optimization would contract what `uncontracted` keeps apart. numba-cuda 0.30 loses the option unless it
    # is passed together with the function.
    return cuda.jit(function) if SIMULATED else cuda.jit(function, lto=False)


@intrinsic
def _uncontracted(typingctx: Any) -> Any:
    """Keep the compiler from contracting a product and a sum of a kernel into one operation, other than `fma`.

    Contraction would give other bits than the CPU's. numba does not expose this option of NVVM, so it is set where the
    kernel's code is generated; tests check the compiled code.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        context.active_code_library._nvvm_options["fma"] = False
        return context.get_dummy_value()

    return types.void(), codegen


# Plain Python does not contract.
uncontracted: Callable[[], None] = (lambda: None) if config.DISABLE_JIT else _uncontracted


@cuda_kernel
def trial() -> None:
    """An empty kernel, compiled, linked and launched like all others."""
    uncontracted()


@cache
def run_trial_kernel() -> None:
    """Launch an empty kernel once. Raises the error that keeps kernels from running on the current GPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba's advice about small grids
        trial[1, 1]()
        cuda.synchronize()
