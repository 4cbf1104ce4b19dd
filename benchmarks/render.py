"""From a benchmark's JSON to the page and the charts in docs/."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks import charts, tables
from benchmarks.gpu import tables as gpu_tables

DOCS = Path(__file__).parents[1] / "docs"
PAGE = "performance.md"
# A part of the page that belongs to this program, with what stands in it now.
PART = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def as_text(result: dict[str, Any]) -> str:
    """The JSON file: an entry a line, times rounded to a tenth of a nanosecond."""
    lines = []
    for key, value in _rounded(result).items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            inside = ",\n".join("  " + json.dumps(entry) for entry in value)
            lines.append(f"{json.dumps(key)}: [\n{inside}\n]")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def page(text: str, data: dict[str, Any], source: str) -> str:
    """The page's text with what was measured in its places."""
    made = {**tables.rendered(data), "gpu": gpu_tables.latest(), "source": f"Rendered from [{source}](../{source})."}

    def filled(match: re.Match[str]) -> str:
        return f"{match[1]}\n{made[match[2]]}\n\n{match[3]}"

    return PART.sub(filled, text)


def pages(data: dict[str, Any], source: str, write: bool) -> list[str]:
    """The names of the pages and charts that are not what the data gives; with ``write`` they become it."""
    current = (DOCS / PAGE).read_text(encoding="utf-8")
    wanted = {PAGE: page(current, data, source), **charts.drawn(data)}
    stale = []
    for name, text in wanted.items():
        path = DOCS / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(f"docs/{name}")
            if write:
                path.write_text(text, encoding="utf-8")
    return stale
