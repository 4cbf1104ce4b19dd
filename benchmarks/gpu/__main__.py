"""python -m benchmarks.gpu: all parts one after the other, whatever becomes of each."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from benchmarks import render
from benchmarks.gpu.parts import PARTS, PartError
from benchmarks.machine import slug, today
from numba_lstm.errors import NumbaLSTMError

RESULTS = Path(__file__).parents[1] / "results" / "gpu"


@click.group(invoke_without_command=True)
@click.option("--tiny", is_flag=True, help="Small shapes, to see that it works; also in numba's simulator.")
@click.option("--seconds", default=450, show_default=True, help="What all parts may take together.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_context
def main(context: click.Context, tiny: bool, seconds: int, output: Path | None) -> None:
    """Check and measure a GPU. The exit code is 1 if a part failed; the result is written all the same."""
    if context.invoked_subcommand is not None:
        return
    started = time.monotonic()
    parts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, part in PARTS.items():
            left = started + seconds - time.monotonic()
            entry = run(name, min(left, part.seconds), tiny, Path(folder) / f"{name}.json")
            parts[name] = entry
            click.echo(f"{name:<10}{entry['seconds']:>6.1f} s  {entry['problem'] or 'done'}")
    card = (parts["machine"]["found"] or {}).get("card") or "no GPU"
    found = {"date": today(), "card": card, "seconds": time.monotonic() - started, "tiny": tiny, "parts": parts}
    path = output or RESULTS / f"{today()}-{slug(card)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render.as_text(found), encoding="utf-8")
    failed = [name for name, entry in parts.items() if entry["problem"]]
    click.echo(f"{path}: {len(parts) - len(failed)} parts done; failed: {', '.join(failed) or 'none'}")
    raise SystemExit(bool(failed))


def run(name: str, seconds: float, tiny: bool, path: Path) -> dict[str, Any]:
    """A part in a process of its own: what it found, or what went wrong, in one line."""
    if seconds < 1:
        return {"seconds": 0.0, "problem": "no time was left", "found": None}
    started = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.gpu", *(["--tiny"] if tiny else []), "part", name, str(path)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        problem: str | None = f"not done after {seconds:.0f} s"
    else:
        said = [line for line in (ended.stderr + ended.stdout).splitlines() if line.strip()]
        problem = None if ended.returncode == 0 else said[-1] if said else f"exit code {ended.returncode}"
        problem = problem and problem.removeprefix("Error: ").replace(f"{RESULTS.parents[2]}/", "")
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    return {"seconds": time.monotonic() - started, "problem": problem, "found": found}


@main.command("part")
@click.argument("name", type=click.Choice(list(PARTS)))
@click.argument("path", type=click.Path(path_type=Path))
@click.pass_context
def part_command(context: click.Context, name: str, path: Path) -> None:
    """One part, in this process."""
    assert context.parent is not None
    try:
        PARTS[name].run(context.parent.params["tiny"], path)
    except (PartError, NumbaLSTMError) as error:
        raise click.ClickException(" ".join(str(error).split())) from error


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.gpu")
