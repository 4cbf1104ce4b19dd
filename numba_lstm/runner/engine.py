"""A model made ready for runs, and the run of one reader's rows through it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from numba_lstm.errors import ConfigError
from numba_lstm.runner.compute import CpuCompute
from numba_lstm.runner.options import RunOptions
from numba_lstm.runner.plan import bytes_per_row, bytes_to_come, chunks, rows_per_chunk
from numba_lstm.runner.reader import FileReader
from numba_lstm.runner.stages import Writer, drive

if TYPE_CHECKING:
    from numba_lstm.model import Sequential

Path = str | os.PathLike[str]


class Engine:
    """A model that is ready for the runs that `options` ask for."""

    def __init__(self, model_or_path: Sequential | Path, options: RunOptions) -> None:
        from numba_lstm import threads
        from numba_lstm.layers.call import check_device, compute_dtype
        from numba_lstm.model import Sequential

        check_device(options.device)
        compute_dtype(options.precision, "float32")
        if options.threads is not None:
            threads.set_num_threads(options.threads)
        if isinstance(model_or_path, Sequential):
            self.model = model_or_path
        else:
            from numba_lstm.formats import load

            self.model = load(model_or_path, config=options.config, dialect=options.dialect)
        if self.model.input_shape is None:
            raise ConfigError(f"{self.model.name} has no weights yet; expected a built model; call its build(...)")
        self.options = options
        self.precision = compute_dtype(options.precision, self.model.dtype)
        self.seed: int | None = None
        if options.draws_masks:
            self.seed = secrets.randbits(64) if options.seed is None else options.seed
            self.model.reseed(self.seed)
        # Now, for importing numba takes longer than many a run: it is to be counted in none.
        import_module("numba_lstm.driver")

    def reader(
        self,
        path: Path,
        *,
        mask: Path | None,
        lengths: Path | None,
        initial_state: Path | None,
    ) -> FileReader:
        """The reader of one input file."""
        options = self.options
        return FileReader(
            path,
            input_dim=None if self.model.takes_indices else self.model.input_dim,
            state_size=2 * sum(self.model.state_units),
            dtype=self.precision,
            time_major=options.time_major,
            window=options.window,
            stride=options.stride,
            mask=mask,
            lengths=lengths,
            initial_state=initial_state,
            refuse_nan=options.on_nan == "error",
        )

    def run(self, reader: FileReader, writer: Writer, first: int, last: int, progress: Callable[[int], None]) -> int:
        """Rows first to last through the model; returns how many a chunk had."""
        options = self.options
        row_bytes = bytes_per_row(
            self.model,
            reader.timesteps,
            self.precision,
            waiting=reader.row_bytes,
            samples=options.mc_samples is not None,
            last_only=options.last_only,
        )
        size = rows_per_chunk(
            last - first,
            row_bytes,
            batch_rows=options.batch_rows,
            max_memory=options.max_memory,
            to_come=0 if options.max_memory is None else bytes_to_come(self.model, self.precision),
            name=reader.name,
        )
        compute = CpuCompute(
            self.model,
            precision=self.precision,
            training=options.training,
            samples=options.mc_samples,
            time_major=options.time_major,
            last_only=options.last_only,
            return_state=options.final_state is not None,
        )
        drive(reader, compute, writer, chunks(first, last, size), progress)
        return size
