"""What the machine can do: FMAs, bytes from each cache, activations, and the latency of one step. And the floor of a
shape that follows: the time that no program can beat which does these additions and multiplications in float32 or
float64 with this project's activations.

The loops are written with the kernels' own vectors, so they use the vector width that the kernels use.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numba
import numpy as np

import numba_lstm as nl
from numba_lstm.bench.problem import Problem
from numba_lstm.kernels import equations
from numba_lstm.kernels.activations import sigmoid, tanh
from numba_lstm.kernels.ops import fma
from numba_lstm.kernels.pack import address, aligned_zeros
from numba_lstm.kernels.simd import after, broadcast, lanes, load, memory_at, store
from numba_lstm.kernels.tile import add4, load4, sum4

compiled = numba.njit(error_model="numpy", nogil=True)


@numba.njit(error_model="numpy", forceinline=True)
def update(z: Any, c: Any, h: Any, at: int) -> None:
    """The equations for one vector of units with sigmoid and tanh, as the kernels do them."""
    carry = equations.carry(sigmoid(z[0]), sigmoid(z[1]), tanh(z[2]), load(c, at))
    store(c, at, carry)
    store(h, at, equations.output(sigmoid(z[3]), tanh(carry)))


@compiled
def fma_loop(at: int, like: Any, turns: int) -> None:
    """Twelve independent chains: enough to fill two FMA units, few enough for 16 registers."""
    memory = memory_at(at, like)
    a = b = c = weights = load4(memory, 0, None)
    x = broadcast(memory, 0)
    for _ in range(turns):
        a = add4(a, x, weights)
        b = add4(b, x, weights)
        c = add4(c, x, weights)
    total = sum4(sum4(a, b), c)
    store(memory, 0, total[0] + total[1] + total[2] + total[3])


@compiled
def read_loop(at: int, like: Any, size: int, turns: int) -> None:
    """Read ``size`` numbers in two streams, turn after turn."""
    memory = memory_at(at, like)
    n = lanes(memory)
    wide, half = 4 * n, size // 2
    a = b = load4(memory, 0, None)
    chunks = half // wide
    for _ in range(turns):
        for chunk in range(chunks):
            a = sum4(a, load4(memory, chunk * wide, None))
            b = sum4(b, load4(memory, half + chunk * wide, None))
    total = sum4(a, b)
    store(memory, 0, total[0] + total[1] + total[2] + total[3])


@compiled
def update_loop(at: int, like: Any, rows: int, turns: int) -> None:
    """The equations for ``rows`` vectors of units: [row][gate][lane], then c and h."""
    memory = memory_at(at, like)
    n = lanes(memory)
    c, h = after(memory, rows * 4 * n), after(memory, rows * 5 * n)
    for _ in range(turns):
        for row in range(rows):
            update(load4(memory, row * 4 * n, None), c, h, row * n)


@compiled
def latency_loop(at: int, like: Any, chain: int, blocks: int, turns: int) -> None:
    """Steps of which each waits for the last one: h is stored, read, multiplied ``chain`` times in a row, updated."""
    memory = memory_at(at, like)
    n = lanes(memory)
    c, h = after(memory, 4 * n), after(memory, 5 * n)
    for _ in range(turns):
        i, f, g, o = load4(memory, 0, None)
        for k in range(chain):
            x = broadcast(h, k)
            i, f, g, o = fma(x, i, i), fma(x, f, f), fma(x, g, g), fma(x, o, o)
        for _ in range(blocks):
            i, f, g, o = sum4((i, f, g, o), load4(memory, 0, None))
        update((i, f, g, o), c, h, 0)


@dataclass(frozen=True)
class Limits:
    """Of all threads together; a latency is one thread's."""

    fma: float  # additions and multiplications a second
    reads: dict[str, float]  # bytes a second from L1, L2, L3 and memory
    sizes: dict[str, int]  # bytes that L1, L2 and L3 hold, the private ones of all threads added up
    update: float  # seconds for one vector of units
    lanes: int  # numbers of a vector
    latency: dict[str, float]  # seconds of a step whose chain is so long: str(units) -> seconds

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def or_better(self, other: Limits) -> Limits:
        """The better of two measurements, figure by figure: what disturbs one only ever makes it worse."""
        return Limits(
            max(self.fma, other.fma),
            {level: max(rate, other.reads[level]) for level, rate in self.reads.items()},
            self.sizes,
            min(self.update, other.update),
            self.lanes,
            {units: min(wait, other.latency[units]) for units, wait in self.latency.items()},
        )


def cache_sizes() -> dict[str, int]:
    """L1 (data), L2 and L3 of the first CPU in bytes; common sizes where the system does not say."""
    sizes = {"L1": 32 << 10, "L2": 1 << 20, "L3": 16 << 20}
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
            if kind != "Instruction" and f"L{level}" in sizes:
                sizes[f"L{level}"] = int(size.rstrip("KM")) << (10 if size.endswith("K") else 20)
        except (OSError, ValueError):
            continue
    return sizes


