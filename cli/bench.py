"""numba-lstm bench: how fast this machine is, also beside the installed libraries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from . import terminal
from .options import count
from .table import table, three_digits

# CPUs that other processes may keep busy before figures are no longer to be trusted.
BUSY = 0.2


@click.command(short_help="Time this machine, optionally beside other libraries.")
@click.option("--peers", is_flag=True, help="Compare with torch, onnxruntime, OpenVINO, Keras and plain numba.")
@click.option("--demo", is_flag=True, help="Compare errors, equal bits, times and sizes for one small network.")
@click.option("--threads", type=click.IntRange(1, 1024), metavar="N", help="CPU threads; by default all.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench(peers: bool, demo: bool, threads: int | None, as_json: bool) -> None:
    """Time a few shapes and single steps on this machine, in float32 with sigmoid and tanh.

    All libraries run in one process, one after the other in every round, each checked against float64 before it is
    timed. Times are the shortest of many calls. With --peers the other columns are a library's time over that of
    numba_lstm: above 1 numba_lstm is faster. Libraries that are not installed are named.

    --demo runs one small classifier (the digits of the repository, or random weights of its shape) in all of them, on
    one thread. Its columns: the largest error against float64; the number of different answers, bit by bit, of a row
    alone, in a batch of two, in the whole batch, at another place in it, and step by step; the median time of one step
    of one row; the time of a whole process that reads, runs and writes; and the size of the packages that pip installs.

    \b
    Examples:
      numba-lstm bench
      numba-lstm bench --demo
    """
    from .notices import show_notices

    show_notices()
    if demo and (peers or threads):
        raise click.UsageError("--demo takes all libraries and one thread; leave out --peers and --threads")
    if demo:
        from numba_lstm.bench.demo import measure as measure_demo

        found = measure_demo(terminal.note)
    else:
        from numba_lstm.bench.short import measure

        found = measure(terminal.note, threads, peers)
    if as_json:
        terminal.out_json(found)
        return
    for line in demo_lines(found) if demo else lines(found):
        terminal.out(line)


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The figures as lines of text."""
    cpu, number = found["cpu"], found["threads"]
    yield f"{cpu['name']}, {count(number, 'thread')}; float32, sigmoid and tanh"
    others = list(dict.fromkeys(one["name"] for entry in found["shapes"] for one in entry["libraries"][1:]))
    rows = [["batch, timesteps, input_dim, units", "ms", "GFLOP/s", "million steps/s", *others]]
    for entry in found["shapes"]:
        own = entry["libraries"][0]
        figures = own["min"] * 1e3, entry["gflops"], entry["steps_per_second"] / 1e6
        rows.append([", ".join(map(str, entry["shape"])), *map(three_digits, figures), *_ratios(entry, others)])
    yield from table(rows)
    yield ""
    rows = [["one row, one step a call", "us", "median", *others]]
    for entry in found["steps"]:
        times = [three_digits(entry["libraries"][0][name] * 1e6) for name in ("min", "median")]
        rows.append([f"{entry['units']} units, session.step", *times, *_ratios(entry, others)])
    yield from table(rows)
    yield ""
    error = max(entry["libraries"][0]["error"] for entry in found["shapes"])
    yield f"largest error of numba_lstm against float64: {error:.1e}"
    yield ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    yield from _notes(found)


def _ratios(entry: dict[str, Any], names: list[str]) -> list[str]:
    own, *others = entry["libraries"]
    ratios = {one["name"]: f"{three_digits(one['min'] / own['min'])}x" for one in others}
    return [ratios.get(name, "-") for name in names]


def demo_lines(found: dict[str, Any]) -> Iterator[str]:
    """The table of the demonstration."""
    yield f"An LSTM of 32 units over 8 timesteps of 8, softmax over 10 classes: {found['network']}"
    rows = [["", "error", "answers", "step, us", "command, s", "installed, MB"]]
    for row in found["rows"]:
        command = "fails" if row["command"] is None else f"{row['command']:.2f}"
        size = "-" if row["bytes"] is None else f"{row['bytes'] / 1e6:,.0f}"
        step = three_digits(row["step"] * 1e6)
        rows.append([row["name"], f"{row['error']:.1e}", str(row["answers"]), step, command, size])
    yield from table(rows)
    yield "answers: the most results, different in bits, that one row has alone, in a batch of two, in the whole batch,"
    yield "at another place in it, and step by step. installed: with all that pip brings along for it."
    yield from _notes(found)


def _notes(found: dict[str, Any]) -> Iterator[str]:
    busy = found["cpus_busy_elsewhere"]
    if busy is not None and busy > BUSY:
        yield f"other processes kept {busy:.1f} CPUs busy meanwhile: on a quiet machine these figures are others"
    for name, reason in found["left_out"].items():
        yield f"left out: {name}: {reason}"
