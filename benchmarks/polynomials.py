"""Print the polynomial coefficients of numba_lstm/kernels/activations.py and their approximation errors.

    python benchmarks/polynomials.py          (needs mpmath)

Each polynomial interpolates its function at Chebyshev points, computed with 60 digits, which is within a small
factor of the best possible; the leading coefficients are then rounded to the dtype they are used in.
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp
import numpy as np

mp.mp.dps = 60
Function = Callable[[mp.mpf], mp.mpf]


def interpolate(function: Function, low: float, high: float, degree: int) -> list[mp.mpf]:
    """Coefficients, highest power first, of the polynomial through ``degree + 1`` Chebyshev points."""
    half, middle = mp.mpf(high - low) / 2, mp.mpf(high + low) / 2
    points = [middle + half * mp.cos(mp.pi * (2 * i + 1) / (2 * (degree + 1))) for i in range(degree + 1)]
    rows = mp.matrix([[point ** (degree - power) for power in range(degree + 1)] for point in points])
    return list(mp.lu_solve(rows, mp.matrix([function(point) for point in points])))


def expm1_tail(r: mp.mpf) -> mp.mpf:
    """q of expm1(r) = r + r**2 * q(r)."""
    return (mp.expm1(r) - r) / r**2 if abs(r) > mp.mpf(10) ** -20 else mp.mpf(1) / 2 + r / 6


def log1p_tail(square: mp.mpf) -> mp.mpf:
    """q of log1p(e) = 2 s + s**3 * q(s**2), s = e / (2 + e)."""
    s = mp.sqrt(square)
    return (2 * mp.atanh(s) - 2 * s) / s**3 if s > mp.mpf(10) ** -15 else mp.mpf(2) / 3


def scaled_erfc(t: mp.mpf, shift: float = 4.0) -> mp.mpf:
    """exp(y**2) * erfc(y), y = shift * (1 + t) / (1 - t), which runs from 0 to infinity as t runs from -1 to 1."""
    y = shift * (1 + t) / (1 - t)
    return mp.exp(y * y) * mp.erfc(y)


TASKS: tuple[tuple[str, Function, float, float, int, int], ...] = (
    ("expm1", expm1_tail, -0.3467, 0.3467, 4, 10),
    ("log1p", log1p_tail, 0.0, 1 / 9, 4, 11),
    ("erfcx", scaled_erfc, -1.0, 0.8, 11, 25),
)


def main() -> None:
    """Fit, round, measure, print."""
    for name, function, low, high, single_degree, double_degree in TASKS:
        for dtype, degree in ((np.float32, single_degree), (np.float64, double_degree)):
            coefficients = [dtype(float(c)) for c in interpolate(function, low, high, degree)]
            worst = mp.mpf(0)
            for i in range(401):
                x = mp.mpf(low) + mp.mpf(high - low) * i / 400
                value = mp.polyval([mp.mpf(float(c)) for c in coefficients], x)
                worst = max(worst, abs(value / function(x) - 1))
            print(f"{name} {np.dtype(dtype).name}: largest relative error {mp.nstr(worst, 3)}")
            print("    (" + ", ".join(repr(float(c)) for c in coefficients) + ")")


if __name__ == "__main__":
    main()
