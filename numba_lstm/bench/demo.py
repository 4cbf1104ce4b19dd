"""One small network in every installed library: the errors, equal bits, times and sizes of each."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from numba_lstm.bench import networks, sizes, timing
from numba_lstm.bench.compare import TOLERANCE, Say
from numba_lstm.bench.elsewhere import Elsewhere
from numba_lstm.bench.network import Network, digits
from numba_lstm.bench.peers import load, quiet
from numba_lstm.bench.problem import Array

# The ways of running a row.
WAYS = ("alone", "in a batch of two", "in the whole batch", "at another place in it", "step by step")
PLACES = 7  # that rows move in "at another place in it"

STEP_SECONDS = 0.4
COMMAND_TURNS = 2  # the first one may still compile


def measure(say: Say) -> dict[str, Any]:
    """The table as plain data: "rows" in its order, "network" that was run, "left_out" by name and why."""
    elsewhere, network = Elsewhere(), digits()
    say(f"the network: {network.source}")
    found, left_out = load(networks.MODULES, networks.__name__)
    rows, steppers = [], []
    for library in found:
        say(f"{library.NAME}: five ways of running a row")
        try:
            with quiet():
                ways = five_ways(network, library)
                errors = [error_of(outputs, network) for outputs in ways]
                step, _ = library.stepper_of(network)
        except Exception as failure:  # other people's libraries; one that fails must not cost the others' figures
            if library is found[-1]:
                raise
            left_out[library.NAME] = f"it fails: {failure}"
            continue
        row = {"name": library.NAME, "error": max(errors), "answers": most_answers(ways)}
        rows.append({**row, "bytes": sizes.installed(library.PACKAGES)})
        steppers.append((library, step))
    x_t = network.x[:1, 0]
    say("one step a call, all of them in turn")
    with quiet():
        times = timing.interleaved([partial(step, x_t) for _, step in steppers], STEP_SECONDS)
    commands = whole_commands(network, [library for library, _ in steppers], say)
    for row, time_of, (library, _) in zip(rows, times, steppers, strict=True):
        row |= {"step": time_of.median, "step_least": time_of.minimum, "command": commands[library.NAME]}
    busy = elsewhere.cpus()
    return {"network": network.source, "rows": rows, "left_out": left_out, "cpus_busy_elsewhere": busy}


def five_ways(network: Network, library: ModuleType) -> list[Array]:
    """The outputs of all rows, (rows, classes), in each of the ways."""
    run: Callable[[Array], Array] = library.run_of(network)
    step, restart = library.stepper_of(network)
    x, rows = network.x, range(len(network.x))

    def step_by_step(row: int) -> Array:
        restart()
        return [np.array(step(x_t[np.newaxis])[0]) for x_t in x[row]][-1]

    return [
        np.concatenate([run(x[row : row + 1]) for row in rows]),
        np.stack([run(x[[row, row - 1]])[0] for row in rows]),
        np.array(run(x)),
        np.roll(run(np.roll(x, PLACES, axis=0)), -PLACES, axis=0),
        np.stack([step_by_step(row) for row in rows]),
    ]


def error_of(outputs: Array, network: Network) -> float:
    """The largest difference from float64. Raises ValueError if it is more than rounding can be."""
    error = float(np.abs(outputs - network.truth).max()) if outputs.shape == network.truth.shape else np.inf
    if not error <= TOLERANCE["bf16"]:
        raise ValueError(f"it differs from float64 by {error:.2g}: it computes something else")
    return error


def most_answers(ways: Sequence[Array]) -> int:
    """The largest number of different outputs, bit by bit, that a row got."""
    return max(len({outputs[row].tobytes() for outputs in ways}) for row in range(len(ways[0])))


def whole_commands(network: Network, libraries: Sequence[ModuleType], say: Say) -> dict[str, float | None]:
    """Seconds of a process from its start to its end, the minimum of several turns; each is checked."""
    taken: dict[str, list[float]] = {library.NAME: [] for library in libraries}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "x.npy", network.x)
        for library in libraries:
            with quiet():
                library.write(network, folder)
            (folder / f"{library.__name__.rpartition('.')[2]}.py").write_text(library.SCRIPT, encoding="utf-8")
        for turn in range(COMMAND_TURNS):
            for library in libraries:
                say(f"{library.NAME}: the whole command, {turn + 1} of {COMMAND_TURNS}")
                script = f"{library.__name__.rpartition('.')[2]}.py"
                try:
                    taken[library.NAME].append(process_seconds([sys.executable, script], folder))
                    error_of(np.load(folder / "y.npy"), network)
                except (RuntimeError, ValueError, OSError) as failure:
                    if library is libraries[-1]:
                        raise
                    say(f"{library.NAME}: {failure}")
                (folder / "y.npy").unlink(missing_ok=True)
    return {name: min(seconds, default=None) for name, seconds in taken.items()}


def process_seconds(line: Sequence[str], folder: Path, **variables: str) -> float:
    """Seconds of one process in a folder. Raises RuntimeError with its last words if it fails."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **variables}
    # Sources need not be compiled by Python each time: whoever uses them has them compiled.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - start
    if done.returncode:
        words = done.stderr.strip().splitlines() or ["it says nothing"]
        raise RuntimeError(f"a command fails with exit code {done.returncode}: {words[-1]}")
    return taken
