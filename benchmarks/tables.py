"""The tables of docs/performance.md, as Markdown, from a benchmark's JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.results import (
    BF16,
    FLOAT32,
    LIBRARIES,
    OWN,
    Results,
    Shape,
    geometric_mean,
    microseconds,
    milliseconds,
    shape_text,
    threads_text,
)

NOT_MEASURED = "Not measured in this run."


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a line that says so if there are no rows."""
    if not rows:
        return NOT_MEASURED
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def times(ratio: float | None) -> str:
    """A ratio; where the other is the faster one, in bold."""
    if ratio is None:
        return "-"
    text = f"{ratio:.2f}x" if ratio < 10 else f"{ratio:.0f}x"
    return f"**{text}**" if ratio < 1 else text


def machine(results: Results) -> str:
    """What it was measured on."""
    data = results.data
    cpu = data["cpu"]
    versions = ", ".join(f"{name} {number}" for name, number in data["versions"].items())
    lines = [
        f"- **CPU**: {cpu['name']} ({cpu['kind']}), {cpu['cpus']} CPUs, {data['system']}; "
        f"vectors of {data['limits'][str(data['threads'][0])]['float32']['lanes']} float32.",
        f"- **Versions**: {versions}.",
        f"- **Run**: {data['date']}, `{data['plan']}`, {data['seconds']:.0f} s.",
    ]
    if data["cpus_busy_elsewhere"] is not None:
        lines.append(f"- **Other processes** kept {data['cpus_busy_elsewhere']:.2f} CPUs busy meanwhile, on average.")
    lines += [f"- **Left out**: `{name}`: {reason}." for name, reason in data["left_out"].items()]
    return "\n".join(lines)


def limits(results: Results) -> str:
    """The machine's limits."""
    rows = []
    for number in results.threads:
        for dtype, limit in results.data["limits"][str(number)].items():
            reads = [f"{limit['reads'][level] / 1e9:.0f}" for level in ("L1", "L2", "L3", "memory")]
            update = f"{limit['update'] * 1e9:.1f}"
            waits = [f"{limit['latency'][units] * 1e9:.0f}" for units in limit["latency"]]
            rows.append([f"{dtype}, {threads_text(number)}", f"{limit['fma'] / 1e9:.0f}", *reads, update, *waits])
    head = ["", "FMA, GFLOP/s", "L1, GB/s", "L2", "L3", "memory", "a vector of units, ns"]
    return table([*head, "a step of 16 units, ns", "of 32"], rows)


def _beside(results: Results, section: str, threads: int) -> str:
    peers = results.peers(FLOAT32, section)
    rows = []
    for shape in results.shapes(section):
        own = results.entry(section, threads, shape)
        if own is None:
            continue
        ratios = [times(results.ratio(section, threads, shape, peer)) for peer in peers]
        share = f"{own['floor'] / own['min']:.0%} of {own['limit']}"
        rows.append([shape_text(shape), milliseconds(own["min"]), milliseconds(own["median"]), *ratios, share])
    head = ["batch, timesteps, input_dim, units", "numba_lstm, ms", "median", *peers, "share of the limit"]
    return table(head, rows)


def beside(results: Results, section: str) -> str:
    """One table for each number of threads."""
    parts = [f"**{threads_text(number)}**\n\n{_beside(results, section, number)}" for number in results.threads]
    return "\n\n".join(parts) if results.shapes(section) else NOT_MEASURED


def regimes(results: Results) -> str:
    """Geometric means over the fastest library of each shape."""
    kinds: dict[str, Callable[[Shape], bool]] = {
        "one row": lambda shape: shape[0] == 1,
        "8 rows and more": lambda shape: shape[0] >= 8,
    }
    rows = []
    for name, belongs in kinds.items():
        cells = []
        for number in results.threads:
            found = [results.fastest("grid", number, shape) for shape in results.shapes("grid") if belongs(shape)]
            ratios = [ratio for ratio, _ in filter(None, found)]
            cells.append(f"{geometric_mean(ratios):.2f}x (least {min(ratios):.2f}x)" if ratios else "-")
        rows.append([name, *cells])
    return table(["the fastest library's time over numba_lstm's", *map(threads_text, results.threads)], rows)


def behind(results: Results) -> str:
    """Every shape at which a library was faster in float32."""
    lines = []
    for section in ("grid", "neighbours"):
        for number in results.threads:
            for shape in results.shapes(section):
                for peer in LIBRARIES:
                    ratio = results.ratio(section, number, shape, peer)
                    if ratio is not None and ratio < 1:
                        lines.append(
                            f"- {shape_text(shape)}, {threads_text(number)}: {peer} takes {ratio:.2f} of the time."
                        )
    counted = sum(len(results.shapes(section)) for section in ("grid", "neighbours")) * len(results.threads)
    if not results.peers(LIBRARIES):
        return NOT_MEASURED
    where = "\n".join(lines) or "- In float32 at none."
    return f"Of {counted} shapes and numbers of threads, a library was faster than this project at:\n\n{where}"


