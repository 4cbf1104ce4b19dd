"""One step a call, one row, the state kept: what a program that steps a model in its own loop waits for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.shapes import STEPS
from numba_lstm.bench import timing
from numba_lstm.bench.compare import TOLERANCE, Say
from numba_lstm.bench.peers import UnavailableError, this_project
from numba_lstm.bench.problem import Array, PlainWeights, lstm

CHECKED_STEPS = 20


def entries(peers: Sequence[ModuleType], calls: int, say: Say) -> list[dict[str, Any]]:
    """One entry a stack of cells and a way of stepping it; quantiles are over single calls, on one thread."""
    found = []
    for units in STEPS:
        cells = [PlainWeights.random(units[max(i - 1, 0)], n, i) for i, n in enumerate(units)]
        x = np.random.default_rng(7).standard_normal((CHECKED_STEPS, 1, units[0])).astype(np.float32)
        truth = _truth(cells, x)
        for name, make in _ways(peers):
            try:
                step = make(cells, 1)
            except UnavailableError as reason:
                say(f"one step, {name}: {reason}")
                continue
            error = float(max(np.abs(step(x_t) - y_t).max() for x_t, y_t in zip(x, truth, strict=True)))
            if not error <= TOLERANCE["float32"]:
                raise ValueError(f"{name} differs from float64 by {error:.2g} after a few steps")
            times = timing.each_call(partial(step, x[0]), calls)
            quantiles = {key: times[int(q * (len(times) - 1))] for key, q in QUANTILES.items()}
            found.append({"units": list(units), "peer": name, "min": times[0], **quantiles, "error": error})
        say(f"one step, {units}: " + ", ".join(_short(e) for e in found if e["units"] == list(units)))
    return found


QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


def _ways(
    peers: Sequence[ModuleType],
) -> list[tuple[str, Callable[[Sequence[PlainWeights], int], Callable[[Array], Any]]]]:
    ways = [(peer.NAME, peer.stepper) for peer in peers if hasattr(peer, "stepper")]
    own = [
        ("numba_lstm, session.step", this_project.stepper),
        ("numba_lstm, cell(x, state)", this_project.cell_stepper),
    ]
    return own + [way for way in ways if way[0] != this_project.NAME]


def _truth(cells: Sequence[PlainWeights], x: Array) -> Array:
    y = x.swapaxes(0, 1)
    for w in cells:
        y = lstm(y, w.kernel, w.recurrent_kernel, w.bias)
    return y.swapaxes(0, 1)


def _short(entry: dict[str, Any]) -> str:
    return f"{entry['peer']} {entry['p50'] * 1e6:.2f} us"
