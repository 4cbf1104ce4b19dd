"""What is compared with this project itself: options, float64, odd sizes, stacks, windows, ragged batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numba
import numpy as np

import numba_lstm as nl
from benchmarks.limits import Limits, floor
from benchmarks.results import threads_text
from benchmarks.shapes import FLOAT64, ODD, OPTIONS, RAGGED, STACKS, WINDOWS, Plan
from numba_lstm.bench import timing
from numba_lstm.bench.compare import Say
from numba_lstm.bench.peers.this_project import layer_of, sequence
from numba_lstm.bench.problem import PlainWeights, Problem

Entry = dict[str, Any]


@numba.njit
def clipped(z: float) -> float:
    """An activation of one's own, with branches: the guide's."""
    if z > 1.0:
        return 1.0
    return -1.0 if z < -1.0 else z


def entries(threads: int, plan: Plan, limits: Mapping[str, Limits], say: Say) -> list[Entry]:
    """All of them; "base" is the time that an entry's own is divided by."""
    nl.set_num_threads(threads)
    found = []
    for part in (_options, _float64, _odd, _stacks, _windows, _ragged):
        for section, name, run, base, more in part(threads, limits):
            own, *others = timing.interleaved([run, *([base] if base else [])], plan.seconds_extra)
            entry = {"section": section, "threads": threads, "name": name, **more}
            entry |= {"min": own.minimum, "median": own.median, "calls": own.calls}
            for other in others:
                entry |= {"base": other.minimum, "ratio": own.minimum / other.minimum}
            found.append(entry)
            ratio = f", {entry['ratio']:.2f} of the time of what it is compared with" if others else ""
            say(f"{threads_text(threads)}, {section}, {name}: {own.minimum * 1e3:.3f} ms{ratio}")
    return found


Case = tuple[str, str, Callable[[], Any], Callable[[], Any] | None, Entry]


def _options(threads: int, limits: Mapping[str, Limits]) -> Iterator[Case]:
    for shape in OPTIONS:
        problem = Problem(*shape)
        weights, x = [problem.weights], problem.x
        plain = layer_of(weights)
        rng = np.random.default_rng(3)
        mask = rng.random(x.shape[:2]) < 0.95
        half = layer_of(weights, recurrent_dropout=0.2, seed=1, implementation=2)
        four = layer_of(weights, recurrent_dropout=0.2, seed=1)
        hard = layer_of(weights, recurrent_activation="hard_sigmoid")
        mine = layer_of(weights, activation=clipped)
        runs: dict[str, Callable[[], Any]] = {
            "hard_sigmoid": partial(hard, x),
            "a mask with 5 % holes": partial(plain, x, mask=mask),
            "recurrent_dropout, a mask for all gates": partial(half, x, training=True),
            "recurrent_dropout, a mask for each gate": partial(four, x, training=True),
            "an @njit activation of one's own": partial(mine, x),
        }
        for name, run in runs.items():
            yield "options", name, run, partial(plain, x), {"shape": list(shape)}


def _float64(threads: int, limits: Mapping[str, Limits]) -> Iterator[Case]:
    for shape in FLOAT64:
        single, double = Problem(*shape), Problem(*shape, dtype="float64")
        least, limit = floor(double, limits["float64"], threads)
        runs = [sequence(problem, threads) for problem in (double, single)]
        more = {"shape": list(shape), "floor": least, "limit": limit}
        yield "float64", "float64 over float32", runs[0], runs[1], more


def _odd(threads: int, limits: Mapping[str, Limits]) -> Iterator[Case]:
    for shapes in ODD:
        odd, even = (Problem(*shape) for shape in shapes)
        runs = [sequence(problem, threads) for problem in (odd, even)]
        more = {"shape": list(shapes[0]), "neighbour": list(shapes[1]), "flops_ratio": odd.flops / even.flops}
        yield "odd sizes", f"units {odd.units}", runs[0], runs[1], more


def _stacks(threads: int, limits: Mapping[str, Limits]) -> Iterator[Case]:
    for name, timesteps, units in STACKS:
        cells = [PlainWeights.random(units[max(i - 1, 0)], n, i) for i, n in enumerate(units)]
        x = Problem(1, timesteps, units[0], units[0]).x
        layer: Any = layer_of(cells)
        if name == "bidirectional":
            layer = nl.Bidirectional(layer)
            layer.build(x.shape)
        yield "stacks", name, partial(layer, x), None, {"shape": [1, timesteps, *units]}


def _windows(threads: int, limits: Mapping[str, Limits]) -> Iterator[Case]:
    for windows, length, input_dim, units in WINDOWS:
        layer = layer_of([PlainWeights.random(input_dim, units, 1)])
        layer.return_sequences = False
        model = nl.Sequential([layer])
        record = Problem(1, windows + length - 1, input_dim, units).x[0]
        view = np.lib.stride_tricks.sliding_window_view(record, length, axis=0).swapaxes(1, 2)
        batch = np.ascontiguousarray(view)
        same = np.array_equal(model.predict(record, windows=(length, 1)), model.predict(batch))
        yield (
            "windows",
            f"{windows} windows of {length} steps",
            partial(model.predict, record, windows=(length, 1)),
            partial(model.predict, batch),
            {"shape": [windows, length, input_dim, units], "same_bits": bool(same)},
        )


def _ragged(threads: int, limits: Mapping[str, Limits]) -> Iterator[Case]:
    rows, timesteps, _, _ = RAGGED
    problem = Problem(*RAGGED)
    model = nl.Sequential([layer_of([problem.weights])])
    lengths = np.random.default_rng(5).integers(1, timesteps + 1, rows)
    yield (
        "ragged",
        "lengths from 1 to all",
        lambda: model.predict(problem.x, lengths=lengths),
        lambda: model.predict(problem.x),
        {"shape": list(RAGGED), "share": float(lengths.sum() / (rows * timesteps))},
    )
