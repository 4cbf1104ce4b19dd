"""Calls of the CPU kernels of layers without a state: dense layers, activations, normalized rows.

Like `run`, this trusts its arguments.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

import numpy as np

from numba_lstm.backends.cpu import policy, threads
from numba_lstm.backends.cpu.operands import KernelCall
from numba_lstm.backends.cpu.packing import BLOCK_LENGTH, Activation, PackedDense, activation_code
from numba_lstm.backends.cpu.policy import GROUP
from numba_lstm.backends.cpu.sharing import row_ranges
from numba_lstm.kernels.arguments import ActivationCall, DenseCall, StandardizeCall
from numba_lstm.kernels.codes import CUSTOM, LINEAR, SOFTMAX
from numba_lstm.kernels.compile import entry
from numba_lstm.kernels.pack import Array, address, aligned_zeros, padded
from numba_lstm.semantics.dialects import Dialect


def dense(layer: PackedDense, inputs: Array) -> Array:
    """inputs (rows, input_dim) -> activation(inputs @ kernel + bias), (rows, units)."""
    rows, units, dtype = inputs.shape[0], layer.units, layer.dtype
    outputs = aligned_zeros(padded(rows * units, dtype), dtype)
    if rows:
        x = np.ascontiguousarray(inputs, dtype)

        def part(first: int, last: int) -> None:
            dense_call(layer, x, outputs, first, last).run()

        threads.run(part, row_ranges(rows, rows * layer.input_dim * units, written=outputs.size))
        if layer.activation != LINEAR:
            _activate(layer.activation, layer.function, outputs, outputs, rows * units, units)
    return outputs[: rows * units].reshape(rows, units)


def dense_call(layer: PackedDense, inputs: Array, outputs: Array, first: int, last: int) -> KernelCall:
    """outputs = inputs @ kernel + bias for the rows [first, last); both are C-contiguous and of the layer's dtype."""
    dtype, lanes, group = layer.dtype, padded(1, layer.dtype), min(GROUP, last - first)
    kernel, bias = layer.kernel, layer.bias
    assert kernel is not None and bias is not None
    scratch = aligned_zeros(group * (4 * lanes + bias.size), dtype)
    partial = address(scratch)
    z = partial + group * 4 * lanes * dtype.itemsize
    shape = group, layer.input_dim, layer.units, BLOCK_LENGTH
    weights = address(kernel), address(bias)
    call = DenseCall(first, last, *shape, *weights, address(inputs), partial, z, address(outputs))
    arrays = kernel, bias, inputs, outputs, scratch
    return KernelCall(_entry("dense.dense", dtype), array("q", call), arrays)


def activate(activation: Activation, dialect: Dialect, inputs: Array) -> Array:
    """activation(inputs), an array of the same shape and dtype; softmax and its like work over the last axis."""
    code, function = activation_code(activation, dialect)
    if not inputs.size or code == LINEAR:
        return inputs.copy()
    x = np.ascontiguousarray(inputs)
    outputs = aligned_zeros(padded(x.size, x.dtype), x.dtype)
    _activate(code, function, x, outputs, x.size, inputs.shape[-1] if inputs.ndim else 1)
    return outputs[: x.size].reshape(inputs.shape)


def _activate(code: int, function: Any, inputs: Array, outputs: Array, size: int, units: int) -> None:
    """outputs = activation(inputs) for ``size`` numbers, which may be the same memory; whole vectors are written.

    units: of a row, for softmax and its like.
    """

    def part(first: int, last: int) -> None:
        activation_call(code, function, inputs, outputs, (first, last), size, units).run()

    work = size * policy.ACTIVATION_WORK
    slowness = policy.CUSTOM_WORK // policy.ACTIVATION_WORK if code == CUSTOM else 1
    number = size // units if normalizes(code) else -(-size // padded(1, inputs.dtype))
    threads.run(part, row_ranges(number, work, slowness=slowness, written=size))


def normalizes(code: int) -> bool:
    """Whether the activation needs all units of a row at once, as softmax does."""
    return SOFTMAX <= code < CUSTOM


def activation_call(
    code: int, function: Any, inputs: Array, outputs: Array, part: tuple[int, int], size: int, units: int
) -> KernelCall:
    """`_activate` for the rows [first, last), if the activation normalizes rows, otherwise for these whole vectors."""
    dtype, (first, last) = inputs.dtype, part
    places = address(inputs), address(outputs)
    if normalizes(code):
        z = aligned_zeros(padded(units, dtype), dtype)
        call = ActivationCall(code, first, last, units, address(z), *places)
        kernel = _entry("dense.normalize_rows", dtype, None if code == SOFTMAX else True)
        return KernelCall(kernel, array("q", call), (inputs, outputs, z))
    lanes = padded(1, dtype)
    call = ActivationCall(code, first * lanes, min(last * lanes, size), 0, 0, *places)
    return KernelCall(_entry("dense.activate", dtype, function), array("q", call), (inputs, outputs))


def normalize_rows(inputs: Array, gamma: Array | None, beta: Array | None, epsilon: float) -> Array:
    """Each row of inputs (rows, units) with its mean and variance taken out; gamma, beta: float64 (units,) or None."""
    rows, units = inputs.shape
    x = np.ascontiguousarray(inputs)
    outputs = np.empty_like(x)
    scales = np.ones(units) if gamma is None else gamma
    shifts, exact = np.zeros(units) if beta is None else beta, np.array([epsilon], np.float64)
    kernel = _entry("dense.standardize_rows", x.dtype)

    def part(first: int, last: int) -> None:
        arrays = exact, scales, shifts, x, outputs
        call = StandardizeCall(first, last, units, *map(address, arrays))
        KernelCall(kernel, array("q", call), arrays).run()

    threads.run(part, row_ranges(rows, 4 * x.size, slowness=policy.NORMALIZATION_SLOWNESS, written=x.size))
    return outputs


def _entry(kernel: str, dtype: np.dtype[Any], *variant: Any) -> Callable[[int], None]:
    """A kernel of layers without a state."""
    return entry(kernel, (dtype.type(0),) * 3, variant)
