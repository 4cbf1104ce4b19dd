"""benchmarks/gpu_check.sh where there is no GPU and no time, and the tables of what it finds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.beside import end, start
from support.paths import ROOT


def check(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    line = ["bash", str(ROOT / "benchmarks" / "gpu_check.sh"), "--tiny", *words]
    environment = {**os.environ, "PYTHON": sys.executable, **variables}
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=120)


def test_it_runs_to_its_end_after_failures(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    ended = check("--seconds", "0", "-o", str(path))
    assert ended.returncode == 1
    data = json.loads(path.read_text())
    names = ["machine", "bits", "kernels", "breakeven", "commands", "stages", "tests", "small", "sanitizer", "cpu"]
    assert list(data["parts"]) == names
    assert all(part["problem"] == "no time was left" for part in data["parts"].values())
    assert f"0 parts done; failed: {', '.join(names)}" in ended.stdout


def test_a_part_says_in_one_line_what_is_missing(tmp_path: Path) -> None:
    command = "import sys; from numba_lstm.backends.cuda import nvidia, selection\n"
    command += "nvidia.driver = lambda: {'problem': 'no NVIDIA GPU'}; selection.find_spec = lambda name: True\n"
    command += "sys.argv = ['gpu', 'part', 'bits', 'found.json']; from benchmarks.gpu.__main__ import main; main()"
    variables = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    variables["PYTHONPATH"] = str(ROOT)
    ended = subprocess.run([sys.executable, "-c", command], cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: device is 'cuda', and there is no NVIDIA GPU; install NVIDIA's driver")
    assert ended.stderr.count("\n") == 1


def simulated(part: str, folder: Path) -> Any:
    line = [sys.executable, "-m", "benchmarks.gpu", "--tiny", "part", part, str(folder / "found.json")]
    variables = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"}
    end(start(line, variables, ROOT))
    return json.loads((folder / "found.json").read_text())


def beside(folder: Path) -> dict[str, Any]:
    """Parts in processes of their own: what the simulator gives."""
    return {part: simulated(part, folder) for part in ("kernels", "stages", "small")}


def test_the_tables_of_a_result(beside: dict[str, Any]) -> None:
    """Of what the simulator gives for the kernels, and of parts that failed; times in it mean nothing."""
    from benchmarks.gpu import tables

    kernels = beside["kernels"]
    for entry in kernels:
        entry["own"], entry["torch"] = 0.002, {"float32": 0.003, "bf16": 0.001}
        assert list(entry["tiers"]) == ["resident", "portable"]
        entry["tiers"] = {name: dict.fromkeys(rows, 0.002) for name, rows in entry["tiers"].items()}
        entry["variants"] = dict.fromkeys(entry["variants"], 0.0022)
    speed = {"rows a second": 1234.5, "process, s": 2.0}
    found: dict[str, Any] = {
        "machine": None,
        "kernels": kernels,
        "breakeven": [{"shape": [1, 2, 3, 4], "cpu": 0.001, "cuda": 0.002}],
        "commands": [{"shape": [9, 2, 3, 4], "cuda": speed, "cpu": speed, "torch": None}],
        "stages": beside["stages"],
        "small": beside["small"],
    }
    parts = {name: {"found": part, "problem": None if part else "no card"} for name, part in found.items()}
    text = tables.rendered({"date": "2030-01-02", "parts": parts})
    assert "| 2, 1, 2, 2 | 2.00 | 1.50x | - | - | **0.50x** |" in text
    assert "| 2, 1, 2, 2 | portable | 2.00 | 2.00 | 2.00 | 2.00 |" in text
    assert "| 2, 1, 2, 2 | 1.10 | 1.10 | 1.10 | 1.10 |" in text
    assert "| 1, 2, 3, 4 | 1.00 | 2.00 | **0.50x** |" in text
    assert "| 9, 2, 3, 4 | 1,234 | 1,234 | - |" in text
    stages = found["stages"][0]
    assert list(stages["stages"]) == ["read", "upload", "kernel", "download", "write"]
    assert stages["share"] == stages["run"] / min(stages["stages"].values())
    assert f"| 6, 2, 3, 4 | {stages['stages']['read']:,.0f} | " in text
    assert "| run, chunks of 2 rows | run, chunks of 3 rows | run, last output only | share |" in text
    assert "| barrier of a cluster | not measured: " in text
    assert "- **Failed**: `machine`: no card" in text


def test_without_a_result_the_page_claims_nothing() -> None:
    from benchmarks.gpu import tables

    if list(tables.RESULTS.glob("*.json")):
        assert "Measured on" in tables.latest()
    else:
        assert tables.latest() == "No figure of a GPU has been measured yet, and none is claimed."
