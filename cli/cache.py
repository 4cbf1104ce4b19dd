"""numba-lstm cache: the machine code that is kept between runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from . import terminal
from .options import count


@click.group(short_help="Compile ahead, and show or remove what is compiled.")
def cache() -> None:
    """The compiled kernels that are kept between runs: compile ahead, show what is there, remove it.

    \b
    Example:
      numba-lstm cache info
    """


@cache.command(short_help="Compile all that models need, ahead of their first run.")
@click.argument("models", metavar="[MODEL]...", nargs=-1, type=click.Path(path_type=str))
@click.option("--all", "every", is_flag=True, help="All kernels there are, for any model; some minutes.")
@click.option(
    "--cpu",
    metavar="NAME",
    default="native",
    show_default=True,
    help="x86-64-v3 (AVX2) or x86-64-v4 (AVX-512), for a cache that other machines use too.",
)
@click.option(
    "--into",
    metavar="FOLDER",
    help="Into this folder, which all may read; 'package': the one inside the installed package, where every user's "
    "processes look.",
)
def build(models: tuple[str, ...], every: bool, cpu: str, into: str | None) -> None:
    """Compile all that models need, so that no run of theirs has to.

    \b
    Example, in a clone of the repository:
      numba-lstm cache build data/digits/model.h5
    """
    from numba_lstm.runner import warmup

    if not models and not every:
        raise click.UsageError("nothing to build; expected models, or --all")
    found = warmup.build(models, every, cpu, into)
    terminal.out(f"{found['folder']}: {count(found['kernels'], 'compiled kernel')}, {megabytes(found['bytes'])}")


@cache.command(short_help="Show the folders and what is in them.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(as_json: bool) -> None:
    """Show the folders of compiled kernels, and what is in them.

    \b
    Example:
      numba-lstm cache info
    """
    from numba_lstm.kernel_cache import report

    found = report.info()
    if as_json:
        terminal.out_json(found)
        return
    for line in lines(found):
        terminal.out(line)


@cache.command(short_help="Remove compiled kernels.")
@click.option("--others", is_flag=True, help="Only those of other versions of numba_lstm, numba or llvmlite.")
def clear(others: bool) -> None:
    """Remove the compiled kernels from the user's folder; the next runs compile again.

    \b
    Example:
      numba-lstm cache clear --others
    """
    from numba_lstm.kernel_cache import report

    for line in removal(report.clear(others)):
        terminal.out(line)


def removal(removed: dict[str, Any]) -> Iterator[str]:
    """The result of ``cache clear`` as lines of text."""
    if removed["problem"]:
        yield f"nothing is removed: {removed['problem']}"
        return
    yield f"removed {count(removed['folders'], 'folder')}, {megabytes(removed['bytes'])}"
    for path in removed["left"]:
        yield f"{path} stays: it holds other things, or cannot be removed"


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The findings of ``cache info`` as lines of text."""
    if found["problem"]:
        yield f"none, each process compiles anew: {found['problem']}"
        yield f"NUMBA_LSTM_CACHE_DIR can name {'another' if found['variable'] else 'a folder of yours'}"
    else:
        access = ", ".join(filter(None, (found["owner"], found["mode"])))
        kept = f"{count(found['kernels'], 'compiled kernel')}, {megabytes(found['bytes'])}"
        writable = "writable" if found["writable"] else "read-only, so that new ones are not kept"
        yield f"{found['folder']} ({access}), {writable}: {kept}"
    for each in found["further"]:
        yield f"{each['folder']}: {count(each['kernels'], 'compiled kernel')}, {megabytes(each['bytes'])}"
    if others := found["others"]:
        used = max(other["used"] for other in others)
        size = megabytes(sum(other["bytes"] for other in others))
        remedy = "; numba-lstm cache clear --others removes them" if found["removable"] else ""
        yield f"{count(len(others), 'folder')} of other versions, {size}, {_ago(used)}{remedy}"


def _ago(used: float) -> str:
    import time

    days = int((time.time() - used) / 86_400)
    return f"last used {count(days, 'day')} ago" if days else "used today"


def megabytes(size: float) -> str:
    """A number of bytes as text."""
    return f"{size / 1e6:.1f} MB"
