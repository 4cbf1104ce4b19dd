"""A model made ready for runs, and the run of one reader's rows through it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from numba_lstm.backends.cpu import threads
from numba_lstm.backends.cuda import policy, selection
from numba_lstm.cell import LSTMCell
from numba_lstm.errors import Argument, ConfigError, Message, ShapeError
from numba_lstm.formats import load
from numba_lstm.layers import Dropout
from numba_lstm.layers.call import checked_precision, dtype_of
from numba_lstm.layers.layer import Layer
from numba_lstm.layers.recurrent import Recurrent
from numba_lstm.model import Sequential
from numba_lstm.runner.compute import ModelCompute
from numba_lstm.runner.notes import model_notes
from numba_lstm.runner.options import RunOptions
from numba_lstm.runner.pieces import InPieces
from numba_lstm.runner.plan import bytes_of_weights, bytes_to_come, chunks, need_of, rows_on_gpus, rows_per_chunk
from numba_lstm.runner.reader import FileReader
from numba_lstm.runner.stages import Compute, ComputeChunk, OneThread, Writer, drive
from numba_lstm.semantics.dialects import ROW_ACTIVATIONS
from numba_lstm.semantics.sizes import check_outputs, memory

if TYPE_CHECKING:
    from numba_lstm.runner.gpus import GpuWorkers

Path = str | os.PathLike[str]

# The share of memory for a row's inputs and outputs of one layer. There are copies of both, see `need_of`.
_SHARE = 0.4


class Engine:
    """A model ready for the runs that `options` describe. Use it in a ``with``: leaving it ends the threads and frees
    the memory on GPUs.
    """

    def __init__(self, model_or_path: Sequential | Path, options: RunOptions) -> None:
        self.device = selection.resolve(options.device)
        checked_precision(options.precision, "float32", self.device)
        if options.threads is not None:
            threads.set_num_threads(options.threads)
        if isinstance(model_or_path, Sequential):
            self.model = model_or_path
        else:
            self.model = load(model_or_path, config=options.config, dialect=options.dialect)
        if self.model.row_shape is None:
            raise ConfigError(f"{self.model.name} has no weights yet; expected a built model; call its build(...)")
        self.options = options
        self.precision = checked_precision(options.precision, self.model.dtype)
        if options.carry_state:
            self._check_carrying()
        self.rows_on_device: int | None = None  # rows that fitted into a GPU's memory, if a chunk did not
        self.seed: int | None = None
        if options.draws_masks:
            self.seed = secrets.randbits(64) if options.seed is None else options.seed
            self.model.reseed(self.seed)
        # Imported now, so that no run's time includes the import, which takes longer than many a run.
        import_module("numba_lstm.driver")
        self._gpu_workers: GpuWorkers | None = None
        self._pieces, self._compute = self._make_compute()

    def _check_carrying(self) -> None:
        """Raise `ConfigError` unless states can be carried from batch to batch."""
        if not self.model.stateful:
            text = f" is set, and no layer of {self.model.name} is stateful; leave it out"
            raise ConfigError(Message(Argument("carry_state"), text))
        if self.device != "cpu":
            text = f" is set on device {self.device!r}, for one batch follows another; use "
            raise ConfigError(Message(Argument("carry_state"), text, Argument("device", "cpu")))

    def _make_compute(self) -> tuple[InPieces, Compute]:
        options = self.options
        compute: ComputeChunk = ModelCompute(
            self.model,
            precision=self.precision,
            training=options.training,
            samples=options.mc_samples,
            time_major=options.time_major,
            last_only=options.last_only,
            return_state=options.final_state is not None,
            device=self.device,
            padded=options.lengths is not None,
            carry_state=options.carry_state,
        )
        if self.device == "cpu":
            pieces = InPieces(compute, time_major=options.time_major)
            return pieces, OneThread(pieces)
        from numba_lstm.runner.gpus import GpuWorkers  # late: they import numba's CUDA
        from numba_lstm.runner.memory_gate import MemoryGate

        for layer in self.model.layers:
            for cell in layer.cells if isinstance(layer, Recurrent) else ():
                cell.packed(self.precision)  # once, and not by several threads at a time
        pieces = InPieces(MemoryGate(compute), time_major=options.time_major)
        self._gpu_workers = GpuWorkers(pieces)
        return pieces, self._gpu_workers

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
            made_for=(self.model.timesteps, *(self.model.row_shape or ())[1:]),
            indices=self.model.takes_indices,
            adds=self.model.dialect != "tf1",
            state_size=2 * sum(self.model.state_units),
            dtype=dtype_of(self.precision),
            time_major=options.time_major,
            window=options.window,
            stride=options.stride,
            mask=mask,
            lengths=lengths,
            initial_state=initial_state,
            refuse_nan=options.on_nan == "error",
        )

    def run(
        self,
        reader: FileReader,
        writer: Writer,
        first: int,
        last: int,
        progress: Callable[[int], None] = lambda rows: None,
        *,
        doubles: bool = False,
    ) -> int:
        """Run rows first to last through the model; returns the number of rows of a chunk.

        Args:
            reader: the source of the rows.
            writer: the target of the results.
            first: the first row.
            last: one past the last row.
            progress: called with the number of rows written so far.
            doubles: whether the writer computes in float64, which counts for max_memory.
        """
        size = self._rows_of_chunk(reader, last - first, doubles)
        if self.options.carry_state:
            self._begin_carrying(reader, last - first, size)
        self._pieces.rows = None
        drive(reader, self._compute, writer, chunks(first, last, size), progress)
        if self._pieces.rows is not None:
            self.rows_on_device = min(self._pieces.rows, self.rows_on_device or size)
        return size

    def _begin_carrying(self, reader: FileReader, rows: int, size: int) -> None:
        batch = self.options.batch_rows or 0
        if rows % batch or size != batch:
            raise ShapeError(
                Message(
                    f"{reader.name} has {rows} rows; expected a multiple of ",
                    Argument("batch_rows", batch),
                    ", all of a batch at a time, where states are carried on",
                )
            )
        for layer in self.model.recurrent_layers:
            if layer.stateful:
                layer.forget_states()

    def _rows_of_chunk(self, reader: FileReader, rows: int, doubles: bool) -> int:
        options = self.options
        axes = (reader.timesteps, 1) if options.time_major else (1, reader.timesteps)
        row = (*axes, *(self.model.row_shape or ())[1:])
        check_outputs(self.model.layers, row, dtype_of(self.precision), _SHARE)
        need = need_of(
            self.model,
            reader.timesteps,
            dtype_of(self.precision),
            waiting=reader.row_bytes,
            doubles=options.mc_samples is not None or doubles,
            last_only=options.last_only,
        )
        given: dict[str, Any] = {"batch_rows": options.batch_rows, "max_memory": options.max_memory}
        given |= {"to_come": self._bytes_to_come(reader), "name": reader.name}
        workers = self._gpu_workers
        if workers is None:
            size = rows_per_chunk(rows, need.memory, **given)
            # Rows that are huge: as many as are in memory, even if the kernels would like more.
            return size if options.batch_rows else max(1, min(size, memory() // 2 // need.memory))
        free = workers.free_memory - bytes_of_weights(self.model, dtype_of(self.precision))
        usual = rows_on_gpus(rows, need, workers=workers.under_way, free=free, each=workers.each)
        return rows_per_chunk(rows, need.memory * workers.under_way, **given, usual=usual, in_use=workers.memory_in_use)

    def _bytes_to_come(self, reader: FileReader) -> int:
        if self.options.max_memory is None:
            return 0  # and no time spent on counting
        return bytes_to_come(self.model, dtype_of(self.precision)) + reader.held_bytes

    def device_notes(self) -> tuple[str, ...]:
        """The reason for the choice of device, and the kernels it runs."""
        if self.options.device == "auto":
            return (selection.NOT_MEASURED,)
        if self.device == "cpu":
            return ()
        dtype = dtype_of(self.precision)
        forced = selection.forced_tier()
        tiers = sorted({policy.tier_for(_shape_of(cell, dtype), forced).name for cell in self.model.cells})
        kernels = f"CUDA kernels: {', '.join(tiers)}; layers that are not recurrent: on the CPU"
        return (kernels, *([] if self._gpu_workers is None else self._gpu_workers.notes()))

    def notes(self) -> list[str]:
        """Notes on behaviour that may surprise: of how the model was read, and of the run."""
        model = self.model
        notes = [] if model.source is None else list(model.source.notes)
        notes += model_notes(model, self.options.carry_state)
        if self.options.mask is not None and (ending := _ends_the_mask(model)) is not None:
            notes.append(f"the mask that is given ends at {ending.name} ({type(ending).__name__}), as in Keras")
        rates = [rate for layer in model.layers for rate in _rates(layer)]
        if self.rows_on_device is not None:
            notes.append(f"the GPU's memory took {self.rows_on_device:,} rows at a time instead of a whole chunk")
        if self.options.draws_masks and not any(rates):
            notes.append("no layer has dropout, so training changes nothing")
        return notes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._compute.close()
        else:
            self._compute.cancel()


def _ends_the_mask(model: Sequential) -> Layer | None:
    """The first layer that drops the mask of its inputs, if a later layer would use the mask."""
    for layer in model.layers:
        if layer.takes_mask:
            return None
        if layer.makes_mask or not layer.supports_masking:
            return layer
    return None


def _rates(layer: Layer) -> list[float]:
    """The dropout rates of a layer."""
    if isinstance(layer, Recurrent):
        return [rate for cell in layer.cells for rate in (cell.dropout, cell.recurrent_dropout)]
    return [layer.rate] if isinstance(layer, Dropout) else []


def _shape_of(cell: LSTMCell, dtype: str) -> policy.CellShape:
    normalizes_row = not ROW_ACTIVATIONS.isdisjoint((cell.activation, cell.recurrent_activation))
    return policy.CellShape(cell.units, cell.input_dim or 0, dtype, normalizes_row)
