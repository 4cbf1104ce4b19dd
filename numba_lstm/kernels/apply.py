"""An activation chosen by number, applied in place to vectors in memory.

Choosing at run time lets one compiled kernel serve every model, at the price of a well-predicted jump a vector.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types
from numba.extending import overload

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
from numba_lstm.kernels.jit import inner
from numba_lstm.kernels.normalizations import LOG_SOFTMAX, SOFTMAX, SPARSEMAX, normalize
from numba_lstm.kernels.simd import lanes, load, store

# Those that most models use come first: kernels for them compile in half the time.
LINEAR, TANH, SIGMOID, HARD_SIGMOID, HARD_SIGMOID_KERAS3, RELU = range(6)
RELU6, LEAKY_RELU, ELU, SELU, EXPONENTIAL, SOFTPLUS, LOG_SIGMOID = range(6, 13)
SOFTSIGN, SILU, HARD_SILU, GELU, MISH, HARD_TANH, TANH_SHRINK = range(13, 20)
SOFT_SHRINK, HARD_SHRINK, SQUAREPLUS, SPARSE_PLUS, SPARSE_SIGMOID = range(20, 25)
CUSTOM = 28
# The function, as of apply, for the common ones.
COMMON = np.uint8(0)

# The function names of numba_lstm.semantics.dialects.ACTIVATIONS.
CODES = {
    "linear": LINEAR,
    "tanh": TANH,
    "sigmoid": SIGMOID,
    "hard_sigmoid": HARD_SIGMOID,
    "hard_sigmoid_keras3": HARD_SIGMOID_KERAS3,
    "relu": RELU,
    "relu6": RELU6,
    "leaky_relu": LEAKY_RELU,
    "elu": ELU,
    "selu": SELU,
    "exponential": EXPONENTIAL,
    "softplus": SOFTPLUS,
    "log_sigmoid": LOG_SIGMOID,
    "softsign": SOFTSIGN,
    "silu": SILU,
    "hard_silu": HARD_SILU,
    "gelu": GELU,
    "mish": MISH,
    "hard_tanh": HARD_TANH,
    "tanh_shrink": TANH_SHRINK,
    "soft_shrink": SOFT_SHRINK,
    "hard_shrink": HARD_SHRINK,
    "squareplus": SQUAREPLUS,
    "sparse_plus": SPARSE_PLUS,
    "sparse_sigmoid": SPARSE_SIGMOID,
    "softmax": SOFTMAX,
    "log_softmax": LOG_SOFTMAX,
    "sparsemax": SPARSEMAX,
}


@inner
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


@inner
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


def apply_common(code: int, function: Any, z: Any, start: int, stride: int, units: int) -> Any:
    """apply, for a code up to RELU."""
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
