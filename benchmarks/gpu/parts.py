"""The parts: what each is called, how long it may take, and what it runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from numba_lstm import machine
from numba_lstm.backends.cuda import nvidia, selection

ROOT = Path(__file__).parents[2]
PACKAGES = ("numba", "numba-cuda", "llvmlite", "numpy", "cuda-bindings", "cuda-core", "nvidia-nvvm", "torch")


class PartError(Exception):
    """A part that ended, and found something wrong: the text says what."""


@dataclass(frozen=True)
class Part:
    """One part."""

    work: Callable[[bool], Any] | str  # called with whether shapes are to be tiny; what it returns goes into the JSON
    seconds: float
    needs_gpu: bool = True

    def run(self, tiny: bool, path: Path) -> None:
        """Do it, and write what was found. Raises whatever goes wrong."""
        if self.needs_gpu and (problem := selection.problem()) is not None:
            raise problem
        work = self.work
        if isinstance(work, str):
            # Late: without numba's CUDA it cannot be imported, and the other parts are to run.
            module, _, name = work.partition(":")
            work = getattr(import_module(f"benchmarks.gpu.{module}"), name)
        path.write_text(json.dumps(work(tiny)), encoding="utf-8")


def machine_of(tiny: bool) -> dict[str, Any]:
    """Versions, the driver, the card and its clocks."""
    driver = nvidia.driver()
    asked = "name,driver_version,memory.total,clocks.max.sm,clocks.sm,clocks.max.memory,power.limit"
    smi = shutil.which("nvidia-smi")
    said = ""
    if smi:
        command = [smi, f"--query-gpu={asked}", "--format=csv,noheader"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.strip()
    return {
        "card": driver["devices"][0]["name"] if driver["devices"] else None,
        "driver": driver,
        "nvidia_smi": dict(zip(asked.split(","), map(str.strip, said.split("\n")[0].split(",")), strict=False)),
        "versions": machine.versions(PACKAGES),
        "cpu": machine.cpu(),
        "problem": None if (problem := selection.problem()) is None else str(problem),
    }


def tests(tiny: bool) -> dict[str, Any]:
    """The tests on a GPU and those of compiled kernels."""
    chosen = "gpu or cuda_compiler" if not tiny else "cuda_compiler and not slow"
    names = "test_gpu.py", "test_gpu_arrays.py", "kernels/test_cuda_compiled.py"
    files = [str(ROOT / "tests" / name) for name in names]
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "-m", f"({chosen}) and not slow"]
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    counts = {what: int(number) for number, what in re.findall(r"(\d+) (passed|failed|error|deselected)", ended.stdout)}
    if not counts.get("passed") or counts.get("failed") or counts.get("error"):
        failed = re.findall(r"(?m)^FAILED \S*/(\S+.*)$", ended.stdout)
        raise PartError(f"tests: {counts or 'none ran'} {' '.join(failed[:3])}".strip())
    return counts


def sanitizer(tiny: bool) -> dict[str, str]:
    """compute-sanitizer's memcheck and racecheck on a tiny sequence."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        raise PartError("compute-sanitizer is not installed; it comes with NVIDIA's CUDA toolkit")
    found = {}
    for check in ("memcheck", "racecheck"):
        command = [tool, "--tool", check, "--error-exitcode", "9", sys.executable, "-m", "benchmarks.gpu.bits"]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        said = (ended.stdout + ended.stderr).strip().splitlines()
        found[check] = said[-1] if said else "nothing was said"
        if ended.returncode:
            raise PartError(f"{check}: {found[check]}")
    return found


def cpu(tiny: bool) -> dict[str, Any]:
    """The CPU benchmark on this machine's cores, without other libraries."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cpu.json"
        threads = str(machine.cpu()["cpus"])
        plan = "--tiny" if tiny else "--quick"
        command = [sys.executable, "-m", "benchmarks", "measure", plan, "--peers", "", "--threads", threads]
        subprocess.run([*command, "-o", str(path)], cwd=ROOT, check=True, capture_output=True, text=True)
        grid: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["grid"]
    return {"threads": int(threads), "grid": [{key: e[key] for key in ("shape", "min", "median")} for e in grid]}


# The bits first, and what depends on the card alone last: there may not be time for everything.
PARTS = {
    "machine": Part(machine_of, 30, needs_gpu=False),
    "bits": Part("bits:compared", 60),
    "kernels": Part("kernels:measured", 130),
    "breakeven": Part("whole:breakeven", 60),
    "commands": Part("whole:commands", 90),
    "stages": Part("stages:measured", 60),
    "tests": Part(tests, 200),
    "small": Part("small:measured", 40),
    "sanitizer": Part(sanitizer, 60),
    "cpu": Part(cpu, 120, needs_gpu=False),
}