def _best(pool: ThreadPoolExecutor, threads: int, work: Callable[[int], Callable[[], object]], seconds: float) -> float:
    """Shortest time of a call of work(thread)() on all threads at once."""
    parts = [work(i) for i in range(threads)]
    best, end = np.inf, time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        others = [pool.submit(part) for part in parts[1:]]
        parts[0]()
        for other in others:
            other.result()
        best = min(best, time.perf_counter() - start)
        if time.perf_counter() > end:
            return best


def chain_of(units: int) -> tuple[int, int]:
    """Additions and multiplications that one after the other make a sum over h, and the blocks added to it after."""
    cell = nl.LSTMCell(units)
    cell.build(1)
    length = cell.packed().cell.block_length
    return min(units, length), -(-units // length)


LATENCY_UNITS = (16, 32)


def measure(threads: int, dtype: str = "float32", seconds: float = 0.4) -> Limits:
    """Measure all of them, each for about so long."""
    numbers, like = np.dtype(dtype), np.dtype(dtype).type(0)
    sizes = cache_sizes()
    # Half of a private cache leaves room for the rest; of the shared one what is beyond the private ones.
    spans = {"L1": sizes["L1"] // 2, "L2": sizes["L2"] // 2, "L3": sizes["L3"] // 4, "memory": sizes["L3"] * 4}
    memory = [aligned_zeros(spans["memory"] // numbers.itemsize // threads, numbers) for _ in range(threads)]
    for array in memory:
        array[:] = 0
    count = 64 // numbers.itemsize
    with ThreadPoolExecutor(threads) as pool:

        def rate(call: Callable[[int, int], object], amount: float, on: int = threads) -> float:
            """Amounts a second; a call on memory at an address takes a number of turns."""
            call(address(memory[0]), 1)
            turns, taken = 1, 0.0
            while taken < max(seconds / 50, 0.002):  # starting a thread takes little of that; both CPUs may be free
                turns *= 2
                start = time.perf_counter()
                call(address(memory[0]), turns)
                taken = time.perf_counter() - start
            best = _best(pool, on, lambda i: partial(call, address(memory[i]), turns), seconds)
            return on * turns * amount / best

        def reading(size: int, at: int, turns: int) -> None:
            read_loop(at, like, size, turns)

        def waiting(chain: int, blocks: int, at: int, turns: int) -> None:
            latency_loop(at, like, chain, blocks, turns)

        vector = _lanes(like)
        peak = rate(lambda at, turns: fma_loop(at, like, turns), 24.0 * vector)
        reads = {}
        for level, span in spans.items():
            size = span // (threads if level in ("L3", "memory") else 1) // numbers.itemsize // (8 * count) * 8 * count
            reads[level] = rate(partial(reading, size), size * numbers.itemsize)
        updates = rate(lambda at, turns: update_loop(at, like, 48, turns), 48)
        latency = {}
        for units in LATENCY_UNITS:
            chain, blocks = chain_of(units)
            latency[str(units)] = 1 / rate(partial(waiting, chain, blocks), 1, on=1)
    sizes = {level: size * (threads if level != "L3" else 1) for level, size in sizes.items()}
    return Limits(peak, reads, sizes, 1 / updates, vector, latency)


@compiled
def _lanes(like: Any) -> int:
    return int(lanes(memory_at(0, like)))


def floor(problem: Problem, limits: Limits, threads: int) -> tuple[float, str]:
    """Seconds that a shape takes at least, and what limits it: "FMA", "L1" ... "memory", or "latency".

    All sums at the peak rate plus the activations, for these use the same units; or, where it takes longer, the sums
    over x plus reading the recurrent weights once a step from where they fit, the fastest cache first; or a chain of
    steps that each wait for the last. With fewer rows than threads the rows' own sums are still shared by all.
    """
    units, steps = problem.units, problem.timesteps
    vectors = -(-units // limits.lanes) * problem.batch * steps
    input_flops = problem.flops * problem.input_dim / (problem.input_dim + units)
    arithmetic = problem.flops / limits.fma + vectors * limits.update
    left, stream, level = 4 * units * units * np.dtype(problem.dtype).itemsize, 0.0, "L1"
    for level, bandwidth in limits.reads.items():
        part = min(left, limits.sizes.get(level, left))
        stream, left = stream + part / bandwidth, left - part
        if not left:
            break
    reading = input_flops / limits.fma + steps * stream
    waiting = steps * limits.latency.get(str(units), 0.0) if problem.batch <= threads else 0.0
    return max((arithmetic, "FMA"), (reading, level), (waiting, "latency"))
