"""exp, expm1, log, log1p and the normal distribution, built from exact and correctly rounded operations alone.

Each function takes a float32 or float64 number, or a SIMD vector of them, and gives the same bits for all of them.
There is no branch on a value: both sides are computed and one is selected. Coefficients: benchmarks/polynomials.py.
Argument reduction after Cody and Waite, Software Manual for the Elementary Functions (1980), chapter 6.
"""

from __future__ import annotations

from typing import Any

from numba_lstm.kernels.jit import njit_inline
from numba_lstm.kernels.ops import absolute, constant, exponent, fma, horner, is_single, nearest, scale, select

LOG2_E = 1.4426950408889634
# ln 2 in two parts; the first has so few bits that its product with an exponent is exact.
LN2_HIGH_SINGLE, LN2_LOW_SINGLE = 0.693359375, -2.1219444e-4
LN2_HIGH_DOUBLE, LN2_LOW_DOUBLE = 6.93147180369123816490e-01, 1.90821492927058770002e-10
LN2 = 0.6931471805599453

# q of expm1(r) = r + r**2 q(r), abs(r) <= ln(2) / 2
EXPM1_SINGLE = (
    0.0013926203828305006,
    0.008363194763660431,
    0.041666556149721146,
    0.16666576266288757,
    0.5,
)
EXPM1_DOUBLE = (
    2.0914707069612355e-09,
    2.510524515390137e-08,
    2.7557273594799413e-07,
    2.755725533255441e-06,
    2.480158732558584e-05,
    0.00019841269873874973,
    0.0013888888888883737,
    0.00833333333332612,
    0.04166666666666667,
    0.1666666666666667,
    0.5,
)
# q of log1p(e) = 2 s + s**3 q(s**2), s = e / (2 + e), 0 <= e <= 1
LOG1P_SINGLE = (
    0.23224329948425293,
    0.2170657515525818,
    0.285923570394516,
    0.3999970555305481,
    0.6666666865348816,
)
LOG1P_DOUBLE = (
    0.15231262619428984,
    0.06334110851770246,
    0.09942024896554734,
    0.10480399234365274,
    0.11767997767241035,
    0.13333176949138179,
    0.15384620253804163,
    0.18181818086005655,
    0.22222222223331986,
    0.2857142857142194,
    0.40000000000000013,
    0.6666666666666666,
)
# exp(y**2) erfc(y) in powers of t = (y - 4) / (y + 4), 0 <= y <= 36
ERFCX_SINGLE = (
    8.88561480678618e-05,
    -5.6828583183232695e-05,
    -0.00082176219439134,
    0.004082512576133013,
    -0.012827816419303417,
    0.03129245713353157,
    -0.06311269104480743,
    0.10896406322717667,
    -0.16425721347332,
    0.21871963143348694,
    -0.2590680718421936,
    0.1369994580745697,
)
ERFCX_DOUBLE = (
    9.798123596862764e-12,
    -4.072247403768276e-11,
    -2.5775150528413535e-10,
    3.120232356202098e-10,
    2.3148030551082585e-09,
    -2.437541718204744e-09,
    -1.588558395437259e-08,
    2.537200971315554e-08,
    9.670039426908431e-08,
    -2.8406219115000543e-07,
    -4.0896106391167725e-07,
    2.9445226781035932e-06,
    -1.9031531464369728e-06,
    -2.2556029445986318e-05,
    7.898317428108381e-05,
    -2.176172170237088e-05,
    -0.0007991268132460619,
    0.00406026362386958,
    -0.012843946031364425,
    0.03129905651869551,
    -0.06310781563973603,
    0.10896317739890467,
    -0.16425781669730918,
    0.2187196789182649,
    -0.25906804876017164,
    0.13699945762506138,
)


@njit_inline
def at_most(x: Any, limit: float) -> Any:
    """The smaller of x and the limit; a NaN stays."""
    bound = constant(x, limit)
    return select(bound < x, bound, x)


@njit_inline
def at_least(x: Any, limit: float) -> Any:
    """The larger of x and the limit; a NaN stays."""
    bound = constant(x, limit)
    return select(x < bound, bound, x)


@njit_inline
def reduced_expm1(x: Any) -> Any:
    """n and expm1(r) of x = n ln 2 + r, n integral, abs(r) <= ln(2) / 2; abs(x) < 110 (float32) or 750 (float64)."""
    n = nearest(x * constant(x, LOG2_E))
    if is_single(x):
        r = fma(n, constant(x, -LN2_HIGH_SINGLE), x)
        r = fma(n, constant(x, -LN2_LOW_SINGLE), r)
        q = horner(r, EXPM1_SINGLE)
    else:
        r = fma(n, constant(x, -LN2_HIGH_DOUBLE), x)
        r = fma(n, constant(x, -LN2_LOW_DOUBLE), r)
        q = horner(r, EXPM1_DOUBLE)
    return n, fma(r * r, q, r)


@njit_inline
def exp(x: Any) -> Any:
    """e**x: 0 and infinity where it leaves the range of the dtype, true denormals near 0."""
    bounded = at_most(at_least(x, -105.0), 90.0) if is_single(x) else at_most(at_least(x, -747.0), 711.0)
    n, tail = reduced_expm1(bounded)
    return scale(constant(x, 1.0) + tail, n)


@njit_inline
def expm1(x: Any) -> Any:
    """e**x - 1 without cancellation near 0, for x <= 0 (any x up to 80 or so)."""
    n, tail = reduced_expm1(at_least(x, -60.0))
    one = constant(x, 1.0)
    power = scale(one, n)
    return fma(power, tail, power - one)


@njit_inline
def log1p(e: Any) -> Any:
    """log(1 + e) for 0 <= e <= 1."""
    s = e / (constant(e, 2.0) + e)
    square = s * s
    q = horner(square, LOG1P_SINGLE) if is_single(e) else horner(square, LOG1P_DOUBLE)
    return fma(s * square, q, s + s)


@njit_inline
def log(x: Any) -> Any:
    """log(x) for a normal x >= 1; infinity gives infinity."""
    n = exponent(x)
    mantissa = scale(x, -n)
    value = fma(n, constant(x, LN2), log1p(mantissa - constant(x, 1.0)))
    return select(x - x == x - x, value, x)


@njit_inline
def normal_cdf(x: Any) -> Any:
    """The standard normal distribution function erfc(-x / sqrt(2)) / 2, accurate in the lower tail as well."""
    one, half = constant(x, 1.0), constant(x, 0.5)
    a = at_most(absolute(x), 45.0)
    y = a * constant(x, 0.7071067811865476)
    t = (y - constant(x, 4.0)) / (y + constant(x, 4.0))
    scaled = horner(t, ERFCX_SINGLE) if is_single(x) else horner(t, ERFCX_DOUBLE)
    # exp(-a**2 / 2) with the rounding error of a**2 put back, which exp would otherwise magnify
    square = a * a
    error = fma(a, a, -square)
    tail = half * scaled * exp(-half * square)
    tail = fma(tail, -half * error, tail)
    return select(x < constant(x, 0.0), tail, one - tail)