def bf16(results: Results) -> str:
    """The ones that do not keep float32, beside this project in bf16, and in float32; the latter alone without bf16."""
    peers = results.peers(BF16)
    base = BF16[0] if BF16[0] in peers else OWN
    others = [peer for peer in peers if peer != base]
    columns = list(others)
    if base != OWN:
        others.append(OWN)
        columns.append(f"{OWN}, float32")
    rows = []
    for number in results.threads:
        for shape in results.shapes("grid"):
            own = results.entry("grid", number, shape, base)
            found = [results.entry("grid", number, shape, peer) for peer in others]
            if own is None or not any(found):
                continue
            ratios = [times(each["min"] / own["min"]) if each else "-" for each in found]
            rows.append([shape_text(shape), str(number), milliseconds(own["min"]), *ratios])
    return table(["batch, timesteps, input_dim, units", "threads", f"{base}, ms", *columns], rows)


def errors(results: Results) -> str:
    """The largest differences from float64."""
    worst: dict[str, float] = {}
    for entry in results.data["grid"]:
        worst[entry["peer"]] = max(worst.get(entry["peer"], 0.0), entry["error"])
    return table(["", "largest difference from float64"], [[name, f"{error:.1e}"] for name, error in worst.items()])


def options(results: Results) -> str:
    """Options over the plain run of the same shape."""
    found = results.own("options")
    shapes = list(dict.fromkeys(tuple(e["shape"]) for e in found))
    rows = []
    for name in dict.fromkeys(e["name"] for e in found):
        by = {(tuple(e["shape"]), e["threads"]): e["ratio"] for e in found if e["name"] == name}
        rows.append([name, *(f"{by[shape, n]:.2f}" for shape in shapes for n in results.threads)])
    head = [f"{shape_text(shape)}; {threads_text(number)}" for shape in shapes for number in results.threads]
    return table(["time over that of the plain run", *head], rows)


def float64(results: Results) -> str:
    """float64."""
    rows = [
        [
            shape_text(e["shape"]),
            str(e["threads"]),
            milliseconds(e["min"]),
            f"{1 / e['ratio']:.2f}",
            f"{e['floor'] / e['min']:.0%} of {e['limit']}",
        ]
        for e in results.own("float64")
    ]
    head = ["batch, timesteps, input_dim, units", "threads", "ms", "rate over float32's", "share of the limit"]
    return table(head, rows)


def odd(results: Results) -> str:
    """Odd numbers of units."""
    rows = [
        [
            shape_text(e["shape"]),
            shape_text(e["neighbour"]),
            str(e["threads"]),
            milliseconds(e["min"]),
            f"{e['ratio'] / e['flops_ratio']:.2f}",
        ]
        for e in results.own("odd sizes")
    ]
    return table(["batch, timesteps, input_dim, units", "beside", "threads", "ms", "time per FLOP over its"], rows)


def stacks(results: Results) -> str:
    """More than one layer or direction, on one row."""
    found = results.own("stacks")
    rows = []
    for name in dict.fromkeys(e["name"] for e in found):
        by = {e["threads"]: e for e in found if e["name"] == name}
        shape = next(iter(by.values()))["shape"]
        one = by[min(by)]["min"]
        cells = [milliseconds(by[number]["min"]) for number in results.threads]
        gains = [f"{one / by[number]['min']:.2f}x" for number in results.threads[1:]]
        rows.append([name, shape_text(shape), *cells, *gains])
    heads = [f"{threads_text(number)}, ms" for number in results.threads]
    gains = [f"gain of {number}" for number in results.threads[1:]]
    return table(["", "batch, timesteps, units", *heads, *gains], rows)


def windows(results: Results) -> str:
    """Windows and ragged batches."""
    rows = []
    for e in results.own("windows"):
        same = "the same bits" if e["same_bits"] else "other bits"
        gain = f"{1 / e['ratio']:.2f}x as fast as the windows as one batch; {same}"
        rows.append([f"{e['name']}, {shape_text(e['shape'][2:])}", str(e["threads"]), milliseconds(e["min"]), gain])
    for e in results.own("ragged"):
        cost = f"{e['ratio'] / e['share']:.2f} of the cost of its {e['share']:.0%} of all steps"
        row = [f"{e['name']} of {shape_text(e['shape'])}", str(e["threads"]), milliseconds(e["min"]), cost]
        rows.append(row)
    return table(["", "threads", "ms", ""], rows)


def steps(results: Results) -> str:
    """One step a call."""
    rows = []
    for e in results.data["steps"]:
        quantiles = [microseconds(e[key]) for key in ("min", "p50", "p99", "p99.9")]
        rows.append(["x".join(map(str, e["units"])), e["peer"], *quantiles])
    return table(["units of the cells", "", "least, us", "p50", "p99", "p99.9"], rows)


def commands(results: Results) -> str:
    """Whole commands."""
    rows = [[e["name"], f"{e['median']:.2f}", f"{e['min']:.2f}"] for e in results.data["commands"]]
    return table(["whole process", "median, s", "least"], rows)


TABLES: dict[str, Callable[[Results], str]] = {
    "machine": machine,
    "limits": limits,
    "grid": lambda results: beside(results, "grid"),
    "neighbours": lambda results: beside(results, "neighbours"),
    "regimes": regimes,
    "behind": behind,
    "bf16": bf16,
    "errors": errors,
    "options": options,
    "float64": float64,
    "odd": odd,
    "stacks": stacks,
    "windows": windows,
    "steps": steps,
    "commands": commands,
}


def rendered(data: dict[str, Any]) -> dict[str, str]:
    """All of them by name."""
    return {name: make(Results(data)) for name, make in TABLES.items()}
