"""The stages of a run on a GPU, each by itself, and whole runs, in which they overlap: from .npy to .npy."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import numba_lstm as nl
from numba_lstm.backends.cuda.pinned import PinnedMemory, WorkerStream
from numba_lstm.backends.cuda.run import prepare
from numba_lstm.runner import run_npy
from numba_lstm.runner.reader import FileReader
from numba_lstm.runner.stages import Result
from numba_lstm.runner.writer import FileWriter

# rows, timesteps, input_dim, units of a file, and the rows of a chunk
FILES, CHUNKS = ((40_960, 100, 32, 64), (10_240, 100, 64, 128)), (1024, 4096, 16_384)
TINY_FILES, TINY_CHUNKS = ((6, 2, 3, 4),), (2, 3)
TIMES = 3


def measured(tiny: bool) -> list[dict[str, Any]]:
    """Rows a second: of each stage alone, of runs by the rows of their chunks, and of those with the last output only.

    share: of the slowest stage's rows a second, what a run with chunks of the default size reaches.
    """
    found = []
    for shape in TINY_FILES if tiny else FILES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            rows, timesteps, input_dim, units = shape
            np.save(folder / "x.npy", np.random.default_rng(1).random((rows, timesteps, input_dim), np.float32))
            model = nl.Sequential([nl.LSTM(units, return_sequences=True, seed=1)])
            model.build((None, None, input_dim))
            whole, chunk_rows = run(model, folder)
            stages = alone(model, folder, chunk_rows)
            chunks = {str(size): run(model, folder, batch_rows=size)[0] for size in (TINY_CHUNKS if tiny else CHUNKS)}
            last, _ = run(model, folder, last_only=True)
        entry = {"shape": shape, "chunk": chunk_rows, "stages": stages, "run": whole, "chunks": chunks, "last": last}
        found.append({**entry, "share": whole / min(stages.values())})
    return found


def run(model: nl.Sequential, folder: Path, **options: Any) -> tuple[float, int]:
    """Rows a second of the best of a few runs, after one that compiled the kernels; and the rows of a chunk."""
    reports = [
        run_npy(model, folder / "x.npy", folder / "y.npy", device="cuda", force=True, **options)
        for _ in range(TIMES + 1)
    ]
    return max(report.rows_per_second for report in reports[1:]), reports[0].chunk_rows


def alone(model: nl.Sequential, folder: Path, chunk_rows: int) -> dict[str, float]:
    """Rows a second of each stage while nothing else is done, in chunks of so many rows."""
    pinned = PinnedMemory(0)
    stream = WorkerStream(0, pinned, [])
    cell = model.recurrent_layers[0].cells[0]
    settings: dict[str, Any] = {"made_for": (None, cell.input_dim), "state_size": 2 * cell.units, "dtype": "float32"}
    with FileReader(folder / "x.npy", **settings) as reader:
        rows = reader.rows
        starts = range(0, rows, chunk_rows)

        def read() -> None:
            for start in starts:
                reader.read(start, min(start + chunk_rows, rows), pinned.empty)

        inputs = reader.read(0, min(chunk_rows, rows), pinned.empty).inputs
        batch, timesteps = inputs.shape[:2]
        states = (np.zeros((batch, cell.units), np.float32) for _ in "hc")
        job = prepare(stream, cell.packed("float32"), inputs, *states, return_sequences=True)
        outputs = stream.host_array((batch, timesteps, cell.units), np.dtype(np.float32))
        job.start()
        stream.download(job.outputs.memory, outputs)

        def upload() -> None:
            stream.upload(inputs)
            stream.synchronize()

        def kernel() -> None:
            job.start()
            stream.synchronize()

        def download() -> None:
            stream.download(job.outputs.memory, outputs)

        def write() -> None:
            writer = FileWriter([folder / "written.npy"], None, rows=rows, replace=True)
            for start in starts:
                stop = min(start + chunk_rows, rows)
                writer.write(Result(start, stop, (outputs[: stop - start],), None))
            writer.commit()

        found = {name: batch / least(stage) for name, stage in _named(upload, kernel, download).items()}
        return {"read": rows / least(read), **found, "write": rows / least(write)}


def _named(*stages: Callable[[], None]) -> dict[str, Callable[[], None]]:
    return {stage.__name__: stage for stage in stages}


def least(stage: Callable[[], None]) -> float:
    """The least seconds of a few calls, after one that is not counted."""
    taken = []
    for _ in range(TIMES + 1):
        started = time.perf_counter()
        stage()
        taken.append(time.perf_counter() - started)
    return min(taken[1:])
