"""How kernels are compiled: IEEE 754 without exceptions, nothing contracted, and entries for an address alone."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from support.plain_kernels import plain

from numba_lstm.kernel_cache import loader
from numba_lstm.kernels import jit
from numba_lstm.kernels.simd import memory_at
from numba_lstm.kernels.target import FEATURES


@jit.njit_helper
def quotient_and_sum(a: Any, b: Any, c: Any) -> Any:
    return a / b, a * b + c


@numba.njit(error_model="numpy")
def called(a: Any, b: Any, c: Any) -> Any:
    return quotient_and_sum(a, b, c)


def test_division_follows_ieee_and_nothing_is_contracted() -> None:
    eps = np.finfo(np.float64).eps
    a, b = 1 + eps, 1 - eps
    assert called(a, b, -1.0)[1] == 0.0  # fused it would be -eps ** 2
    assert called(1.0, 0.0, 0.0)[0] == np.inf and np.isnan(called(0.0, 0.0, 0.0)[0])


@pytest.mark.parametrize(("decorator", "inlined"), [("njit_helper", False), ("njit_inline", True)])
def test_what_is_made_part_of_its_callers(decorator: str, inlined: bool) -> None:
    options = getattr(jit, decorator)(lambda x: x).targetoptions
    assert options["forceinline"] is inlined and options["error_model"] == "numpy"


def test_a_kernel_is_one_function_of_an_address() -> None:
    @jit.njit_kernel
    def kernel(address: int, dtypes: Any, number: Any, none: Any) -> None:
        if none is None and number is not None:
            memory = memory_at(address, dtypes[0])
            memory[0] = memory[1] + memory[2]

    numbers = np.float32([0, 2, 3])
    library = jit.compile_kernel(kernel, (np.float32(0),), (True, None))
    assert set(library.calls()) <= {*loader.OF_PYTHON} and library.features() == FEATURES
    loader.load(library.object_code())(numbers.ctypes.data)
    assert numbers[0] == 5
    numbers[0] = 0
    jit.callable_by_numba(kernel, (np.float32(0),), (True, None))(numbers.ctypes.data)
    assert numbers[0] == 5


@pytest.mark.parametrize(("a", "b"), [(1, 2), (2, 1), (-3, -3)])
def test_smaller_and_larger(a: int, b: int) -> None:
    assert (plain("jit").smaller(a, b), plain("jit").larger(a, b)) == (min(a, b), max(a, b))
