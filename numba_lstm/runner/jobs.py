"""The output path of each input, decided and checked before anything is computed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from numba_lstm.errors import Argument, ConfigError, FileFormatError, Message, OutputExistsError
from numba_lstm.runner.options import RunOptions

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Job:
    """One input file, and the paths that belong to it."""

    input: Path
    output: Path
    deviation: Path | None  # of mc_samples: the standard deviation
    mask: Path | None
    lengths: Path | None
    initial_state: Path | None
    final_state: Path | None

    @property
    def outputs(self) -> list[Path]:
        """The files that receive the compute stage's outputs."""
        return [self.output] if self.deviation is None else [self.output, self.deviation]

    @property
    def written(self) -> list[Path]:
        """All files that the job writes."""
        return self.outputs if self.final_state is None else [*self.outputs, self.final_state]

    @property
    def read(self) -> list[Path]:
        """All files that the job reads."""
        return [path for path in (self.input, self.mask, self.lengths, self.initial_state) if path is not None]


def deviation_path(output: Path) -> Path:
    """The path of the standard deviation: y.npy -> y.std.npy."""
    return output.with_name(f"{output.stem}.std{output.suffix}")


def plan_jobs(
    inputs: AnyPath | Sequence[AnyPath], output: AnyPath, options: RunOptions, model: AnyPath | None = None
) -> tuple[list[Job], list[Path]]:
    """The jobs of a run, and the output folders, which may have to be made.

    `model` is the model's file, if it comes from one.

    Several inputs, or a folder of them, go to a folder under their own names; then mask, lengths and states are folders
    of files with these names too. Raises `ConfigError`, `FileFormatError`, `OutputExistsError`, `OSError`.
    """
    given = [Path(inputs)] if isinstance(inputs, str | os.PathLike) else [Path(path) for path in inputs]
    files = [file for path in given for file in (_files_in(path) if path.is_dir() else [path])]
    target = Path(output)
    several = len(given) != 1 or given[0].is_dir()
    if several and target.exists() and not target.is_dir():
        raise FileFormatError(f"{target} is a file; expected a folder, because there are several inputs")
    folder = target if several or target.is_dir() else None
    names: dict[str, Path] = {}
    for file in files:
        if names.setdefault(file.name, file) is not file:
            raise ConfigError(
                f"{names[file.name]} and {file} would both be written to {target / file.name}; rename one"
            )
    jobs = [_job(file, target if folder is None else folder / file.name, several, options) for file in files]
    sources = [path for job in jobs for path in job.read]
    check_unread([path for job in jobs for path in job.written], [*sources, model, options.config])
    for job in jobs:
        _check(job, options.force, several)
    _check_distinct(jobs)
    final_states = [] if options.final_state is None else [Path(options.final_state)]
    return jobs, [target, *final_states] if several else []


def _files_in(folder: Path) -> list[Path]:
    files = sorted(file for file in folder.glob("*.npy") if not file.name.startswith("."))
    if not files:
        raise FileFormatError(f"{folder} holds no .npy files; expected some, or the name of a file")
    return files


def _job(file: Path, output: Path, several: bool, options: RunOptions) -> Job:
    def beside(path: AnyPath | None) -> Path | None:
        if path is None:
            return None
        return Path(path) / file.name if several else Path(path)

    return Job(
        input=file,
        output=output,
        deviation=None if options.mc_samples is None else deviation_path(output),
        mask=beside(options.mask),
        lengths=beside(options.lengths),
        initial_state=beside(options.initial_state),
        final_state=beside(options.final_state),
    )


def _check(job: Job, force: bool, several: bool) -> None:
    for path in job.written:
        if path.suffix != ".npy":
            raise ConfigError(f"output {path} does not end in .npy, the format that is written; name it {path}.npy")
        if not several and not path.parent.is_dir():
            raise OSError(errno.ENOENT, "no such folder to write to; make it first", str(path.parent))
        if not force:
            check_absent(path)


def check_unread(written: Iterable[AnyPath], read: Iterable[AnyPath | None]) -> None:
    """Raise `ConfigError` if a file to be written is also read, under any name or link."""
    sources = {key for path in read if path is not None for key in _keys(path)}
    for path in written:
        if not sources.isdisjoint(_keys(path)):
            raise ConfigError(f"output {os.fspath(path)} is also read by this run; name another file")


def _check_distinct(jobs: Sequence[Job]) -> None:
    seen: dict[str, Path] = {}
    for job in jobs:
        for path in job.written:
            other = seen.setdefault(os.path.realpath(path), path)
            if other is path:
                continue
            if path == job.final_state and other in job.outputs:
                raise ConfigError(f"{job.final_state} is both output and final state; name two files")
            raise ConfigError(f"two outputs of this run would both be written to {path}; rename one")


def _keys(path: AnyPath) -> list[object]:
    """The identity of a file: its name without links and, if it exists, its device and inode."""
    keys: list[object] = [os.path.realpath(path)]
    with suppress(OSError):
        found = os.stat(path)
        keys += [(found.st_dev, found.st_ino)] if found.st_ino else []
    return keys


def check_absent(path: AnyPath) -> None:
    """Raise `OutputExistsError` if there is anything at `path`."""
    if os.path.lexists(path):
        raise OutputExistsError(Message(f"{os.fspath(path)} exists; use ", Argument("force", True), " to replace it"))
