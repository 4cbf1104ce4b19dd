"""Activations chosen by number: what is missing is told, and what is no activation is refused."""

from __future__ import annotations

import naive
import numba
import numpy as np
import pytest
from support.plain_kernels import memory, plain

from numba_lstm.backends.cpu import stateless
from numba_lstm.kernels import apply, codes


def test_a_function_without_a_line_and_a_line_without_a_function_are_told() -> None:
    lines = [*codes.COMMON_NAMES, *codes.RARE_NAMES]
    apply.check(lines, lines)
    with pytest.raises(RuntimeError, match="has no function for: cube"):
        apply.check(lines, [*lines, "cube"])
    with pytest.raises(RuntimeError, match=r"without a line in codes\.py: cube"):
        apply.check([*lines, "cube"], lines)


def test_a_function_of_ones_own() -> None:
    @numba.njit
    def cubic(x):  # type: ignore[no-untyped-def]
        return x * x * x if x > 0 else x

    x = np.linspace(-2, 2, 37).astype(np.float32)
    assert np.array_equal(stateless.activate(cubic, "tf1", x), np.where(x > 0, x * x * x, x))


def test_each_number_is_its_function() -> None:
    """Of the whole table, in vectors that are apart: a line that calls another function is noticed."""
    module = plain("apply")
    for name, code in module.CODES.items():
        z = np.linspace(-3, 3, 24).reshape(3, 2, 4)
        row, between = z[:, 0].ravel()[:10].copy(), z[:, 1].copy()
        module.apply(code, True, memory(z), 0, 8, 10)
        truth = naive.ACTIVATIONS[name](row[np.newaxis])[0]
        np.testing.assert_allclose(z[:, 0].ravel()[:10], truth, rtol=1e-12, atol=1e-13, err_msg=name)
        np.testing.assert_array_equal(z[:, 1], between)
        if code <= codes.LAST_COMMON:
            again = np.pad(row, (0, 2))
            module.apply(code, codes.COMMON, memory(again), 0, 4, 10)
            np.testing.assert_array_equal(again[:10], z[:, 0].ravel()[:10])
