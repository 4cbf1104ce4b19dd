"""The inner product of a CUDA thread whose weights stay with it: its rows times the four columns of its unit.

The order of a sum is that of cuda_sums.py, and so are the bits. Where a weight is read from depends on its k alone: the
first ones are in registers, the next ones in shared memory, the others in the GPU's main memory. What is in registers
must be reached by constant numbers, so loops over it are written out, by `for_each`.

All that is known of a layout is a constant where a kernel is compiled, though functions here take it as an argument: so
they are compiled once, and CUDA's compiler makes them part of each kernel.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from numba_lstm.kernels.cuda_layout import TOGETHER, Layout, SharedOperand
from numba_lstm.kernels.cuda_target import unsigned
from numba_lstm.kernels.jit import njit_inline
from numba_lstm.kernels.ops import fma

# k whose products one call adds: all blocks of a sum are multiples of it. Longer loops, with others in them, are not
# written out by CUDA's compiler.
PIECE = 8

Part = Any  # a function for kernels to call


class Held(NamedTuple):
    """A matrix (depth, 4 * units) of weights, in its three places."""

    registers: Any  # [k][gate] of the thread's unit
    shared: Any  # [k][unit][gate] from ``start`` on; x and h are in this memory too
    start: int
    memory: Any  # all of it, as Keras has it


class RegisterSums(NamedTuple):
    """Registers, [row][gate]."""

    total: Any
    block: Any


class Product(NamedTuple):
    """A group's rows times a unit's weights, which a thread adds to its sums."""

    sums: RegisterSums
    zero: Any
    at: Any  # where the rows are in shared memory
    held: Held
    layout: Layout
    operand: SharedOperand
    unit: int


@njit_inline
def nothing(first: int, *arguments: Any) -> None:
    """No call at all, of ``for_each``."""


@cache
def for_each(part: Part, count: int, step: int = 1) -> Part:
    """The function (first, ...) that calls part(first, ...), part(first + step, ...) and so on, ``count`` in all.

    It has no loop: where ``first`` is a constant, so are the others.
    """
    if count < 2:
        return part if count else nothing
    offset = count // 2 * step
    before, after = for_each(part, count // 2, step), for_each(part, count - count // 2, step)

    @njit_inline
    def both(first: int, *arguments: Any) -> None:
        before(first, *arguments)
        after(first + offset, *arguments)

    return both


@njit_inline
def load_piece(first: int, count: int, held: Held, units: int, unit: int) -> None:
    """The thread's weights of k in [first, first + count) into registers."""
    for n in range(4 * count):
        held.registers[4 * first + n] = held.memory[(4 * first + n) * units + unit]


@njit_inline
def load(pieces: Part, held: Held, operand: SharedOperand, units: int, thread: int, threads: int) -> None:
    """The weights into registers and shared memory, by all threads of a block.

    pieces: load_piece for each whole PIECE in registers.
    """
    rest, unit = operand.in_registers % PIECE, thread % units
    pieces(0, PIECE, held, units, unit)
    load_piece(operand.in_registers - rest, rest, held, units, unit)
    for at in range(thread, 4 * units * operand.in_shared, threads):
        k, gate, column = at // (4 * units), at // units % 4, at % units
        to = held.start + (k * units + column) * 4 + gate
        held.shared[to] = held.memory[4 * units * operand.in_registers + at]


@njit_inline
def begin(product: Product) -> None:
    """A block of k."""
    for n in range(4 * product.layout.rows):
        product.sums.block[n] = product.zero


@njit_inline
def end(product: Product, is_first: bool) -> None:
    """The block is added to those before it."""
    sums = product.sums
    for n in range(4 * product.layout.rows):
        sums.total[n] = sums.block[n] if is_first else sums.total[n] + sums.block[n]


@njit_inline
def add(product: Product, at: Any, i: Any, f: Any, c: Any, o: Any) -> None:
    """The block of sums += a number of each row, the first at ``at``, * the gates' weights."""
    block, shared, operand, rows = product.sums.block, product.held.shared, product.operand, product.layout.rows
    apart = operand.copies // 4 * rows * operand.width
    for row in range(rows):
        here = at + row * operand.width
        block[4 * row] = fma(shared[here], i, block[4 * row])
        block[4 * row + 1] = fma(shared[here + apart], f, block[4 * row + 1])
        block[4 * row + 2] = fma(shared[here + 2 * apart], c, block[4 * row + 2])
        block[4 * row + 3] = fma(shared[here + 3 * apart], o, block[4 * row + 3])


@njit_inline
def from_registers(first: int, count: int, product: Product) -> None:
    """The products of k in [first, first + count), from registers."""
    kept, length = product.held.registers, product.layout.block_length
    if first % length == 0:
        begin(product)
    for k in range(count):
        n = 4 * (first + k)
        add(product, product.at + (first + k), kept[n], kept[n + 1], kept[n + 2], kept[n + 3])
    if (first + count) % length == 0 or first + count == product.operand.depth:
        end(product, first < length)


@njit_inline
def from_shared(k: int, product: Product) -> None:
    """The products of one k, from shared memory."""
    held, units = product.held, product.layout.units
    n = unsigned(held.start + ((k - product.operand.in_registers) * units + product.unit) * 4)
    i, f, c, o = held.shared[n], held.shared[n + 1], held.shared[n + 2], held.shared[n + 3]
    add(product, product.at + unsigned(k), i, f, c, o)


@njit_inline
def from_memory(k: int, product: Product) -> None:
    """The products of one k, from the GPU's main memory."""
    memory, units = product.held.memory, product.layout.units
    n = 4 * k * units + product.unit
    i, f, c, o = memory[n], memory[n + units], memory[n + 2 * units], memory[n + 3 * units]
    add(product, product.at + unsigned(k), i, f, c, o)


@njit_inline
def through(one: Part, first: int, last: int, product: Product) -> None:
    """The products of k in [first, last), each by ``one``; the first block may have begun before."""
    length = product.layout.block_length
    for start in range(first // length * length, last, length):
        here, stop = max(start, first), min(start + length, last)
        if here == start:
            begin(product)
        whole = here + (stop - here) // TOGETHER * TOGETHER
        for k in range(here, whole, TOGETHER):
            for n in range(TOGETHER):
                one(k + n, product)
        for k in range(whole, stop):
            one(k, product)
        if stop == min(start + length, product.operand.depth):
            end(product, start == 0)


@njit_inline
def multiply(pieces: Part, product: Product) -> None:
    """sums.total[row, gate] = a row's numbers @ the gate's weights; pieces: from_registers for each whole PIECE."""
    operand = product.operand
    in_registers = operand.in_registers
    middle, rest = in_registers + operand.in_shared, in_registers % PIECE
    pieces(0, PIECE, product)
    if rest > 0:
        from_registers(in_registers - rest, rest, product)
    if in_registers < middle:
        through(from_shared, in_registers, middle, product)
    if middle < operand.depth:
        through(from_memory, middle, operand.depth, product)
