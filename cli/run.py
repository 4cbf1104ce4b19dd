"""numba-lstm run: a model over .npy files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from . import terminal
from .options import FILE, SEED, chunk_options, count, data_options, in_options, model_options, rows_option, settled
from .progress import progress_for

if TYPE_CHECKING:
    from numba_lstm.runner import RunReport


@click.command(short_help="Run a model over .npy files.")
@click.argument("model", type=FILE)
@click.argument("inputs", metavar="INPUT...", type=FILE, nargs=-1, required=True)
@click.option("-o", "--output", type=FILE, required=True, metavar="OUTPUT", help=".npy; a folder for several inputs.")
@model_options
@data_options
@click.option("--final-state", type=FILE, metavar="FILE", help="Write the last states, as --initial-state takes them.")
@click.option("--training", is_flag=True, help="Apply dropout, as in training.")
@click.option(
    "--seed", type=SEED, metavar="N", help="Seed of the dropout masks; by default a new one, which is printed."
)
@click.option(
    "--mc-samples",
    type=click.IntRange(2),
    metavar="N",
    help="Draw the dropout masks N times: OUTPUT.npy holds the mean, OUTPUT.std.npy the standard deviation.",
)
@rows_option
@chunk_options
@click.option("--force", is_flag=True, help="Replace existing outputs; they keep their modes.")
@click.option(
    "--on-nan",
    type=click.Choice(("keep", "error")),
    default="keep",
    show_default=True,
    help="NaN in input or output: let them pass and count their rows, or end with an error and no output.",
)
@click.option(
    "--progress",
    type=click.Choice(("auto", "none", "json")),
    default="auto",
    show_default=True,
    help="On stderr: a bar on terminals for long runs, nothing, or JSON lines.",
)
@click.option("--verbose", is_flag=True, help="Also report how the model was read and how the rows were cut.")
def run(model: str, inputs: tuple[str, ...], output: str, progress: str, verbose: bool, **options: Any) -> None:
    """Run MODEL over INPUT and write its outputs.

    INPUT is .npy: (batch, timesteps, input_dim), or one record (timesteps, input_dim) whose output then has no batch
    axis either. Floats, integers and bool are cast to the model's dtype. A model that begins with an Embedding takes
    indices (batch, timesteps), and one with a single feature takes (batch, timesteps), too. Several INPUTs, or a
    folder, go to a folder under their own names; --mask, --lengths, --initial-state and --final-state are then folders
    of files with these names.

    OUTPUT appears when it is whole, and replaces nothing without --force. One line on stderr sums up
    the run.

    \b
    Examples, in a clone of the repository:
      numba-lstm run data/digits/model.h5 data/digits/x.npy -o y.npy
      numba-lstm run data/sunspots/model.h5 data/sunspots/record.npy --window 22 -o forecasts.npy
    """
    from numba_lstm.runner import run_npy

    from .notices import show_notices

    show_notices(as_json=progress == "json")
    options = settled(options)
    shown = progress_for(progress)
    try:
        report = run_npy(model, inputs[0] if len(inputs) == 1 else inputs, output, progress=shown, **options)
    finally:
        if shown:
            shown.clear()
    for line in [as_json(report)] if progress == "json" else lines(report, verbose):
        terminal.note(line)


def lines(report: RunReport, verbose: bool = False) -> list[str]:
    """The summary of a run, in one line; with `verbose`, more lines before it."""
    shortest, longest = report.timesteps
    steps = count(longest, "timestep") if shortest == longest else f"{shortest:,} to {longest:,} timesteps"
    seed = "" if report.seed is None else f", seed {report.seed}"
    first = (
        f"{count(report.rows, 'row')} of {steps} in {report.seconds:.3g} s ({_rate(report.rows_per_second)} rows/s) "
        f"on {report.device} in {report.precision}, dialect {report.dialect}{seed} -> {_written(report)}"
    )
    if any(report.nan_rows):
        found, made = report.nan_rows
        first += f"; NaN in {count(found, 'row')} of the inputs and {count(made, 'row')} of the outputs"
    if not verbose:
        return ["; ".join([first, *map(in_options, report.notes)])]
    chunks = f"up to {count(report.chunk_rows, 'row')} at a time"
    files = [f"wrote {path} {shape}" for path, shape in report.outputs.items()]
    notes = map(in_options, (*report.notes, *report.device_notes))
    return [report.origin, *notes, chunks, *files, first]


def _rate(rows_per_second: float) -> str:
    return f"{rows_per_second:,.0f}" if rows_per_second >= 10 else f"{rows_per_second:.2g}"


def _written(report: RunReport) -> str:
    paths = list(report.outputs)
    return paths[0] if len(paths) == 1 else f"{len(paths)} files"


def as_json(report: RunReport) -> str:
    """The same as a JSON object in one line."""
    return json.dumps(
        {
            "event": "done",
            "rows": report.rows,
            "timesteps": list(report.timesteps),
            "seconds": round(report.seconds, 6),
            "rows_per_second": round(report.rows_per_second, 3),
            "device": report.device,
            "device_notes": [*map(in_options, report.device_notes)],
            "precision": report.precision,
            "dialect": report.dialect,
            "seed": report.seed,
            "chunk_rows": report.chunk_rows,
            "nan_rows": {"inputs": report.nan_rows[0], "outputs": report.nan_rows[1]},
            "outputs": {path: list(shape) for path, shape in report.outputs.items()},
            "origin": report.origin,
            "notes": [*map(in_options, report.notes)],
        }
    )
