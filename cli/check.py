"""numba-lstm check: a model's outputs beside expected ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from . import terminal
from .options import FILE, chunk_options, count, data_options, in_options, model_options, settled

if TYPE_CHECKING:
    from numba_lstm.runner.compare import Comparison

DIFFERENT = 3


@click.command(short_help="Compare a model's outputs with expected ones.")
@click.argument("model", type=FILE)
@click.argument("input", type=FILE)
@click.argument("expected", type=FILE)
@click.option("--labels", type=FILE, metavar="FILE", help=".npy (batch,): the true classes, for both accuracies.")
@click.option("--rtol", type=click.FloatRange(0), default=1e-5, show_default=True, help="Relative tolerance.")
@click.option("--atol", type=click.FloatRange(0), default=1e-6, show_default=True, help="Absolute tolerance.")
@model_options
@data_options
@chunk_options
def check(model: str, input: str, expected: str, labels: str | None, rtol: float, atol: float, **options: Any) -> None:
    """Run MODEL over INPUT and compare its outputs with those in EXPECTED, such as Keras's own.

    Prints the largest difference, its place, and its size in units in the last place of the expected value. A
    difference beyond atol + rtol * |expected| anywhere gives exit code 3. With --labels it also prints the accuracy of
    both: the class of a row is its largest output, or whether its only output is above 0.5. Assumptions about MODEL go
    to stderr.

    \b
    Example, in a clone of the repository:
      numba-lstm check data/digits/model.h5 data/digits/x.npy data/digits/y.npy --labels data/digits/labels.npy
    """
    from numba_lstm.runner.compare import compare_npy

    from .notices import show_notices

    show_notices()
    found = compare_npy(model, input, expected, labels=labels, rtol=rtol, atol=atol, **settled(options))
    for note in found.notes:
        terminal.note(f"note: {in_options(note)}")
    for line in lines(found, rtol, atol, expected):
        terminal.out(line)
    if found.outside:
        click.get_current_context().exit(DIFFERENT)


def lines(found: Comparison, rtol: float, atol: float, expected: str) -> list[str]:
    """The comparison as lines of text."""
    result = []
    if found.accuracy is not None and found.expected_accuracy is not None:
        result.append(
            f"accuracy {found.accuracy:.2%} of {count(found.rows, 'row')}; "
            f"{found.expected_accuracy:.2%} with the outputs in {expected}"
        )
    if found.largest == 0:
        result.append(f"no difference in {count(found.values, 'value')}")
    else:
        result.append(
            f"largest difference {found.largest:.3g} ({found.ulp:.3g} ulp of {found.dtype}) at "
            f"[{', '.join(map(str, found.place))}]: {found.computed:.9g} computed, {found.expected:.9g} expected"
        )
    limit = f"rtol {rtol:g}, atol {atol:g}"
    if found.outside:
        result.append(f"different: {found.outside:,} of {found.values:,} values beyond {limit}")
    else:
        result.append(f"the same: all {found.values:,} values within {limit}")
    return result
