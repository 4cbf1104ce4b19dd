"""The benchmark runs without any other library, and the page of its figures is what its committed result gives."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from support.paths import ROOT

RESULTS = sorted((ROOT / "benchmarks/results").glob("*.json"))


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The documented command."""
    line = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_a_tiny_run_without_other_libraries(tmp_path: Path) -> None:
    output = tmp_path / "result.json"
    done = benchmarks("measure", "--tiny", "--peers", "", "--threads", "1", "-o", str(output))
    assert done.returncode == 0, done.stderr
    data = json.loads(output.read_text(encoding="utf-8"))
    assert [entry["peer"] for entry in data["grid"]] == ["numba_lstm"] * 2
    for entry in data["grid"]:
        assert entry["floor"] > 0 and 0 < entry["min"] <= entry["median"]
        assert 0 < entry["error"] < 1e-6
    limits = data["limits"]["1"]
    assert limits["float32"]["fma"] > 1e9 and set(limits["float32"]["reads"]) == {"L1", "L2", "L3", "memory"}
    assert limits["float32"]["lanes"] == 2 * limits["float64"]["lanes"]


def test_a_peer_that_is_not_known_is_named() -> None:
    done = benchmarks("measure", "--peers", "cobol")
    assert done.returncode == 2
    assert "--peers has 'cobol'; expected some of this_project, " in done.stderr


def test_the_page_is_what_the_result_gives() -> None:
    assert RESULTS, "no result is committed"
    done = benchmarks("render", "--check")
    assert done.returncode == 0, f"{done.stdout}\nremedy: python -m benchmarks render"


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name)
def test_results_name_no_host_and_no_path(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "/" not in text and "\\\\" not in text
    assert set(json.loads(text)) == {
        *("date", "plan", "cpu", "system", "threads", "versions", "left_out", "seconds", "cpus_busy_elsewhere"),
        *("limits", "grid", "own", "steps", "commands"),
    }


@pytest.mark.parametrize("name", ["peers", "limits", "steps", "commands"])
def test_charts_are_readable_alone(name: str) -> None:
    root = ET.fromstring((ROOT / f"docs/{name}.svg").read_text(encoding="utf-8"))
    space = "{http://www.w3.org/2000/svg}"
    title, description = root.findtext(f"{space}title"), root.findtext(f"{space}desc")
    shown = [element.text for element in root.iter(f"{space}text")]
    assert title in shown and description in shown
    assert (description or "").endswith(json.loads(RESULTS[-1].read_text(encoding="utf-8"))["date"])
