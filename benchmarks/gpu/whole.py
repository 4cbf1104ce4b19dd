"""From the user's side: whole commands in rows a second, and from which batch on a GPU pays."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import numba_lstm as nl
from benchmarks.gpu.bits import cell_of, inputs_of
from numba_lstm.backends.cpu import run as cpu
from numba_lstm.backends.cuda import run as cuda

# rows, timesteps, input_dim, units of a file
FILES = ((40_960, 100, 32, 64), (10_240, 100, 64, 128))
TINY_FILES = ((6, 2, 3, 4),)
# timesteps, input_dim, units, and batches for each
CELLS, BATCHES = ((100, 16, 16), (100, 32, 64), (100, 64, 128), (100, 256, 512)), (1, 8, 64, 512, 4096)
TINY_CELLS, TINY_BATCHES = ((2, 3, 4),), (1, 3)

OWN = "import sys; sys.argv[0] = 'numba-lstm'; from numba_lstm_cli.main import main; main()"
TORCH = """
import sys, time
import numpy as np
import torch
units, rows = int(sys.argv[1]), 4096
torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
x = np.load("x.npy", mmap_mode="r")
lstm = torch.nn.LSTM(x.shape[2], units, batch_first=True).cuda().eval()
with torch.inference_mode():
    lstm(torch.zeros(rows, *x.shape[1:], device="cuda"))
    torch.cuda.synchronize()
    started = time.perf_counter()
    y = np.lib.format.open_memmap("t.npy", "w+", np.float32, (*x.shape[:2], units))
    for first in range(0, len(x), rows):
        part = torch.from_numpy(np.array(x[first : first + rows])).pin_memory()
        y[first : first + rows] = lstm(part.cuda(non_blocking=True))[0].cpu().numpy()
    y.flush()
print(len(x) / (time.perf_counter() - started))
"""


def commands(tiny: bool) -> list[dict[str, Any]]:
    """Rows a second from .npy to .npy: `numba-lstm run` on both devices, and a torch script that does the same."""
    found = []
    for shape in TINY_FILES if tiny else FILES:
        rows, timesteps, input_dim, units = shape
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            np.save(folder / "x.npy", np.random.default_rng(1).random((rows, timesteps, input_dim), np.float32))
            model = nl.Sequential([nl.LSTM(units, return_sequences=True, seed=1)])
            model.build((None, None, input_dim))
            nl.save(model, folder / "model.npz")
            entry: dict[str, Any] = {"shape": shape}
            for kind, words in {
                "cuda": ["--device", "cuda"],
                "cuda, last only": ["--device", "cuda", "--last-only"],
                "cpu": ["--device", "cpu"],
            }.items():
                entry[kind] = _own(folder, words)
            same = (folder / "cuda.npy").read_bytes() == (folder / "cpu.npy").read_bytes()
            if not same:
                raise ValueError(f"{shape}: the outputs of the two devices differ")
            line = [sys.executable, "-c", TORCH, str(units)]
            ended = subprocess.run(line, cwd=folder, capture_output=True, text=True)
            entry["torch"] = float(ended.stdout) if ended.returncode == 0 else None
            found.append(entry)
    return found


def _own(folder: Path, words: list[str]) -> dict[str, float]:
    """Rows a second as the command counts them, and seconds of the whole process."""
    output = f"{words[1]}.npy" if len(words) == 2 else "last.npy"
    line = [sys.executable, "-c", OWN, "run", "model.npz", "x.npy", "-o", output, "--force", "--progress", "json"]
    started = time.perf_counter()
    ended = subprocess.run([*line, *words], cwd=folder, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if ended.returncode:
        raise ValueError(ended.stderr.strip().splitlines()[-1])
    done = json.loads(ended.stderr.strip().splitlines()[-1])
    return {"rows a second": done["rows_per_second"], "process, s": seconds}


def breakeven(tiny: bool) -> list[dict[str, Any]]:
    """Seconds of one call on each device, copies included: what device="auto" is to be decided by."""
    found = []
    for cell_shape in TINY_CELLS if tiny else CELLS:
        for batch in TINY_BATCHES if tiny else BATCHES:
            shape = (batch, *cell_shape)
            cell, given = cell_of(shape, "float32", 1), inputs_of(shape, "float32", 1)

            def on_cpu(cell: Any = cell, given: Any = given) -> None:
                cpu.sequence(cell, *given, return_sequences=True)

            def on_gpu(cell: Any = cell, given: Any = given) -> None:
                cuda.sequence(cell, *given, return_sequences=True)[0].copy_to_host()

            found.append({"shape": shape, "cpu": _median(on_cpu), "cuda": _median(on_gpu)})
    return found


def _median(call: Callable[[], None], seconds: float = 0.5) -> float:
    """The median of the calls that fit into so many seconds, three at least."""
    call()
    taken: list[float] = []
    while len(taken) < 3 or (sum(taken) < seconds and len(taken) < 30):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)
