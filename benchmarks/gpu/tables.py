"""The GPU's tables of docs/performance.md, as Markdown, from the JSON of gpu_check.sh."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.results import milliseconds, shape_text
from benchmarks.tables import table, times

RESULTS = Path(__file__).parents[1] / "results" / "gpu"
NOTHING = "No figure of a GPU has been measured yet, and none is claimed."


def latest() -> str:
    """What stands on the page: the tables of the latest result in results/gpu, or that there is none."""
    paths = sorted(RESULTS.glob("*.json"))
    if not paths:
        return NOTHING
    data = json.loads(paths[-1].read_text(encoding="utf-8"))
    source = f"benchmarks/results/gpu/{paths[-1].name}"
    return f"{rendered(data)}\n\nRendered from [{source}](../{source})."


def rendered(data: dict[str, Any]) -> str:
    """All tables of a result; a part that failed is named with what went wrong."""
    parts = data["parts"]
    made: dict[str, Callable[[Any], str]] = {
        "machine": _machine,
        "kernels": _kernels,
        "breakeven": _breakeven,
        "commands": _commands,
        "stages": _stages,
        "small": _small,
    }
    texts = [make(parts[name]["found"]) for name, make in made.items() if parts[name]["found"]]
    failed = [f"- **Failed**: `{name}`: {part['problem']}" for name, part in parts.items() if part["problem"]]
    return "\n\n".join([f"Measured on {data['date']}.", *texts, *(["\n".join(failed)] if failed else [])])


def _machine(found: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    driver = found["driver"]["version"]
    clocks = ", ".join(f"{name} {value}" for name, value in found["nvidia_smi"].items() if name != "name")
    return f"- **Card**: {found['card']}; driver for CUDA {driver}; {clocks}.\n- **Versions**: {versions}."


def _kernels(found: list[dict[str, Any]]) -> str:
    precisions, rows, others, tiers = ("float32", "tf32", "float16", "bf16"), [], [], []
    for entry in found:
        shape, own = shape_text(entry["shape"]), entry["own"]
        torch = [times(entry["torch"][name] / own) if name in entry["torch"] else "-" for name in precisions]
        rows.append([shape, milliseconds(own), *torch])
        for tier, by_rows in entry["tiers"].items():
            tiers.append([shape, tier, *map(milliseconds, by_rows.values())])
        others.append([shape, *(f"{seconds / own:.2f}" for seconds in entry["variants"].values())])
    head = ["batch, timesteps, input_dim, units", "numba_lstm, ms", *(f"torch, {name}" for name in precisions)]
    numbers = next(iter(found[0]["tiers"].values()))
    return "\n\n".join(
        [
            "Kernels alone, float32, by CUDA events; torch's LSTM (cuDNN) as a multiple of numba_lstm's time:",
            table(head, rows),
            "Each tier that takes the cell, by rows of a thread, in ms:",
            table([head[0], "tier", *(f"{number} at once" for number in numbers)], tiers),
            "What it costs, as a multiple of the plain run:",
            table([head[0], *found[0]["variants"]], others),
        ]
    )


def _breakeven(found: list[dict[str, Any]]) -> str:
    rows = [
        [shape_text(e["shape"]), milliseconds(e["cpu"]), milliseconds(e["cuda"]), times(e["cpu"] / e["cuda"])]
        for e in found
    ]
    head = ["batch, timesteps, input_dim, units", "CPU, ms", "GPU, ms", "CPU over GPU"]
    return f"A call with arrays in main memory, copies included:\n\n{table(head, rows)}"


def _commands(found: list[dict[str, Any]]) -> str:
    kinds = [name for name in found[0] if name not in ("shape", "torch")]
    rows = []
    for entry in found:
        speeds = [f"{entry[kind]['rows a second']:,.0f}" for kind in kinds]
        rows.append([shape_text(entry["shape"]), *speeds, f"{entry['torch']:,.0f}" if entry["torch"] else "-"])
    head = ["rows, timesteps, input_dim, units", *kinds, "torch script"]
    return f"`numba-lstm run` from .npy to .npy, in rows a second:\n\n{table(head, rows)}"


def _stages(found: list[dict[str, Any]]) -> str:
    rows = []
    for entry in found:
        speeds = [*entry["stages"].values(), entry["run"], *entry["chunks"].values(), entry["last"]]
        rows.append([shape_text(entry["shape"]), *(f"{speed:,.0f}" for speed in speeds), f"{entry['share']:.0%}"])
    chunks = [f"run, chunks of {int(size):,} rows" for size in found[0]["chunks"]]
    head = ["rows, timesteps, input_dim, units", *found[0]["stages"], "run", *chunks, "run, last output only"]
    text = "The stages of a run alone, and runs in which they overlap, in rows a second; share: of the slowest stage:"
    return f"{text}\n\n{table([*head, 'share'], rows)}"


def _small(found: dict[str, Any]) -> str:
    rows = [[name, f"{value:.3g}" if isinstance(value, float) else str(value)] for name, value in found.items()]
    return table(["what a launch, a barrier and a copy cost", ""], rows)
