"""An activation chosen by number, applied in place to vectors in memory.

Choosing at run time lets one compiled kernel serve every model, at the price of a well-predicted jump a vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from numba.core import types
from numba.extending import overload

from numba_lstm.kernels import activations
from numba_lstm.kernels.codes import CODES, COMMON, COMMON_NAMES, RARE_NAMES, SOFTMAX
from numba_lstm.kernels.jit import NJIT_OPTIONS, njit_helper
from numba_lstm.kernels.normalizations import normalize
from numba_lstm.kernels.simd import lanes, load, store


def _choice(names: Sequence[str], otherwise: str) -> Any:
    """A function of a code and x: the activation of ``names`` that has the code, or what ``otherwise`` says.

    It is written out here, a line for each name, because one put together from functions compiles more slowly.
    """
    lines = [f" if code == {CODES[name]}:\n  return {name}(x)\n" for name in names]
    scope = {name: getattr(activations, name) for name in names} | globals()
    exec(f"def choose(code, x):\n{''.join(lines)} return {otherwise}\n", scope)
    return njit_helper(scope["choose"])


def check(defined: Iterable[str], names: Iterable[str]) -> None:
    """Raise RuntimeError unless there is a function for every line of codes.py, and a line for every function."""
    functions, lines = set(defined), set(names)
    if missing := sorted(lines - functions):
        raise RuntimeError(f"activations of codes.py that activations.py has no function for: {', '.join(missing)}")
    if forgotten := sorted(functions - lines):
        raise RuntimeError(f"functions of activations.py without a line in codes.py: {', '.join(forgotten)}")


check(
    (name for name, one in vars(activations).items() if getattr(one, "__module__", "") == activations.__name__),
    (*COMMON_NAMES, *RARE_NAMES),
)
common = _choice(COMMON_NAMES[1:], "x")
elementwise = _choice(RARE_NAMES, "common(code, x)")


def apply_common(code: int, function: Any, z: Any, start: int, stride: int, units: int) -> Any:
    """apply, for a code up to LAST_COMMON."""
    n = lanes(z)
    for first in range(0, units, n):
        at = start + first // n * stride
        store(z, at, common(code, load(z, at)))


def apply_any(code: int, function: Any, z: Any, start: int, stride: int, units: int) -> Any:
    """apply, for every code but CUSTOM."""
    n = lanes(z)
    if code < SOFTMAX:
        for first in range(0, units, n):
            at = start + first // n * stride
            store(z, at, elementwise(code, load(z, at)))
    else:
        normalize(code, True, z, start, stride, units)


def apply_function(code: int, function: Any, z: Any, start: int, stride: int, units: int) -> Any:
    """apply, for the user's own function."""
    n = lanes(z)
    for first in range(0, units, n):
        at = start + first // n * stride
        for lane in range(at, at + n):
            z[lane] = function(z[lane])


def apply(code: int, function: Any, z: Any, start: int, stride: int, units: int) -> None:
    """z = activation(z) for ``units`` numbers that lie in vectors ``stride`` elements apart, the first at ``start``.

    code: a number of CODES, or CUSTOM. function: its type says what is compiled in: COMMON for the common activations
    only, True for all built-in ones, a compiled function of one scalar for that one. z: flat and writable; the rest
    of the last vector is overwritten with numbers that mean nothing.
    """
    if function is COMMON:
        apply_common(code, function, z, start, stride, units)
    elif function is True:
        apply_any(code, function, z, start, stride, units)
    else:
        apply_function(code, function, z, start, stride, units)


@overload(apply, jit_options=NJIT_OPTIONS)
def _choose(code: int, function: Any, z: Any, start: int, stride: int, units: int) -> Any:
    """The same choice, made when compiling: what a model does not use costs no compile time."""
    if isinstance(function, types.Integer):
        return apply_common
    return apply_any if isinstance(function, types.Boolean) else apply_function
