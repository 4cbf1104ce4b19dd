"""Every activation that acts element by element, once: a function of one number (a scalar or a SIMD vector).

Names are Keras's; where Keras 2 and Keras 3 give a name two meanings there are two functions. Infinities and NaN
come out as in TensorFlow 2.15 and Keras 3.15 (silu(-inf) is NaN, hard_shrink(NaN) is 0, and so on), denormal results
are the true values. Errors are in units in the last place of the correctly rounded result; they are measured by
``pytest -m slow tests/kernels/test_activations.py``.
"""

from __future__ import annotations

from typing import Any

from numba_lstm.kernels.elementary import at_least, at_most, exp, expm1, log1p, normal_cdf
from numba_lstm.kernels.jit import njit_inline
from numba_lstm.kernels.ops import absolute, constant, copysign, fma, is_single, select, sqrt

SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772


@njit_inline
def linear(x: Any) -> Any:
    """x"""
    return x


@njit_inline
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) within 2.41 ulp (float32, every number) and 2.42 ulp (float64, 2e8 numbers).

    Written with exp(-abs(x)), so that its lower tail keeps its digits.
    """
    e = exp(-absolute(x))
    one = constant(x, 1.0)
    return select(x < constant(x, 0.0), e, one) / (one + e)


@njit_inline
def tanh(x: Any) -> Any:
    """The hyperbolic tangent within 2.50 ulp (float32, every number) and 2.53 ulp (float64, 2e8 numbers).

    -t / (t + 2) with t = expm1(-2 abs(x)), the sign put back.
    """
    a = at_most(absolute(x), 10.0) if is_single(x) else at_most(absolute(x), 20.0)
    t = expm1(constant(x, -2.0) * a)
    return copysign(t / (t + constant(x, 2.0)), x)


@njit_inline
def hard_sigmoid(x: Any) -> Any:
    """clip(0.2 x + 0.5, 0, 1): TensorFlow 1.15 and 2.15."""
    return at_least(at_most(fma(constant(x, 0.2), x, constant(x, 0.5)), 1.0), 0.0)


@njit_inline
def hard_sigmoid_keras3(x: Any) -> Any:
    """relu6(x + 3) / 6: Keras 3."""
    return relu6(x + constant(x, 3.0)) / constant(x, 6.0)


@njit_inline
def relu(x: Any) -> Any:
    """max(x, 0)"""
    return at_least(x, 0.0)


@njit_inline
def relu6(x: Any) -> Any:
    """min(max(x, 0), 6)"""
    return at_most(at_least(x, 0.0), 6.0)


@njit_inline
def leaky_relu(x: Any) -> Any:
    """x, or 0.2 x below 0."""
    return select(x < constant(x, 0.0), constant(x, 0.2) * x, x)


@njit_inline
def elu(x: Any) -> Any:
    """x, or exp(x) - 1 below 0."""
    zero = constant(x, 0.0)
    return select(x < zero, expm1(at_most(x, 0.0)), x)


@njit_inline
def selu(x: Any) -> Any:
    """scale * (x, or alpha * (exp(x) - 1) below 0)."""
    below = constant(x, SELU_SCALE * SELU_ALPHA) * expm1(at_most(x, 0.0))
    return select(x < constant(x, 0.0), below, constant(x, SELU_SCALE) * x)


@njit_inline
def exponential(x: Any) -> Any:
    """exp(x) within 1.10 ulp (float32, every number) and 1.03 ulp (float64, 2e8 numbers)."""
    return exp(x)


@njit_inline
def softplus(x: Any) -> Any:
    """log(1 + exp(x))"""
    return at_least(x, 0.0) + log1p(exp(-absolute(x)))


@njit_inline
def log_sigmoid(x: Any) -> Any:
    """log(sigmoid(x)) = -softplus(-x)"""
    return -softplus(-x)


@njit_inline
def softsign(x: Any) -> Any:
    """x / (1 + abs(x))"""
    return x / (constant(x, 1.0) + absolute(x))


@njit_inline
def silu(x: Any) -> Any:
    """x sigmoid(x), also called swish."""
    return x * sigmoid(x)


@njit_inline
def hard_silu(x: Any) -> Any:
    """x relu6(x + 3) / 6, also called hard_swish."""
    return x * hard_sigmoid_keras3(x)


@njit_inline
def gelu(x: Any) -> Any:
    """x Phi(x), Phi the normal distribution function (the exact form, not the tanh approximation)."""
    return x * normal_cdf(x)


@njit_inline
def mish(x: Any) -> Any:
    """x tanh(softplus(x)) = x n / (n + 2), n = e (e + 2), e = exp(x); 1 to the last bit above 20 (float64: 40)."""
    e = exp(at_most(x, 20.0)) if is_single(x) else exp(at_most(x, 40.0))
    two = constant(x, 2.0)
    n = e * (e + two)
    return x * (n / (n + two))


@njit_inline
def hard_tanh(x: Any) -> Any:
    """clip(x, -1, 1)"""
    return at_most(at_least(x, -1.0), 1.0)


@njit_inline
def tanh_shrink(x: Any) -> Any:
    """x - tanh(x)"""
    return x - tanh(x)


@njit_inline
def soft_shrink(x: Any) -> Any:
    """x moved by 0.5 towards 0, and 0 where it is within 0.5 of it (NaN gives 0, as in Keras 3)."""
    half, zero = constant(x, 0.5), constant(x, 0.0)
    return select(half < x, x - half, select(x < -half, x + half, zero))


@njit_inline
def hard_shrink(x: Any) -> Any:
    """x, or 0 where abs(x) <= 0.5 (NaN gives 0, as in Keras 3)."""
    return select(constant(x, 0.5) < absolute(x), x, constant(x, 0.0))


@njit_inline
def squareplus(x: Any) -> Any:
    """(x + sqrt(x**2 + 4)) / 2, below 0 as 2 / (sqrt(x**2 + 4) - x), which does not cancel.

    As in Keras, NaN at -inf, and infinity where x**2 is too large for the dtype, on both sides.
    """
    root = sqrt(fma(x, x, constant(x, 4.0)))
    plain = constant(x, 0.5) * (x + root)
    below = constant(x, 2.0) / (root - x)
    zero = constant(x, 0.0)
    return select(plain - plain == zero, select(x < zero, below, plain), plain)


@njit_inline
def sparse_plus(x: Any) -> Any:
    """0 up to -1, (x + 1)**2 / 4 up to 1, x from there on."""
    one, zero = constant(x, 1.0), constant(x, 0.0)
    above = x + one
    return select(x <= -one, zero, select(one <= x, x, constant(x, 0.25) * (above * above)))


@njit_inline
def sparse_sigmoid(x: Any) -> Any:
    """0 up to -1, (x + 1) / 2 up to 1, 1 from there on."""
    return at_least(at_most(constant(x, 0.5) * (x + constant(x, 1.0)), 1.0), 0.0)
