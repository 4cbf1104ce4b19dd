"""One run: a process for each number of threads, because some libraries take that number only once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.commands import entries as command_entries
from benchmarks.grid import rows
from benchmarks.results import threads_text
from benchmarks.shapes import Plan
from numba_lstm.bench.elsewhere import Elsewhere
from numba_lstm.bench.peers import load
from numba_lstm.bench.problem import Problem
from numba_lstm.machine import cpu, versions

ROOT = Path(__file__).parents[1]
FIRST = "this_project"


def say(text: str) -> None:
    """Progress, on stderr."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def measure(plan: Plan, threads: Sequence[int], peers: Sequence[str]) -> dict[str, Any]:
    """Everything that the plan asks for, as plain data."""
    elsewhere, start = Elsewhere(), time.perf_counter()
    result: dict[str, Any] = {
        "date": machine.today(),
        "plan": plan.name,
        "cpu": cpu(),
        "system": sys.platform,
        "threads": list(threads),
        "limits": {},
        "grid": [],
        "own": [],
        "steps": [],
        "commands": [],
    }
    for number in threads:
        part = _in_a_process(plan, number, peers, everything=number == threads[0])
        result["limits"][str(number)] = part.pop("limits")
        for key in ("grid", "own", "steps", "commands"):
            result[key] += part.pop(key)
        result |= part
    result["seconds"] = round(time.perf_counter() - start, 1)
    result["cpus_busy_elsewhere"] = elsewhere.cpus()
    return result


def _in_a_process(plan: Plan, threads: int, peers: Sequence[str], everything: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "part.json"
        line = [sys.executable, "-m", "benchmarks", "part", plan.name, str(threads), ",".join(peers), str(output)]
        number = str(threads)
        environment = {**os.environ, "OMP_NUM_THREADS": number, "MKL_NUM_THREADS": number}
        environment.pop("NUMBA_NUM_THREADS", None)
        subprocess.run([*line, *(["--everything"] if everything else [])], cwd=ROOT, env=environment, check=True)
        return dict(json.loads(output.read_text(encoding="utf-8")))


def part(plan: Plan, threads: int, peers: Sequence[str], everything: bool) -> dict[str, Any]:
    """What one process measures with so many threads; ``everything``: also what does not depend on their number."""
    found, left_out = load([FIRST, *(name for name in peers if name != FIRST)])
    from benchmarks import limits, own, steps

    measured = {dtype: limits.measure(threads, dtype, plan.limits) for dtype in ("float32", "float64")}
    say(f"{threads_text(threads)}: {measured['float32'].fma / 1e9:.0f} GFLOP/s in float32")
    result: dict[str, Any] = {
        "versions": versions(dict.fromkeys(name for peer in found for name in peer.VERSIONS)),
        "left_out": left_out,
        "limits": {},
        "grid": [],
        "own": [],
        "steps": [],
        "commands": [],
    }
    for section, which, seconds in (
        ("grid", plan.grid, plan.seconds),
        ("neighbours", plan.neighbours, plan.seconds / 2),
    ):
        result["grid"] += rows(section, which, found, threads, seconds, measured["float32"], say)
    if plan.extras:
        result["own"] = own.entries(threads, plan, measured, say)
    if everything:
        result["steps"] = steps.entries(found, plan.step_calls, say) if plan.extras else []
        result["commands"] = command_entries(found, plan.commands, say)
    # Measured once more: a limit that something else disturbed would make the shares too good.
    for dtype, first in measured.items():
        measured[dtype] = first.or_better(limits.measure(threads, dtype, plan.limits))
        result["limits"][dtype] = measured[dtype].as_json()
    for entry in result["grid"] + result["own"]:
        if "floor" in entry:
            dtype = "float64" if entry["section"] == "float64" else "float32"
            batch, timesteps, input_dim, units = entry["shape"]
            problem = Problem(batch, timesteps, input_dim, units, dtype)
            entry["floor"], entry["limit"] = limits.floor(problem, measured[dtype], threads)
    return result
