"""A cell's sequence in every way in which the driver cuts it and shares it, against the oracle.

Rows, units, stretches of time and threads; masks and dropout of every kind; unequal lengths; windows. All memory that
the kernels work in begins as NaN, each part of it by itself, and tells who writes beside it.
"""

from __future__ import annotations

from typing import Any

import naive
import numpy as np
import pytest
from support import cases
from support.cases import KINDS, Case, Cell, one_of
from support.guarded import memory
from support.shrunk import shrunk

from numba_lstm.backends.cpu import policy
from numba_lstm.backends.cpu import run as cpu


def cut(rng: np.random.Generator, of: Cell, case: Case) -> Any:
    """One of the ways to cut the work: from a step of a tile to all at once, on one thread to eight."""
    work, (batch, timesteps, input_dim) = policy.slow_work_of_step(of.packed.cell, custom=False), case.x.shape
    # Two threads share units in float32 only, with activations that other tests have compiled for that.
    two = 18 if of.dtype == "float32" and of.activation != "relu" else 1000
    return shrunk(
        int(rng.integers(1, 9)),
        per_thread=one_of(rng, 1, work * timesteps, 1000, 250_000),
        per_call=one_of(rng, 1, work, 3 * work, 7 * work * batch, 10**12),
        units_of_two=two,
        patience=one_of(rng, 0, 2000, 20_000, 20_000),
        at_once=one_of(rng, 0, 48 * timesteps * input_dim * 8, 4 << 20),
        prompt=one_of(rng, True, False),
    )


def problems(number: int) -> list[str]:
    """The problems of case ``number``."""
    rng = np.random.default_rng([12, number])
    units = one_of(rng, 1, 5, 16, 17, 19, 40, 70)
    of = cases.cell(one_of(rng, 0, 0, 1, 2, 2, 3, 4), one_of(rng, 1, 3, 20), units)
    case = cases.drawn(rng, of, cases.batch_of(rng), int(rng.integers(1, 15)))
    given = [case.x, case.h, case.c, *(case.options[name] for name in case.options if name.endswith("mask"))]
    given = [array for array in given if isinstance(array, np.ndarray)]
    before = [array.copy() for array in given]
    with cut(rng, of, case), memory(1 << 16) as found:
        results = cpu.sequence(of.packed, case.x, case.h, case.c, **case.options)
        results = [*results]
        wrong = cases.differences(results, cases.truth(of, case), of.dtype)
        if cases.shared_memory(results, given):
            wrong.append("results share memory")
        if not all(map(np.array_equal, given, before)):
            wrong.append("what was given has changed")
        if not all(result.flags.c_contiguous for result in results):
            wrong.append("a result is a part of another array")
        del results
        found.look()
    return [
        f"case {number}: {word}; {KINDS}, {of.units} units, {cases.described(case)}" for word in wrong + found.damages
    ]


@pytest.mark.parametrize("part", range(10))
def test_a_sequence(part: int) -> None:
    assert [word for number in range(part * 50, part * 50 + 50) for word in problems(number)] == []


@pytest.mark.parametrize("kind", [0, 2], ids=["float32", "float64"])
def test_a_step(kind: int) -> None:
    """One timestep, one cell after the other: the layout of an earlier call is reused, even one with other options."""
    rng, found = np.random.default_rng([19, kind]), []
    kept: list[tuple[Any, Any]] = []
    for number in range(60):
        of, batch = cases.cell(kind, one_of(rng, 1, 3, 20), one_of(rng, 1, 17, 40)), one_of(rng, 1, 1, 2, 5, 6, 20)
        x = rng.normal(size=(batch, len(of.weights[0]))).astype(of.dtype)
        h, c = rng.normal(size=(2, batch, of.units)).astype(one_of(rng, of.dtype, "d"))
        masks = [cases.factors(rng, one_of(rng, 0, 0, 1, 4), batch, width) for width in (x.shape[1], of.units)]
        expected = naive.cell(x, h, c, of.weights, of.activation, of.recurrent_activation, *masks)
        results = cpu.step(of.packed, x, h, c, *masks)
        found += [
            f"step {number}: {word}"
            for word in cases.differences((*results, results[0]), (*expected, expected[0]), of.dtype)
        ]
        if cases.shared_memory([*results], [x, h, c]):
            found.append(f"step {number}: results share memory")
        kept += [(result, result.copy()) for result in results]
    assert found == []
    assert all(np.array_equal(result, copy) for result, copy in kept), "a later step changed a result"
