"""This machine's figures in half a minute: a few shapes and single steps, also beside the installed peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from numba_lstm import machine
from numba_lstm.backends.cpu import threads
from numba_lstm.bench import peers, timing
from numba_lstm.bench.compare import TOLERANCE, Say, timed
from numba_lstm.bench.elsewhere import Elsewhere
from numba_lstm.bench.problem import Array, PlainWeights, Problem, lstm

# Of the benchmark's grid, as (batch, timesteps, input_dim, units).
SHAPES = (
    (1, 1000, 64, 64),
    (1, 500, 256, 256),
    (4, 100, 128, 128),
    (32, 100, 128, 256),
    (64, 1000, 8, 32),
)
STEP_UNITS = (64, 256)
CHECKED_STEPS = 20
PEERS = ("pytorch", "onnx_runtime", "open_vino", "tensorflow_keras", "plain_numba")
SECONDS = 0.4  # for a library at a shape


def measure(say: Say, number: int | None = None, with_peers: bool = False) -> dict[str, Any]:
    """All figures as plain data: "shapes" and "steps", an entry each with what every library took; "left_out"."""
    number = number or threads.get_num_threads()
    elsewhere = Elsewhere()
    found, left_out = peers.load(["this_project", *(PEERS if with_peers else ())])
    return {
        "cpu": machine.cpu(),
        "threads": number,
        "versions": machine.versions(dict.fromkeys(name for peer in found for name in peer.VERSIONS)),
        "shapes": [_shape(Problem(*shape), found, number, say) for shape in SHAPES],
        "steps": [_steps(units, found, number, say) for units in STEP_UNITS],
        "left_out": left_out,
        "cpus_busy_elsewhere": elsewhere.cpus(),
    }


def _shape(problem: Problem, found: Sequence[ModuleType], number: int, say: Say) -> dict[str, Any]:
    shape = [problem.batch, problem.timesteps, problem.input_dim, problem.units]
    say(f"batch, timesteps, input_dim, units: {', '.join(map(str, shape))}")
    notes: list[str] = []
    with peers.quiet():
        results = timed(problem, found, number, SECONDS, notes.append)
    for note in notes:
        say(note)
    least = results[0].times.minimum
    return {
        "shape": shape,
        "gflops": problem.flops / least / 1e9,
        "steps_per_second": problem.batch * problem.timesteps / least,
        "libraries": [_entry(peer.NAME, error, times) for peer, error, times in results],
    }


def _steps(units: int, found: Sequence[ModuleType], number: int, say: Say) -> dict[str, Any]:
    """One step per call, one row, the state kept."""
    say(f"one step a call, {units} units")
    weights = PlainWeights.random(units, units, 1)
    x = np.random.default_rng(7).standard_normal((CHECKED_STEPS, 1, units)).astype(np.float32)
    truth = lstm(x.swapaxes(0, 1), weights.kernel, weights.recurrent_kernel, weights.bias)[0]
    names, errors, runs, notes = [], [], [], []
    with peers.quiet():
        for peer in found:
            if not hasattr(peer, "stepper"):
                continue
            try:
                step = peer.stepper([weights], number)
                errors.append(_error(step, x, truth))
            except Exception as failure:  # other people's libraries; one that fails must not cost the others' figures
                if peer is found[0]:
                    raise
                notes.append(f"left out: {peer.NAME}: {failure}")
                continue
            names.append(peer.NAME)
            runs.append(partial(step, x[0]))
        results = timing.interleaved(runs, SECONDS)
    for note in notes:
        say(note)
    return {"units": units, "libraries": list(map(_entry, names, errors, results))}


def _error(step: Callable[[Array], Array], x: Array, truth: Array) -> float:
    """The largest difference from float64 after a few steps. Raises ValueError if it is more than rounding."""
    error = float(max(np.abs(step(x_t) - y_t).max() for x_t, y_t in zip(x, truth, strict=True)))
    if not error <= TOLERANCE["float32"]:
        raise ValueError(f"it differs from float64 by {error:.2g}: it computes something else")
    return error


def _entry(name: str, error: float, times: timing.Times) -> dict[str, Any]:
    return {"name": name, "min": times.minimum, "median": times.median, "error": error}
