"""The kernels of layers without a state: dense, activations of whole arrays, and rows with mean and variance."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_lstm.kernels.apply import apply
from numba_lstm.kernels.arguments import ActivationCall, DenseCall, StandardizeCall
from numba_lstm.kernels.copies import copy
from numba_lstm.kernels.jit import njit_kernel, smaller
from numba_lstm.kernels.normalizations import normalize
from numba_lstm.kernels.ops import constant, sqrt
from numba_lstm.kernels.simd import lanes, opened
from numba_lstm.kernels.tile import Destination, Operand, Panel, Sums, project


@njit_kernel
def dense(address: int, dtypes: Any) -> None:
    """inputs @ kernel + bias as the record of the `DenseCall` at ``address`` says, with the sums of the LSTM kernels.

    dtypes: see arguments.py.
    """
    call = opened(address, dtypes, DenseCall)
    wide = 4 * lanes(call.inputs)
    z_row = (call.units + wide - 1) // wide * wide
    partial = Sums(call.partial, 0, wide, None)
    for first in range(call.first_row, call.last_row, call.group):
        rows = smaller(call.group, call.last_row - first)
        operand = Operand(call.inputs, first * call.input_dim, call.input_dim, 0)
        for unit in range(0, call.units, wide):
            panel = Panel(call.kernel, unit * call.input_dim, call.input_dim, call.block_length, None)
            to = Destination(partial, Sums(call.bias, unit, 0, None), Sums(call.z, unit, z_row, None))
            project(None, operand, rows, panel, to)
        for row in range(rows):
            copy(call.z, row * z_row, call.outputs, (first + row) * call.units, call.units)


@njit_kernel
def activate(address: int, dtypes: Any, function: Any) -> None:
    """outputs = activation(inputs) element by element, as the record of the `ActivationCall` at ``address`` says.

    function: of apply.apply.
    """
    call = opened(address, dtypes, ActivationCall)
    size = call.last - call.first
    copy(call.inputs, call.first, call.outputs, call.first, size)
    apply(call.code, function, call.outputs, call.first, lanes(call.outputs), size)


@njit_kernel
def normalize_rows(address: int, dtypes: Any, rare: Any) -> None:
    """outputs = softmax, log_softmax or sparsemax of rows, as the record of the `ActivationCall` at ``address`` says.

    rare: see normalizations.normalize.
    """
    call = opened(address, dtypes, ActivationCall)
    units = call.units
    # Not a literal: numba would compile copy once more for that.
    start: Any = np.intp(0)
    for row in range(call.first, call.last):
        copy(call.inputs, row * units, call.z, start, units)
        normalize(call.code, rare, call.z, start, lanes(call.z), units)
        copy(call.z, start, call.outputs, row * units, units)


@njit_kernel
def standardize_rows(address: int, dtypes: Any) -> None:
    """outputs = (x - mean) / sqrt(variance + epsilon) * gamma + beta for rows, as a `StandardizeCall` says.

    Both sums run over the row's numbers in their order, and everything is float64, as epsilon is; the result is rounded
    to the cell's dtype.
    """
    call = opened(address, dtypes, StandardizeCall)
    x, units, epsilon = call.inputs, call.units, call.epsilon[0]
    zero, one = constant(epsilon, 0.0), constant(epsilon, 1.0)
    count = zero + units
    for row in range(call.first_row, call.last_row):
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
            call.outputs[start + unit] = (x[start + unit] - mean) * factor * call.gamma[unit] + call.beta[unit]
