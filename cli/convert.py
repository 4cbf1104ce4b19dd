"""numba-lstm convert: a model from one kind of file to another."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from . import terminal
from .options import DIALECTS, FILE, count, in_options

if TYPE_CHECKING:
    from numba_lstm.semantics.dialects import Dialect

TARGETS = ("npz", "safetensors", "h5", "torch")


@click.command(short_help="Write a model in another file format.")
@click.argument("model", type=FILE)
@click.argument("output", type=FILE)
@click.option(
    "--to",
    type=click.Choice(TARGETS),
    help="The format; by default from OUTPUT's suffix. torch: a PyTorch state dict, in a .safetensors file.",
)
@click.option(
    "--config", type=FILE, metavar="FILE", help="The model's configuration (JSON), for a file with weights only."
)
@click.option(
    "--dialect",
    type=click.Choice(DIALECTS),
    help="The dialect of MODEL; by default the file's. A .h5 is for the Keras of this dialect.",
)
@click.option("--force", is_flag=True, help="Replace an existing output; it keeps its mode.")
def convert(model: str, output: str, to: str | None, config: str | None, dialect: Dialect | None, force: bool) -> None:
    """Write the model in MODEL to OUTPUT, which gives the same outputs to the bit when it is read again.

    OUTPUT is .npz or .safetensors (the project's own), .h5 (a model that the Keras of its dialect loads), or with
    --to torch a .safetensors file whose arrays torch.nn.LSTM.load_state_dict takes. A layer that OUTPUT cannot express
    is refused. Notes on stderr report the format that was read and every assumption made.

    \b
    Examples, in a clone of the repository:
      numba-lstm convert data/digits/model.h5 digits.safetensors
      numba-lstm convert digits.safetensors digits.h5
    """
    from numba_lstm.errors import FileFormatError
    from numba_lstm.formats import load, save, written_format
    from numba_lstm.runner.jobs import check_absent, check_unread
    from numba_lstm.semantics.dialects import SYSTEM_NAMES

    written_format(output, to)
    if os.path.exists(output) and os.path.exists(model) and os.path.samefile(model, output):
        raise FileFormatError(f"{output} is the model itself; expected another file to write")
    check_unread([output], [config])
    if not force:
        check_absent(output)
    loaded = load(model, config=config, dialect=dialect)
    source = loaded.source
    notes = list(source.notes)
    if dialect is not None and '"hard_sigmoid"' in json.dumps(loaded.get_config()):
        notes.append(
            f"hard_sigmoid is that of {SYSTEM_NAMES[dialect]}, as --dialect says; the dialect of the file is ignored"
        )
    for note in notes:
        terminal.note(f"note: {in_options(note)}")
    save(loaded, output, format=to, replace=force)
    origin = ", ".join(filter(None, (source.format, source.producer)))
    terminal.note(
        f"{model} ({origin}; dialect {source.dialect}: {source.dialect_from}): "
        f"{count(loaded.count_params(), 'parameter')} in {loaded.dtype} -> {output} ({to or written_format(output)})"
    )
