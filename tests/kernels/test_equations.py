"""The equations of the LSTM, as functions of plain numbers: which gate is where, and what is rounded once."""

from __future__ import annotations

from fractions import Fraction

import naive
import numpy as np
import pytest
from support.plain_kernels import plain


def test_each_gate_has_its_place() -> None:
    """With activations that tell the gates apart: any two that change places are noticed."""
    rng = np.random.default_rng(1)
    for z_i, z_f, z_c, z_o, c in rng.uniform(0.5, 2, (20, 5)):
        new_c, h = plain("equations").update(z_i, z_f, z_c, z_o, c, lambda x: 3 * x, lambda x: x + 10)
        truth = (z_f + 10) * c + (z_i + 10) * 3 * z_c
        assert new_c == pytest.approx(truth, rel=1e-14) and h == pytest.approx((z_o + 10) * 3 * truth, rel=1e-14)
        half, o = plain("equations").carry_and_gate(z_i, z_f, z_c, z_o, c, lambda x: 3 * x, lambda x: x + 10)
        assert (half, o) == (new_c, z_o + 10) and plain("equations").output(o, 3 * new_c) == h


def test_as_the_oracle() -> None:
    rng = np.random.default_rng(2)
    x, h, c = rng.standard_normal((1, 3)), rng.standard_normal((1, 2)), rng.standard_normal((1, 2))
    kernel, recurrent_kernel, bias = rng.standard_normal((3, 8)), rng.standard_normal((2, 8)), rng.standard_normal(8)
    expected_h, expected_c = naive.cell(x, h, c, [kernel, recurrent_kernel, bias], "tanh", "sigmoid")
    z = np.split((x @ kernel + bias + h @ recurrent_kernel)[0], 4)
    names = plain("activations")
    for unit in range(2):
        found = plain("equations").update(*(gate[unit] for gate in z), c[0, unit], names.tanh, names.sigmoid)
        np.testing.assert_allclose(found, (expected_c[0, unit], expected_h[0, unit]), rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_second_product_is_rounded_and_the_first_is_not(dtype: type) -> None:
    rng = np.random.default_rng(3)
    differs = 0
    for i, f, candidate, c in rng.standard_normal((50, 4)).astype(dtype):
        exact = Fraction(float(f)) * Fraction(float(c)) + Fraction(float(i * candidate))
        found = plain("equations").carry(i, f, candidate, c)
        near = [np.nextafter(found, dtype(s)) for s in (-np.inf, np.inf)]
        error = abs(Fraction(float(found)) - exact)
        assert all(error <= abs(Fraction(float(other)) - exact) for other in near)
        differs += found != f * c + i * candidate
    assert differs > 5  # where rounding the first product, too, gives another number
