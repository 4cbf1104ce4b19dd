"""Models run in every way once, so that all machine code they need is compiled and in the cache.

``python -m numba_lstm.runner.warmup`` is a process of its own: the folder and the CPU are chosen by its environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from numba_lstm.backends.cpu import policy
from numba_lstm.errors import ConfigError, FileFormatError, NumbaLSTMError
from numba_lstm.kernel_cache import cache_folder

# LLVM's names for the features of the levels of x86-64. Those below have no FMA, and with it the promise of equal bits.
_X86_64 = {"64bit", "cmov", "cx8", "fxsr", "mmx", "sse", "sse2"}
_X86_64_V2 = _X86_64 | {"cx16", "sahf", "popcnt", "sse3", "ssse3", "sse4.1", "sse4.2"}
_X86_64_V3 = _X86_64_V2 | {"avx", "avx2", "bmi", "bmi2", "crc32", "f16c", "fma", "lzcnt", "movbe", "xsave"}
CPUS = {
    "x86-64-v3": _X86_64_V3,
    "x86-64-v4": _X86_64_V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}
PACKAGE = "package"


def build(
    models: Sequence[str | os.PathLike[str]], every: bool = False, cpu: str = "native", into: str | None = None
) -> dict[str, Any]:
    """Compile all that these models need, or with ``every`` all kernels there are, and put it into the cache.

    cpu: "native", or one of CPUS, for a cache that other machines use too. into: a folder, or "package" for the one
    inside the installed package; None for the user's. Others can read the folder then. Returns the number of kernels
    that are there and their bytes. Raises `ConfigError` for a CPU that this machine's cannot stand in for, and
    `FileFormatError` where a model or the folder cannot be used.
    """
    environment = dict(os.environ)
    if into is not None:
        folder = cache_folder.IN_PACKAGE if into == PACKAGE else Path(into).absolute()
        environment[cache_folder.VARIABLE] = str(folder)
    if cpu != "native":
        if cpu not in CPUS:
            raise ConfigError(f"cpu is {cpu!r}; expected native or one of {', '.join(CPUS)}")
        from numba_lstm.kernel_cache.loader import host_features  # late: it imports llvmlite

        if missing := sorted(CPUS[cpu] - host_features()):
            raise ConfigError(f"cpu is {cpu!r}, and this machine's has no {', '.join(missing)}; build on one that has")
        features = ",".join(f"+{name}" for name in sorted(CPUS[cpu]))
        environment |= {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features}
    environment.pop("NUMBA_DISABLE_JIT", None)
    task = json.dumps({"models": [os.fspath(model) for model in models], "every": every, "chosen": cpu != "native"})
    command = [sys.executable, "-m", "numba_lstm.runner.warmup", task]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    answer = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 and done.stdout else {}
    if not answer or answer.get("problem"):
        reason = answer.get("problem") or (done.stderr.strip().splitlines() or ["it ended early"])[-1]
        raise FileFormatError(f"the cache cannot be built: {reason}")
    if into is not None:
        for path in (folder, folder / answer["version"]):
            path.chmod(0o755)
    return {name: answer[name] for name in ("folder", "kernels", "bytes")}


def warm_up(model: Any, precision: str | None = None) -> None:
    """Run a built model in every way that compiles code of its own; precision: as in `Sequential.predict`."""
    timesteps = model.timesteps or 8
    row = (timesteps, *(size or 1 for size in (model.row_shape or (None, 1))[1:]))
    for rows in 1, 13:  # the kernels of few rows and of many
        x = np.zeros((rows, timesteps) if model.takes_indices else (rows, *row), model.dtype)
        for way in _ways(model, x.swapaxes(0, 1) if model.time_major else x, rows, timesteps, precision):
            with suppress(NumbaLSTMError):  # one that this model does not have
                way()
    for rows in (1, 3) if precision is None else ():
        with suppress(NumbaLSTMError):
            model.session(rows).step(np.zeros((rows, *row[1:]), model.dtype))
    model.reset_states()


def _ways(model: Any, x: Any, rows: int, timesteps: int, precision: str | None) -> Iterator[Callable[[], Any]]:
    options = {"device": "cpu", "precision": precision}
    yield lambda: model.predict(x, **options)
    yield lambda: model.predict(x, lengths=np.arange(rows) % timesteps, **options)
    yield lambda: model(x, training=True, **options)
    if rows == 1:
        record = np.zeros((timesteps + 40, *x.shape[2:]), model.dtype)
        yield lambda: model.predict(record, window=timesteps, **options)
    if rows == 1 and max(model.state_units, default=0) >= policy.LEAST_UNITS_OF_TWO:
        # A multiplication or more for each parameter and timestep: work enough for two threads to share the units.
        steps = 2 * policy.WORK_OF_TWO // model.count_params() + 1
        long = np.zeros((1, steps, *x.shape[2:]), model.dtype)
        yield lambda: model.predict(long, **options)
        yield lambda: model.predict(long, lengths=[steps], **options)


def _every_model() -> Iterator[tuple[Any, str | None]]:
    """Small models, with precisions, that need all kernels there are for built-in activations."""
    from numba_lstm.layers import LSTM, Dense, LayerNormalization
    from numba_lstm.model import Sequential

    for dtype in "float32", "float64":
        options: dict[str, Any] = {"dialect": "keras3", "dtype": dtype}
        # In registers, common, rare, and over all units; each alone and with dense layers that have the same.
        for activation in "tanh", "relu", "gelu", "softmax":
            lstm = LSTM(100, activation, return_sequences=True, dropout=0.1, recurrent_dropout=0.1, **options)
            for heads in (), (activation,), ("softmax",), ("relu", "gelu"):
                layers = [lstm, *(Dense(3, head, **options) for head in heads), LayerNormalization(**options)]
                model = Sequential(layers if len(heads) > 1 else layers[:-1])
                model.build((None, None, 4))
                yield model, None
            if dtype == "float32":
                yield model, "bf16"


def _main(task: dict[str, Any]) -> dict[str, Any]:
    from numba_lstm.formats import load
    from numba_lstm.kernel_cache import kernel_files, report
    from numba_lstm.kernels import target

    found = report.info()
    if found["problem"] or not found["writable"]:
        return {"problem": found["problem"] or f"{found['folder']} cannot be written"}
    models = [(load(path), None) for path in task["models"]]
    if task["chosen"]:
        kernel_files.choose_features(target.FEATURES)
    for model, precision in chain(models, _every_model() if task["every"] else ()):
        warm_up(model, precision)
    return report.info() | {"version": cache_folder.source_stamp()}


if __name__ == "__main__":
    try:
        answer = _main(json.loads(sys.argv[1]))
    except NumbaLSTMError as error:
        answer = {"problem": str(error)}
    print(json.dumps(answer))
