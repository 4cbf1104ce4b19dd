"""numba's CUDA, imported here and nowhere else: where a successor would be put in its place.

With ``NUMBA_ENABLE_CUDASIM=1`` numba runs the kernels as plain Python, a thread of the system for each of CUDA's; that
needs ``NUMBA_DISABLE_JIT=1`` too, for plain Python cannot call compiled functions in a kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config, cuda, types
from numba.cuda.cudadrv import driver, error
from numba.extending import intrinsic

__all__ = ["ALIGNMENT", "ERRORS", "SIMULATED", "cuda", "kernel", "uncontracted", "unsigned"]

SIMULATED = bool(config.ENABLE_CUDASIM)
# All that CUDA's driver and compilers raise.
ERRORS: tuple[type[Exception], ...] = (
    driver.CudaAPIError,
    driver.LinkerError,
    *(each for each in vars(error).values() if isinstance(each, type) and issubclass(each, Exception)),
)

ALIGNMENT = 16  # bytes of the widest load
# For indices of arrays: numba adds the array's length to those that may be negative.
unsigned: Any = int if config.DISABLE_JIT else np.uint32


def kernel(function: Callable[..., Any]) -> Any:
    """Compile an entry point when it is first launched: with signatures it would need a GPU when imported."""
    # Without optimization across files, which would contract what `uncontracted` keeps apart.
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
