"""Activations chosen by number: what is missing is told, and what is no activation is refused."""

from __future__ import annotations

import naive
import numba
import numpy as np
import pytest
from support.plain_kernels import memory, plain

from numba_lstm import driver
from numba_lstm.kernels import activations, apply


def test_what_is_missing_of_an_activation_is_told() -> None:
    def cube() -> None:
        """Of a name; it is not called."""

    lines, names = (*activations.COMMON, *activations.RARE), list(apply.CODES)
    elementwise = [function.__name__ for function in lines]
    assert list(apply.numbered(lines, elementwise, names).values()) == [*range(len(lines)), *apply.ROWS.values()]
    assert apply.numbered((*lines, cube), [*elementwise, "cube"], [*names, "cube"])["cube"] == len(lines)
    for arguments, message in (
        ((lines, [*elementwise, "cube"], [*names, "cube"]), "without a line in activations.COMMON or RARE: cube"),
        ((lines, elementwise, [*names, "cube"]), r"refers to what activations.py has no function for: \['cube'\]"),
        (((*lines, cube), [*elementwise, "cube"], names), "dialects.ACTIVATIONS gives no name: cube"),
        (((*lines, lines[3]), elementwise, names), "lines for"),
    ):
        with pytest.raises(RuntimeError, match=message):
            apply.numbered(*arguments)
    for constants, message in ((vars(apply), "cube: expected CUBE = 25 in"), ({**vars(apply), "CUBE": 25}, "a line")):
        with pytest.raises(RuntimeError, match=message):
            apply.check({**apply.CODES, "cube": 25}, constants, (apply.common, apply.elementwise))


def test_a_function_of_ones_own() -> None:
    @numba.njit
    def cubic(x):  # type: ignore[no-untyped-def]
        return x * x * x if x > 0 else x

    x = np.linspace(-2, 2, 37).astype(np.float32)
    assert np.array_equal(driver.activate(cubic, "tf1", x), np.where(x > 0, x * x * x, x))


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
        if code <= module.LAST_COMMON:
            again = np.pad(row, (0, 2))
            module.apply(code, module.COMMON, memory(again), 0, 4, 10)
            np.testing.assert_array_equal(again[:10], z[:, 0].ravel()[:10])
