"""Activations over a whole row of units: softmax, log_softmax, sparsemax. Sums run in unit order.

Each works in place on ``units`` numbers of the flat array z that lie in vectors ``stride`` elements apart, the first
vector at ``start`` (stride = lanes for a plain row; four times that for one gate of a cell).
"""

from __future__ import annotations

from typing import Any

from numba_lstm.kernels.codes import LOG_SOFTMAX, SOFTMAX
from numba_lstm.kernels.elementary import exp, log
from numba_lstm.kernels.jit import njit_helper, njit_inline
from numba_lstm.kernels.ops import constant
from numba_lstm.kernels.simd import lanes, load, store


@njit_helper
def place(z: Any, start: int, stride: int, unit: int) -> Any:
    """Where in z the unit is."""
    n = lanes(z)
    return start + unit // n * stride + unit % n


@njit_helper
def largest(z: Any, start: int, stride: int, units: int) -> Any:
    """The largest number of the row; a NaN wins."""
    best = z[start]
    for unit in range(1, units):
        value = z[place(z, start, stride, unit)]
        if value > best or value != value:
            best = value
    return best


@njit_helper
def exponentials(z: Any, start: int, stride: int, units: int) -> Any:
    """z = exp(z) and their sum."""
    n = lanes(z)
    for first in range(0, units, n):
        at = start + first // n * stride
        store(z, at, exp(load(z, at)))
    total = z[start]
    for unit in range(1, units):
        total += z[place(z, start, stride, unit)]
    return total


@njit_helper
def softmax(z: Any, start: int, stride: int, units: int) -> None:
    """exp(z - max) / sum of exp(z - max)"""
    top = largest(z, start, stride, units)
    for unit in range(units):
        z[place(z, start, stride, unit)] -= top
    total = exponentials(z, start, stride, units)
    for unit in range(units):
        z[place(z, start, stride, unit)] /= total


@njit_helper
def log_softmax(z: Any, start: int, stride: int, units: int) -> None:
    """(z - max) - log(sum of exp(z - max))"""
    top = largest(z, start, stride, units)
    total = constant(top, 0.0)
    for unit in range(units):
        at = place(z, start, stride, unit)
        z[at] -= top
        total = total + exp(z[at])
    logarithm = log(total)
    for unit in range(units):
        z[place(z, start, stride, unit)] -= logarithm


@njit_helper
def next_in_order(z: Any, start: int, stride: int, units: int, last: int) -> int:
    """The unit that follows ``last`` in descending order of z, equal ones by number; the first one after -1."""
    best = -1
    for unit in range(units):
        value = z[place(z, start, stride, unit)]
        if last >= 0:
            limit = z[place(z, start, stride, last)]
            if value > limit or (value == limit and unit <= last):
                continue
        if best < 0 or value > z[place(z, start, stride, best)]:
            best = unit
    return best


@njit_helper
def sparsemax(z: Any, start: int, stride: int, units: int) -> None:
    """max(z - tau, 0) with the tau of Keras 3.15, which sums the partial sums over the support.

    The published function (Martins and Astudillo, From Softmax to Sparsemax, ICML 2016) takes the last partial sum
    instead; rows of Keras's need not sum to 1. A row with a NaN is all NaN.
    """
    top = largest(z, start, stride, units)
    zero, one = constant(top, 0.0), constant(top, 1.0)
    partial = total = support = rank = zero
    unit = -1
    for _ in range(units):
        unit = next_in_order(z, start, stride, units, unit)
        if unit < 0:
            break
        value = z[place(z, start, stride, unit)]
        partial += value
        rank += one
        if one + rank * value > partial:
            support += one
            total += partial
    tau = (total - one) / support if top == top else top
    for unit in range(units):
        at = place(z, start, stride, unit)
        value = z[at] - tau
        z[at] = zero if value < zero else value


@njit_inline
def normalize(code: int, rare: Any, z: Any, start: int, stride: int, units: int) -> None:
    """The normalization of that number; rare: None if it is softmax, and then the others are not compiled in."""
    if rare is None or code == SOFTMAX:
        softmax(z, start, stride, units)
    elif code == LOG_SOFTMAX:
        log_softmax(z, start, stride, units)
    else:
        sparsemax(z, start, stride, units)
