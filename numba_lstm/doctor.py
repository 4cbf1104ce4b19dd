"""The findings of ``numba-lstm doctor`` as plain data: which parts work on this machine."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from numba_lstm import __version__, machine
from numba_lstm.backends.cpu import threads
from numba_lstm.backends.cuda import nvidia, selection
from numba_lstm.errors import ConfigError
from numba_lstm.kernel_cache import kernel_files, report

PACKAGES = ("numba", "llvmlite", "numpy", "scipy", "click")
# Extras for people who work on the package, and the one that is all others.
_NOT_FOR_USERS = ("all", "dev", "test")


def diagnose(check: bool = True) -> dict[str, Any]:
    """All findings. ``check`` also runs a small layer, which compiles its kernels unless they are cached."""
    kernel_files.already_logged("folder")  # "cache" below reports it
    kernels, threads_found = _kernels(), _threads()
    can_run = not (kernels["problem"] or threads_found["problem"])
    return {
        "version": __version__,
        "folder": str(Path(__file__).parent),
        "versions": machine.versions(PACKAGES),
        "system": f"{sys.platform} {platform.machine()}",
        "cpu": machine.cpu(),
        "kernels": kernels,
        "check": _check() if check and can_run else None,
        "threads": threads_found,
        "cache": report.info(),
        "cuda": _cuda(),
        "extras": _extras(),
        "variables": {name: value for name, value in sorted(os.environ.items()) if name.startswith("NUMBA_")},
    }


def _kernels() -> dict[str, Any]:
    """The target that numba compiles for. "same_bits": whether equal bits are guaranteed; else "why_not"."""
    found: dict[str, Any] = {"problem": None, "target": None, "vector_bits": None, "fma": None, "same_bits": False}
    try:
        import numba
        from numba.core.registry import cpu_target

        from numba_lstm.kernels import target
    except ImportError as error:  # such as a numba that refuses the NumPy beside it
        return found | {"problem": f"numba cannot be imported: {error}", "why_not": "numba cannot be imported"}
    triple, name, features = cpu_target.target_context.codegen().magic_tuple()
    fma = "+fma" in features.split(",") or triple.startswith(("aarch64", "arm64"))
    why_not = None if fma else f"{name} has no fused multiply-add"
    if numba.config.DISABLE_JIT:
        why_not = "NUMBA_DISABLE_JIT is set, which is for debugging: nothing is compiled"
    found |= {"target": name, "vector_bits": target.VECTOR_BITS, "fma": fma}
    return found | {"same_bits": why_not is None, "why_not": why_not}


def _check() -> dict[str, Any]:
    """A small layer over three rows: together, each alone, and step by step; beside float64 in plain NumPy."""
    from numba_lstm import LSTM, Sequential
    from numba_lstm.bench.problem import Problem

    problem = Problem(batch=3, timesteps=20, input_dim=4, units=16)
    weights, x = problem.weights, problem.x
    start = time.perf_counter()
    model = Sequential([LSTM(problem.units, recurrent_activation="sigmoid", return_sequences=True)])
    model.build((None, None, problem.input_dim))
    model.set_weights([weights.kernel, weights.recurrent_kernel, weights.bias])
    together = model.predict(x)
    alone = [model.predict(x[row : row + 1])[0] for row in range(problem.batch)]
    session = model.session()
    steps = [session.step(x_t) for x_t in x[0]]
    return {
        "error": float(np.abs(together - problem.truth).max()),
        "same_bits": np.array_equal(together, alone) and np.array_equal(together[0], steps),
        "seconds": time.perf_counter() - start,
    }


def _threads() -> dict[str, Any]:
    """The number of threads and its origin: NUMBA_LSTM_NUM_THREADS, or the CPUs that this process may run on."""
    found: dict[str, Any] = {"number": None, "problem": None, "quota": machine.cpu_time()}
    found["from"] = "NUMBA_LSTM_NUM_THREADS" if os.environ.get("NUMBA_LSTM_NUM_THREADS") else "CPUs"
    try:
        found["number"] = threads.get_num_threads()
    except ConfigError as error:
        found["problem"] = str(error)
    return found


def _cuda() -> dict[str, Any]:
    """The driver, its devices and numba-cuda. "usable": whether this version computes there; else "missing"."""
    found = {**nvidia.driver(), "package": machine.versions(["numba-cuda"]).get("numba-cuda")}
    missing = [found["problem"]] if found["problem"] else []
    if found["package"] is None:
        missing.append("numba-cuda is not installed: pip install 'numba_lstm[cuda]'")
    if not missing and (error := selection.problem()) is not None:
        missing.append(str(error))
    return found | {"usable": not missing, "missing": missing, **selection.report()}


def _extras() -> dict[str, dict[str, str | None]]:
    """Each extra's packages and their installed versions, None for packages that are not installed."""
    asked = {name: each for name, each in machine.extras("numba_lstm").items() if name not in _NOT_FOR_USERS}
    return {name: {one: machine.versions([one]).get(one) for one in each} for name, each in asked.items()}
