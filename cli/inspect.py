"""numba-lstm inspect: the content of a model's file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import terminal
from .options import DIALECTS, FILE

if TYPE_CHECKING:
    from numba_lstm.semantics.dialects import Dialect


@click.command(short_help="Show the content of a file: layers, shapes, weights.")
@click.argument("file", type=FILE)
@click.option(
    "--config",
    type=FILE,
    metavar="FILE",
    help="The model's configuration (JSON or .keras), for a file with weights only.",
)
@click.option("--dialect", type=click.Choice(DIALECTS), help="The dialect; by default the file's.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with the layers' configurations.")
def inspect(file: str, config: str | None, dialect: Dialect | None, as_json: bool) -> None:
    """Show the layers, shapes and parameters of the model in FILE, its dialect, and where each was read from.

    FILE is a model, weights (with --config; without, its arrays are listed), or a configuration (JSON).

    \b
    Example, in a clone of the repository:
      numba-lstm inspect data/digits/model.h5
    """
    from .description import describe_file, lines

    found = describe_file(file, config, dialect)
    if as_json:
        terminal.out_json(found)
        return
    for line in lines(found):
        terminal.out(line)
