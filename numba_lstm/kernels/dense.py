"""The kernels of layers without a state: dense, activations of whole arrays, and rows with mean and variance."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_lstm.kernels.apply import apply
from numba_lstm.kernels.copies import copy
from numba_lstm.kernels.jit import kernel, smaller
from numba_lstm.kernels.normalizations import normalize
from numba_lstm.kernels.ops import constant, sqrt
from numba_lstm.kernels.simd import lanes, memory_at
from numba_lstm.kernels.tile import Operand, Panel, Sums, project


@kernel
def dense(
    like: Any,
    kernel: int,
    bias: int,
    first_row: int,
    last_row: int,
    group: int,
    input_dim: int,
    units: int,
    block_length: int,
    inputs: int,
    partial: int,
    z: int,
    outputs: int,
) -> None:
    """inputs @ kernel + bias for rows [first_row, last_row), ``group`` at a time, with the sums of the LSTM kernels.

    Addresses: kernel, bias packed by pack.pack_units; inputs (rows, input_dim); partial and z scratch (group, four
    vectors) and (group, units rounded up to four vectors); outputs (rows, units), written.
    """
    weights, biases, x = memory_at(kernel, like), memory_at(bias, like), memory_at(inputs, like)
    partials, sums, results = memory_at(partial, like), memory_at(z, like), memory_at(outputs, like)
    wide = 4 * lanes(x)
    z_row = (units + wide - 1) // wide * wide
    for first in range(first_row, last_row, group):
        rows = smaller(group, last_row - first)
        operand = Operand(x, first * input_dim, input_dim, 0)
        for unit in range(0, units, wide):
            panel = Panel(weights, unit * input_dim, input_dim, block_length, None)
            project(
                None,
                operand,
                rows,
                panel,
                Sums(partials, 0, wide, None),
                Sums(biases, unit, 0, None),
                Sums(sums, unit, z_row, None),
            )
        for row in range(rows):
            copy(sums, row * z_row, results, (first + row) * units, units)


@kernel
def activate(like: Any, function: Any, code: int, first: int, last: int, inputs: int, outputs: int) -> None:
    """outputs = activation(inputs) for the numbers [first, last), element by element.

    Addresses: inputs; outputs, written in whole vectors; they may be the same.
    """
    results = memory_at(outputs, like)
    copy(memory_at(inputs, like), first, results, first, last - first)
    apply(code, function, results, first, lanes(results), last - first)


@kernel
def normalize_rows(
    like: Any, rare: Any, code: int, first_row: int, last_row: int, units: int, z: int, inputs: int, outputs: int
) -> None:
    """outputs = softmax, log_softmax or sparsemax of the rows [first_row, last_row) of ``units`` numbers.

    rare: see normalizations.normalize. Addresses: z scratch of one row in whole vectors; inputs; outputs, written; they
    may be the same.
    """
    scratch, x, results = memory_at(z, like), memory_at(inputs, like), memory_at(outputs, like)
    # Not a literal: numba would compile copy once more for that.
    start: Any = np.intp(0)
    for row in range(first_row, last_row):
        copy(x, row * units, scratch, start, units)
        normalize(code, rare, scratch, start, lanes(scratch), units)
        copy(scratch, start, results, row * units, units)


@kernel
def standardize_rows(
    like: Any, epsilon: Any, first_row: int, last_row: int, units: int, gamma: int, beta: int, inputs: int, outputs: int
) -> None:
    """outputs = (x - mean) / sqrt(variance + epsilon) * gamma + beta for the rows [first_row, last_row).

    Both sums run over the row's numbers in their order, and everything is float64, as epsilon is; the result is rounded
    to the dtype of like. Addresses: gamma, beta (units,) float64; inputs and outputs (rows, units), written.
    """
    scales, shifts = memory_at(gamma, epsilon), memory_at(beta, epsilon)
    x, results = memory_at(inputs, like), memory_at(outputs, like)
    zero, one = constant(epsilon, 0.0), constant(epsilon, 1.0)
    count = zero + units
    for row in range(first_row, last_row):
        start = row * units
        total = zero
        for unit in range(units):
            total += x[start + unit]
        mean = total / count
        total = zero
        for unit in range(units):
            distance = x[start + unit] - mean
            total += distance * distance
        factor = one / sqrt(total / count + epsilon)
        for unit in range(units):
            results[start + unit] = (x[start + unit] - mean) * factor * scales[unit] + shifts[unit]
