"""A run over .npy files, from the model's file to the outputs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numba_lstm.formats import unfinished
from numba_lstm.kernels.working_time import clock
from numba_lstm.model import Sequential
from numba_lstm.runner.engine import Engine
from numba_lstm.runner.jobs import Job, plan_jobs
from numba_lstm.runner.nan import NanCounter
from numba_lstm.runner.options import RunOptions
from numba_lstm.runner.plan import row_range
from numba_lstm.runner.reader import FileReader
from numba_lstm.runner.writer import FileWriter


@dataclass(frozen=True)
class RunReport:
    """The summary of a run."""

    rows: int
    timesteps: tuple[int, int]  # of the shortest and the longest rows
    seconds: float  # from the first row read to the last one written
    device: str
    device_notes: tuple[str, ...]  # the reason for the choice, and the kernels
    precision: str
    dialect: str
    seed: int | None  # of the dropout masks, where any were drawn
    outputs: dict[str, tuple[int, ...]]  # the files written, in order, and the shapes they hold
    origin: str  # how the model was read, where it was
    notes: tuple[str, ...]  # assumptions about the model, and casts of the inputs
    chunk_rows: int  # rows at a time, in the largest chunk
    nan_rows: tuple[int, int] = (0, 0)  # how many have a NaN: in the inputs, in a step that counts; in the outputs

    @property
    def rows_per_second(self) -> float:
        """Rows over seconds."""
        return self.rows / max(self.seconds, 1e-9)


def run_npy(
    model_or_path: Sequential | str | os.PathLike[str],
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    **options: Any,
) -> RunReport:
    """Run a model over .npy files: what the command ``numba-lstm run`` does.

    `inputs` is a file of (batch, timesteps, input_dim) or one record (timesteps, input_dim), floats, integers or bool;
    the model's outputs for each row go to the file `output`. The outputs of several files, or of a folder, go to a
    folder. `options` are the fields of `RunOptions`. An output appears when it is whole; an existing one is replaced
    only with ``force=True``. Raises a `NumbaLSTMError` or an `OSError`, and then leaves no output.
    """
    settings = RunOptions(**options)
    model = None if isinstance(model_or_path, Sequential) else model_or_path
    jobs, folders = plan_jobs(inputs, output, settings, model)
    with Engine(model_or_path, settings) as engine, _folders(folders):
        return _run(engine, jobs, settings)


@dataclass
class _Tally:
    """The counts and notes of a run so far."""

    rows: int = 0
    shortest: int = 2**63
    longest: int = 0
    chunk_rows: int = 0
    nan_in: int = 0  # rows with one
    nan_out: int = 0
    outputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    conversions: list[str] = field(default_factory=list)
    arrangements: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """Notes on casts and changed shapes: the first of each kind in full, the others counted."""
        notes = []
        for lines, what in ((self.conversions, "cast"), (self.arrangements, "arranged so")):
            others = len(lines) - 1
            notes += [*lines[:1], *([f"{others} more inputs {what}"] if others > 0 else [])]
        return notes


def _run(engine: Engine, jobs: Sequence[Job], options: RunOptions) -> RunReport:
    tally = _Tally()
    source = engine.model.source
    total = 0
    for job in jobs:  # all of them before the first row is computed
        with _reader(engine, job) as reader:
            first, last = _range(reader, options)
            total += last - first
    if options.progress is not None:
        options.progress(0, total)
    begin = clock()
    for job in jobs:
        _run_job(engine, job, options, tally, total)
    return RunReport(
        rows=tally.rows,
        timesteps=(min(tally.shortest, tally.longest), tally.longest),
        seconds=clock() - begin,
        device=engine.device,
        device_notes=engine.device_notes(),
        precision=engine.precision,
        dialect=engine.model.dialect,
        seed=engine.seed,
        outputs=tally.outputs,
        origin="" if source is None else f"{source.format}, {source.producer}; dialect from: {source.dialect_from}",
        notes=(*engine.notes(), *tally.notes()),
        chunk_rows=tally.chunk_rows,
        nan_rows=(tally.nan_in, tally.nan_out),
    )


def _reader(engine: Engine, job: Job) -> FileReader:
    return engine.reader(job.input, mask=job.mask, lengths=job.lengths, initial_state=job.initial_state)


def _range(reader: FileReader, options: RunOptions) -> tuple[int, int]:
    """The rows to compute; if a record of a batch makes several rows, options.rows counts records."""
    first, last = row_range(options.rows, reader.rows // reader.rows_each, reader.name)
    return first * reader.rows_each, last * reader.rows_each


def _run_job(engine: Engine, job: Job, options: RunOptions, tally: _Tally, total: int) -> None:
    before = tally.rows

    def progress(rows: int) -> None:
        tally.rows = before + rows
        if options.progress is not None:
            options.progress(tally.rows, total)

    with _reader(engine, job) as reader:
        first, last = _range(reader, options)
        writer = FileWriter(
            job.outputs,
            job.final_state,
            rows=last - first,
            leading=reader.leading(last - first),
            time_major=options.time_major,
            refuse_nan=options.on_nan == "error",
            replace=options.force,
        )
        counter = NanCounter(writer, options.time_major)
        size = engine.run(reader, counter, first, last, progress)
        tally.nan_in += reader.nan_rows
        tally.nan_out += counter.rows
        tally.chunk_rows = max(tally.chunk_rows, size)
        tally.shortest = min(tally.shortest, reader.timesteps)
        tally.longest = max(tally.longest, reader.timesteps)
        tally.outputs.update(writer.shapes)
        if line := reader.conversion():
            tally.conversions.append(line)
        if line := reader.arrangement():
            tally.arrangements.append(line)


@contextmanager
def _folders(folders: Sequence[Path]) -> Iterator[None]:
    """Make missing folders; a failed run leaves no empty one."""
    made = [folder for folder in folders if not folder.exists()]
    try:
        for folder in made:
            unfinished.begin_folder(folder)
        yield
    except BaseException:
        for folder in made:
            unfinished.remove(folder)  # unless it holds whole outputs of the files before
            unfinished.drop(folder)
        raise
    for folder in made:
        unfinished.drop(folder)
