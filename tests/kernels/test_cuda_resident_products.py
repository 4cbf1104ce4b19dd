"""The inner product with resident weights, compiled for the CPU: the bits of cuda_products, wherever weights are."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from numba_lstm.kernels.arguments import Masks
from numba_lstm.kernels.cuda_layout import Layout, SharedOperand
from numba_lstm.kernels.cuda_products import Rows, UnitWeights
from numba_lstm.kernels.cuda_products import multiply as general_multiply
from numba_lstm.kernels.cuda_resident_products import (
    UNROLL,
    Product,
    RegisterSums,
    Weights,
    load,
    load_registers,
    multiply,
    multiply_registers,
    unrolled,
)

ROWS, UNITS, BLOCK_LENGTH, DEPTH = 2, 3, 16, 37


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_unrolled_calls(count: int) -> None:
    @numba.njit
    def call(first: int, calls: Any) -> None:
        calls[first] += 1

    function, calls = unrolled(call, count, 3), np.zeros(20, np.int64)

    @numba.njit
    def start(calls: Any) -> None:
        function(1, calls)

    start(calls)
    assert np.flatnonzero(calls).tolist() == [1 + 3 * n for n in range(count)] and calls.max(initial=0) <= 1


def test_the_place_of_a_weight_does_not_change_a_bit() -> None:
    in_registers = 21
    random = np.random.default_rng(4)
    x = random.standard_normal((ROWS, DEPTH), np.float32)
    matrix = random.standard_normal((DEPTH, 4 * UNITS), np.float32)
    load_unrolled = unrolled(load_registers, in_registers // UNROLL, UNROLL)
    multiply_unrolled = unrolled(multiply_registers, in_registers // UNROLL, UNROLL)

    @numba.njit
    def resident(sums: Any, weights: Any, layout: Any) -> None:
        for thread in range(UNITS):  # all of them load; the registers are those of the last one
            load(load_unrolled, weights, layout.x, UNITS, thread, UNITS)
        multiply(multiply_unrolled, Product(sums, np.float32(0), np.uint32(0), weights, layout, layout.x, UNITS - 1))

    @numba.njit
    def general(sums: Any, x: Any, masks: Any, weights: Any) -> None:
        general_multiply(sums.total, sums.block, np.float32(0), None, x, masks, 0, weights)

    expected = RegisterSums(*np.full((2, 4 * ROWS), np.nan, np.float32))
    masks, unit = Masks(np.zeros(1, np.float32), 0, ROWS), UNITS - 1
    general(
        expected,
        Rows(x.reshape(-1), 0, DEPTH, ROWS),
        masks,
        UnitWeights(matrix.reshape(-1), unit, 4 * UNITS, UNITS, DEPTH, BLOCK_LENGTH),
    )
    np.testing.assert_allclose(expected.total.reshape(ROWS, 4), x @ matrix[:, unit::UNITS], rtol=1e-5, atol=1e-5)
    for in_shared in (0, 8, DEPTH - in_registers):
        operand = SharedOperand.of(DEPTH, 0)._replace(in_registers=in_registers, in_shared=in_shared)
        start = ROWS * operand.width
        shared = np.full(start + 4 * UNITS * DEPTH, np.nan, np.float32)
        for row in range(ROWS):
            shared[row * operand.width :][:DEPTH] = x[row]
        registers = np.full(4 * max(1, in_registers), np.nan, np.float32)
        sums = RegisterSums(*np.full((2, 4 * ROWS), np.nan, np.float32))
        layout = Layout.of(UNITS, BLOCK_LENGTH, ROWS, 1, operand, operand)
        resident(sums, Weights(registers, shared, start, matrix.reshape(-1)), layout)
        assert sums.total.tobytes() == expected.total.tobytes()
