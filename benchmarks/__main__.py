"""python -m benchmarks measure | render; see README.md here."""

from __future__ import annotations

import json
from pathlib import Path

import click

from benchmarks import machine, render
from benchmarks.shapes import PLANS
from numba_lstm.bench.peers import MODULES
from numba_lstm.machine import cpu

RESULTS = Path(__file__).parent / "results"


@click.group()
def main() -> None:
    """Times beside other libraries, and the documentation's tables and charts made of them."""


@main.command()
@click.option("--quick", "plan", flag_value="quick", help="Everything for a short time each: a few minutes.")
@click.option("--tiny", "plan", flag_value="tiny", help="Two small shapes, to see that it works.")
@click.option("--threads", default="1,2", show_default=True, help="Numbers of threads, each in a process of its own.")
@click.option(
    "--peers", default=",".join(MODULES), show_default=True, help="Those to compare with; the empty string: none."
)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="By default results/DATE-CPU.json."
)
def measure(plan: str | None, threads: str, peers: str, output: Path | None) -> None:
    """Measure, and write what was measured as JSON."""
    from benchmarks import measure as measuring

    names = [name for name in peers.split(",") if name]
    if unknown := [name for name in names if name not in MODULES]:
        raise click.UsageError(f"--peers has {unknown[0]!r}; expected some of {', '.join(MODULES)}")
    available = cpu()["cpus"]
    numbers = [number for number in map(int, threads.split(",")) if number <= available]
    result = measuring.measure(PLANS[plan or "full"], numbers, names)
    path = output or RESULTS / f"{result['date']}-{machine.slug(result['cpu']['name'])}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render.as_text(result), encoding="utf-8")
    click.echo(f"{result['seconds']} s, {result['cpus_busy_elsewhere']} CPUs busy elsewhere: {path}")


@main.command()
@click.argument("plan")
@click.argument("threads", type=int)
@click.argument("peers")
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--everything", is_flag=True)
def part(plan: str, threads: int, peers: str, output: Path, everything: bool) -> None:
    """What measure runs in a process for each number of threads."""
    from benchmarks import measure as measuring

    result = measuring.part(PLANS[plan], threads, [name for name in peers.split(",") if name], everything)
    output.write_text(json.dumps(result), encoding="utf-8")


@main.command("render")
@click.argument("result", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@click.option("--check", is_flag=True, help="Change nothing; exit code 1 if a page or chart is not what it would be.")
def render_command(result: Path | None, check: bool) -> None:
    """Write the tables of docs/performance.md and the charts from a RESULT, by default the latest in results/."""
    path = result or max(RESULTS.glob("*.json"))
    stale = render.pages(
        json.loads(path.read_text(encoding="utf-8")), f"benchmarks/results/{path.name}", write=not check
    )
    for page in stale:
        click.echo(f"{page} {'differs from' if check else 'written from'} {path.name}")
    if check and stale:
        raise SystemExit(1)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
