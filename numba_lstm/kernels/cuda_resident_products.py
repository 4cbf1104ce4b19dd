"""The inner product of a CUDA thread with resident weights: its rows times the four columns of its unit.

The order of a sum is that of cuda_products.py, and so are the bits. The place of a weight depends on its k alone: the
first ones are in registers, the next ones in shared memory, the others in global memory. Registers can only be indexed
by constants, so loops over them are unrolled by `unrolled`.

A layout is a constant when a kernel is compiled, but functions take it as an argument: they are compiled once, and
CUDA's compiler inlines them into each kernel.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from numba_lstm.kernels.cuda_layout import LOAD_WIDTH, Layout, SharedOperand
from numba_lstm.kernels.cuda_target import unsigned
from numba_lstm.kernels.jit import njit_inline
from numba_lstm.kernels.ops import fma

# The number of k whose products one call adds; blocks of a sum are multiples of it. CUDA's compiler does not unroll
# longer loops that contain others.
UNROLL = 8

Function = Any  # a function that kernels call


class Weights(NamedTuple):
    """A matrix (depth, 4 * units) of weights in its three places."""

    registers: Any  # [k][gate] of the thread's unit
    shared: Any  # [k][unit][gate] from ``start`` on; x and h are in this memory too
    start: int
    memory: Any  # all of it, in Keras's layout


class RegisterSums(NamedTuple):
    """Sums in registers, [row][gate]."""

    total: Any
    block: Any


class Product(NamedTuple):
    """A group's rows times a unit's weights, which a thread adds to its sums."""

    sums: RegisterSums
    zero: Any
    start: Any  # of the rows in shared memory
    weights: Weights
    layout: Layout
    operand: SharedOperand
    unit: int


@njit_inline
def no_op(first: int, *arguments: Any) -> None:
    """Zero calls, of `unrolled`."""


@cache
def unrolled(function: Function, count: int, step: int = 1) -> Function:
    """The function (first, ...) that calls function(first, ...), function(first + step, ...), ... ``count`` times.

    It has no loop: where ``first`` is a constant, the others are constants too.
    """
    if count < 2:
        return function if count else no_op
    offset = count // 2 * step
    before, after = unrolled(function, count // 2, step), unrolled(function, count - count // 2, step)

    @njit_inline
    def both(first: int, *arguments: Any) -> None:
        before(first, *arguments)
        after(first + offset, *arguments)

    return both


@njit_inline
def load_registers(first: int, count: int, weights: Weights, units: int, unit: int) -> None:
    """Load the thread's weights of k in [first, first + count) into registers."""
    for n in range(4 * count):
        weights.registers[4 * first + n] = weights.memory[(4 * first + n) * units + unit]


@njit_inline
def load(
    load_unrolled: Function, weights: Weights, operand: SharedOperand, units: int, thread: int, threads: int
) -> None:
    """Load the weights into registers and shared memory, by all threads of a block.

    load_unrolled: `load_registers` for every UNROLL k in registers.
    """
    rest, unit = operand.in_registers % UNROLL, thread % units
    load_unrolled(0, UNROLL, weights, units, unit)
    load_registers(operand.in_registers - rest, rest, weights, units, unit)
    for at in range(thread, 4 * units * operand.in_shared, threads):
        k, gate, column = at // (4 * units), at // units % 4, at % units
        to = weights.start + (k * units + column) * 4 + gate
        weights.shared[to] = weights.memory[4 * units * operand.in_registers + at]


@njit_inline
def begin_block(product: Product) -> None:
    """Start a block of k from zero."""
    for n in range(4 * product.layout.rows):
        product.sums.block[n] = product.zero


@njit_inline
def end_block(product: Product, is_first: bool) -> None:
    """Add the block to those before it."""
    sums = product.sums
    for n in range(4 * product.layout.rows):
        sums.total[n] = sums.block[n] if is_first else sums.total[n] + sums.block[n]


@njit_inline
def add_products(product: Product, at: Any, i: Any, f: Any, c: Any, o: Any) -> None:
    """The block of sums += a number of each row, that of the first row at ``at``, * the weights of the gates."""
    block, shared, operand, rows = product.sums.block, product.weights.shared, product.operand, product.layout.rows
    gate_stride = operand.copies // 4 * rows * operand.width
    for row in range(rows):
        x_at = at + row * operand.width
        block[4 * row] = fma(shared[x_at], i, block[4 * row])
        block[4 * row + 1] = fma(shared[x_at + gate_stride], f, block[4 * row + 1])
        block[4 * row + 2] = fma(shared[x_at + 2 * gate_stride], c, block[4 * row + 2])
        block[4 * row + 3] = fma(shared[x_at + 3 * gate_stride], o, block[4 * row + 3])


@njit_inline
def multiply_registers(first: int, count: int, product: Product) -> None:
    """Add the products of k in [first, first + count), with weights from registers."""
    registers, length = product.weights.registers, product.layout.block_length
    if first % length == 0:
        begin_block(product)
    for k in range(count):
        n = 4 * (first + k)
        add_products(
            product, product.start + (first + k), registers[n], registers[n + 1], registers[n + 2], registers[n + 3]
        )
    if (first + count) % length == 0 or first + count == product.operand.depth:
        end_block(product, first < length)


@njit_inline
def multiply_shared(k: int, product: Product) -> None:
    """Add the products of one k, with weights from shared memory."""
    weights, units = product.weights, product.layout.units
    n = unsigned(weights.start + ((k - product.operand.in_registers) * units + product.unit) * 4)
    i, f, c, o = weights.shared[n], weights.shared[n + 1], weights.shared[n + 2], weights.shared[n + 3]
    add_products(product, product.start + unsigned(k), i, f, c, o)


@njit_inline
def multiply_global(k: int, product: Product) -> None:
    """Add the products of one k, with weights from global memory."""
    memory, units = product.weights.memory, product.layout.units
    n = 4 * k * units + product.unit
    i, f, c, o = memory[n], memory[n + units], memory[n + 2 * units], memory[n + 3 * units]
    add_products(product, product.start + unsigned(k), i, f, c, o)


@njit_inline
def multiply_range(multiply_one: Function, first: int, last: int, product: Product) -> None:
    """Add the products of k in [first, last), each by ``multiply_one``; the first block may have begun before."""
    length = product.layout.block_length
    for start in range(first // length * length, last, length):
        begin, stop = max(start, first), min(start + length, last)
        if begin == start:
            begin_block(product)
        whole = begin + (stop - begin) // LOAD_WIDTH * LOAD_WIDTH
        for k in range(begin, whole, LOAD_WIDTH):
            for n in range(LOAD_WIDTH):
                multiply_one(k + n, product)
        for k in range(whole, stop):
            multiply_one(k, product)
        if stop == min(start + length, product.operand.depth):
            end_block(product, start == 0)


@njit_inline
def multiply(multiply_unrolled: Function, product: Product) -> None:
    """sums.total[row, gate] = a row's numbers @ the gate's weights.

    multiply_unrolled: `multiply_registers` for every UNROLL k in registers.
    """
    operand = product.operand
    in_registers = operand.in_registers
    middle, rest = in_registers + operand.in_shared, in_registers % UNROLL
    multiply_unrolled(0, UNROLL, product)
    if rest > 0:
        multiply_registers(in_registers - rest, rest, product)
    if in_registers < middle:
        multiply_range(multiply_shared, in_registers, middle, product)
    if middle < operand.depth:
        multiply_range(multiply_global, middle, operand.depth, product)
