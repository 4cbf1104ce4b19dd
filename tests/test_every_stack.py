"""Cells one above the other, as a wavefront where there is one, against the oracle: every option, and late threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from support import cases
from support.cases import Case, Cell, one_of
from support.guarded import memory
from support.shrunk import shrunk

from numba_lstm import driver
from numba_lstm.backends.cpu import stacked


def drawn(rng: np.random.Generator) -> tuple[Any, list[Cell], list[Case]]:
    """Inputs, cells, and what each is run with; a cell that goes backwards hands its outputs on in that order."""
    batch, timesteps = one_of(rng, 1, 1, 2, 3, 5, cases.batch_of(rng)), int(rng.integers(1, 40))
    kind, width = one_of(rng, 0, 0, 2), one_of(rng, 1, 3, 20)
    mask = cases.mask_of(rng, batch, timesteps, one_of(rng, *cases.MASKS))
    cells, given = [], []
    depth = int(rng.integers(2, 5))
    for number in range(depth):
        cell = cases.cell(kind, width, one_of(rng, 1, 5, 16, 17, 40))
        case = cases.drawn(rng, cell, batch, timesteps)
        options = {**case.options, "mask": mask, "go_backwards": rng.random() < (0.2 if number else 0.5)}
        if number < depth - 1:
            options["return_sequences"] = True
        mask = mask[:, ::-1] if mask is not None and options["go_backwards"] else mask
        cells.append(cell)
        given.append(case._replace(options=options))
        width = cell.units
    return given[0].x, cells, given


def calls_of(cells: Sequence[Cell], given: Sequence[Case]) -> list[stacked.CellCall]:
    """The same, as it is handed over."""
    return [
        stacked.CellCall(cell.packed, case.h, case.c, **case.options) for cell, case in zip(cells, given, strict=True)
    ]


def problems(outputs: Any, states: Sequence[Any], cells: Sequence[Cell], given: Sequence[Case]) -> list[str]:
    """The problems of the results."""
    x, wrong = given[0].x, []
    for number, (cell, case) in enumerate(zip(cells, given, strict=True)):
        x, *ends = cases.truth(cell, case._replace(x=x))
        last = number == len(cells) - 1
        found = outputs if last else x.astype(cell.dtype), *states[2 * number : 2 * number + 2]
        wrong += [f"cell {number}: {word}" for word in cases.differences(found, (x, *ends), cell.dtype)]
    arrays = [array for case in given for array in (case.x, case.h, case.c, *case.options.values())]
    if cases.shared_memory([outputs, *states], [array for array in arrays if isinstance(array, np.ndarray)]):
        wrong.append("results share memory")
    return wrong


@pytest.mark.parametrize("part", range(4))
def test_a_stack(part: int) -> None:
    wrong = []
    for number in range(part * 32, part * 32 + 32):
        rng = np.random.default_rng([13, number])
        x, cells, given = drawn(rng)
        work = 4 * cells[0].units * (cells[0].units + x.shape[2]) * len(x)
        how: dict[str, Any] = {
            "per_thread": one_of(rng, 1, 200, 2000),
            "per_call": one_of(rng, 1, 3 * work, 10**12),
            "between": one_of(rng, 1, 2000, 32 << 20),
            "units_of_two": 18 if cells[0].dtype == "float32" else 1000,
            "prompt": one_of(rng, True, False),
        }
        with shrunk(int(rng.integers(1, 9)), **how), memory(1 << 16) as found:
            outputs, states = driver.sequences(x, calls_of(cells, given))
            words = problems(outputs, states, cells, given)
            del outputs, states
            found.look()
        wrong += [f"case {number}: {word}; {cases.described(given[0])}" for word in words + found.damages]
    assert wrong == []


class LateThreads:
    """In the place of `Wavefront`: a late thread has every stretch in its hands, and it is computed again meanwhile.

    The late thread has just begun when the other one has kept what it found, and ends before the next stretch begins;
    or it ends before the other one begins, too late to count; or it is not late at all. All of them end once more after
    the call.
    """

    after_the_call: list[Callable[[], Any]] = []  # noqa: RUF012 - one list, which the test empties

    def __init__(self, layers: Sequence[Any], timesteps: int, length: int, workers: int, most: float) -> None:
        self._layers, self._timesteps, self._length = layers, timesteps, length

    def run(self) -> None:
        for number, layer in enumerate(self._layers):
            for start in range(0, self._timesteps, self._length):
                way = (self._twice, self._one_after_the_other, self._once)[(start // self._length + number) % 3]
                state, stop = layer.state, min(start + self._length, self._timesteps)
                way(layer, start, stop)
                self.after_the_call.append(partial(layer.compute, start, stop, state, False))

    def _once(self, layer: Any, start: int, stop: int) -> None:
        layer.keep(start, stop, layer.compute(start, stop, layer.state, False))

    def _one_after_the_other(self, layer: Any, start: int, stop: int) -> None:
        state = layer.state
        layer.compute(start, stop, state, False)
        layer.keep(start, stop, layer.compute(start, stop, state, True))

    def _twice(self, layer: Any, start: int, stop: int) -> None:
        state, kernel = layer.state, layer._kernel

        def held(*arguments: Any) -> None:
            layer._kernel = kernel
            layer.keep(start, stop, layer.compute(start, stop, state, True))
            kept = layer.state.copy()
            kernel(*arguments)
            np.testing.assert_array_equal(layer.state, kept, "the late thread has changed what was kept")

        layer._kernel = held
        layer.compute(start, stop, state, False)


@pytest.mark.parametrize("number", range(12))
def test_late_threads_change_nothing(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng([14, number])
    x, cells, given = drawn(rng)
    rows = slice(0, 5)
    parts = []
    for case in given:
        options = dict(case.options)
        for name, axis in (("mask", 0), ("dropout_mask", 1), ("recurrent_dropout_mask", 1)):
            if options[name] is not None:
                options[name] = options[name][rows] if axis == 0 else options[name][:, rows]
        backwards = options["go_backwards"] and case is given[0]
        parts.append(Case(case.x[rows], case.h[rows], case.c[rows], {**options, "go_backwards": backwards}))
    monkeypatch.setattr(stacked, "Wavefront", LateThreads)
    monkeypatch.setattr(LateThreads, "after_the_call", [])
    outputs, states = stacked._wavefront(x[rows], calls_of(cells, parts), 6, 2)
    assert problems(outputs, states, cells, parts) == []
    for array in (outputs, *states):
        array[...] = 7.0
    assert LateThreads.after_the_call
    for thread in LateThreads.after_the_call:
        thread()
    assert all((array == 7.0).all() for array in (outputs, *states)), "a late thread wrote to what the caller has"


def test_a_cell_is_run_with_masks_after_none_and_without_after_some() -> None:
    """A kernel compiled for the one is not used for the other."""
    rng = np.random.default_rng(15)
    cells = [cases.cell(0, 3, 16), cases.cell(0, 16, 17)]
    plain: dict[str, Any] = {"mask": None, "dropout_mask": None, "recurrent_dropout_mask": None, "go_backwards": False}
    plain |= {"return_sequences": True, "zero_output_for_mask": False}
    for cell in cells:
        cell.packed.compiled.clear()
    for batch, changed in (
        (2, {}),
        (2, {"mask": rng.random((2, 20)) < 0.5}),
        (3, {}),
        (3, {"recurrent_dropout_mask": 4}),
        (3, {"dropout_mask": 1}),
        (1, {"dropout_mask": 4}),
        (1, {}),
    ):
        given = []
        for cell in cells:
            options, x = {**plain, **changed}, rng.normal(size=(batch, 20, len(cell.weights[0]))).astype("f")
            for name, width in (("dropout_mask", x.shape[2]), ("recurrent_dropout_mask", cell.units)):
                options[name] = cases.factors(rng, options[name] or 0, batch, width)
            given.append(Case(x, *rng.normal(size=(2, batch, cell.units)), options))
        with shrunk(2, per_thread=100):
            outputs, states = driver.sequences(given[0].x, calls_of(cells, given))
        assert problems(outputs, states, cells, given) == [], changed
