"""An activation chosen by number, applied in place to vectors in memory.

Choosing at run time lets one compiled kernel serve every model, at the price of a well-predicted jump a vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import overload

from numba_lstm.kernels import activations
from numba_lstm.kernels.activations import (
    elu,
    exponential,
    gelu,
    hard_shrink,
    hard_sigmoid,
    hard_sigmoid_keras3,
    hard_silu,
    hard_tanh,
    leaky_relu,
    log_sigmoid,
    mish,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    soft_shrink,
    softplus,
    softsign,
    sparse_plus,
    sparse_sigmoid,
    squareplus,
    tanh,
    tanh_shrink,
)
from numba_lstm.kernels.jit import njit_helper
from numba_lstm.kernels.normalizations import LOG_SOFTMAX, SOFTMAX, SPARSEMAX, normalize
from numba_lstm.kernels.simd import lanes, load, store
from numba_lstm.semantics.dialects import ACTIVATIONS, ROW_ACTIVATIONS

ROWS = {"softmax": SOFTMAX, "log_softmax": LOG_SOFTMAX, "sparsemax": SPARSEMAX}
CUSTOM = 1 + max(ROWS.values())


def numbered(lines: Sequence[Any], defined: Iterable[str], listed: Iterable[str]) -> dict[str, int]:
    """The functions' names, numbered by their places.

    lines: the table of elementwise activations. defined: the names of all functions that there are. listed: the names
    of functions that the dialects refer to, those over rows too. Raises RuntimeError for one that is missing.
    """
    names = set(listed)
    codes = {function.__name__: number for number, function in enumerate(lines)}
    if len(codes) < len(lines) or len(lines) > SOFTMAX:
        raise RuntimeError(f"activations.py's tables have {len(lines)} lines for {len(codes)} functions")
    if forgotten := sorted(set(defined) - codes.keys()):
        raise RuntimeError(f"activations without a line in activations.COMMON or RARE: {', '.join(forgotten)}")
    if missing := sorted(names - codes.keys() - ROWS.keys()):
        raise RuntimeError(f"dialects.ACTIVATIONS refers to what activations.py has no function for: {missing}")
    if unused := sorted(codes.keys() - names):
        raise RuntimeError(f"activations that dialects.ACTIVATIONS gives no name: {', '.join(unused)}")
    if ROWS.keys() != ROW_ACTIVATIONS:
        raise RuntimeError(f"row activations {sorted(ROWS)}; expected dialects.ROW_ACTIVATIONS")
    return codes | ROWS


# The function names of dialects.ACTIVATIONS.
CODES = numbered(
    (*activations.COMMON, *activations.RARE),
    (
        name
        for name, function in vars(activations).items()
        if getattr(function, "__module__", "") == activations.__name__
    ),
    (name for names in ACTIVATIONS.values() for name in names.values()),
)
# The numbers of activations.COMMON and RARE, in their order; `check` compares them.
LINEAR, TANH, SIGMOID, HARD_SIGMOID, HARD_SIGMOID_KERAS3, RELU = range(6)
RELU6, LEAKY_RELU, ELU, SELU, EXPONENTIAL, SOFTPLUS, LOG_SIGMOID = range(6, 13)
SOFTSIGN, SILU, HARD_SILU, GELU, MISH, HARD_TANH, TANH_SHRINK = range(13, 20)
SOFT_SHRINK, HARD_SHRINK, SQUAREPLUS, SPARSE_PLUS, SPARSE_SIGMOID = range(20, 25)
LAST_COMMON = len(activations.COMMON) - 1
# The function, as of apply, for the common ones.
COMMON = np.uint8(0)


@njit_helper
def common(code: int, x: Any) -> Any:
    """One of the first six activations of CODES at x."""
    if code == TANH:
        y = tanh(x)
    elif code == SIGMOID:
        y = sigmoid(x)
    elif code == HARD_SIGMOID:
        y = hard_sigmoid(x)
    elif code == HARD_SIGMOID_KERAS3:
        y = hard_sigmoid_keras3(x)
    elif code == RELU:
        y = relu(x)
    else:
        y = x
    return y


@njit_helper
def elementwise(code: int, x: Any) -> Any:
    """Any elementwise activation of CODES at x."""
    if code == RELU6:
        y = relu6(x)
    elif code == LEAKY_RELU:
        y = leaky_relu(x)
    elif code == ELU:
        y = elu(x)
    elif code == SELU:
        y = selu(x)
    elif code == EXPONENTIAL:
        y = exponential(x)
    elif code == SOFTPLUS:
        y = softplus(x)
    elif code == LOG_SIGMOID:
        y = log_sigmoid(x)
    elif code == SOFTSIGN:
        y = softsign(x)
    elif code == SILU:
        y = silu(x)
    elif code == HARD_SILU:
        y = hard_silu(x)
    elif code == GELU:
        y = gelu(x)
    elif code == MISH:
        y = mish(x)
    elif code == HARD_TANH:
        y = hard_tanh(x)
    elif code == TANH_SHRINK:
        y = tanh_shrink(x)
    elif code == SOFT_SHRINK:
        y = soft_shrink(x)
    elif code == HARD_SHRINK:
        y = hard_shrink(x)
    elif code == SQUAREPLUS:
        y = squareplus(x)
    elif code == SPARSE_PLUS:
        y = sparse_plus(x)
    elif code == SPARSE_SIGMOID:
        y = sparse_sigmoid(x)
    else:
        y = common(code, x)
    return y


def check(codes: Mapping[str, int], constants: Mapping[str, Any], functions: Sequence[Any]) -> None:
    """Raise RuntimeError for an elementwise activation that has no constant of its number, or that no function calls.

    A choice that is written out compiles faster than one that is put together from the tables, so it is checked.
    """
    called = {name for function in functions for name in getattr(function, "py_func", function).__code__.co_names}
    for name, code in codes.items():
        if name not in ROWS and constants.get(name.upper()) != code:
            raise RuntimeError(f"activation {name}: expected {name.upper()} = {code} in apply.py")
        if name not in ROWS and code != LINEAR and name not in called:
            raise RuntimeError(f"activation {name}: expected a line for it in apply.common or apply.elementwise")


check(CODES, globals(), (common, elementwise))


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


@overload(apply, jit_options={"error_model": "numpy"})
def _choose(code: int, function: Any, z: Any, start: int, stride: int, units: int) -> Any:
    """The same choice, made when compiling: what a model does not use costs no compile time."""
    if isinstance(function, types.Integer):
        return apply_common
    return apply_any if isinstance(function, types.Boolean) else apply_function
