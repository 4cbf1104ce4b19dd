"""``numba-lstm doctor``: facts, remedies, and the old kernels that it removes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from numba_lstm_cli.doctor import lines
from numba_lstm_cli.main import cli

import numba_lstm
from numba_lstm import doctor as diagnosis

posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="this platform has no owners and modes")
DOCTOR = [sys.executable, "-c", "import sys; from numba_lstm_cli.main import cli; cli(['doctor', *sys.argv[1:]])"]


def doctor(*words: str, **environment: str) -> str:
    """The stdout of the command, run as a process."""
    variables = {**os.environ, **environment}
    done = subprocess.run([*DOCTOR, *words], env=variables, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def found() -> dict[str, Any]:
    """The facts here, without the check."""
    return diagnosis.diagnose(check=False)


def test_a_layer_is_run_and_checked() -> None:
    result = CliRunner().invoke(cli, ["doctor", "--json"])
    assert result.exit_code == 0
    assert all(line.startswith("compiled ") for line in result.stderr.splitlines())
    found = json.loads(result.stdout)
    assert found["version"] == numba_lstm.__version__
    assert found["kernels"]["vector_bits"] in (256, 512)
    assert found["check"]["same_bits"] is True
    assert 0 < found["check"]["error"] < 1e-6
    assert {"h5", "onnx", "cuda", "dask", "plot"} <= set(found["extras"]) and "dev" not in found["extras"]
    assert found["extras"]["h5"]["pyfive"]


def test_lines_for_people(found: dict[str, Any]) -> None:
    text = "\n".join(lines(found))
    assert text.startswith(f"version   numba_lstm {numba_lstm.__version__} in ")
    for name in ("CPU", "kernels", "bits", "threads", "cache", "CUDA", "extras"):
        assert f"\n{name:<10}" in text
    assert "the promise holds here" in text or "not promised here" in text


def test_without_compilation_and_with_odd_variables(tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    text = doctor(NUMBA_DISABLE_JIT="1", NUMBA_LSTM_NUM_THREADS="many", NUMBA_LSTM_CACHE_DIR=str(blocked))
    assert "bits      not promised here: NUMBA_DISABLE_JIT is set, which is for debugging" in text
    assert "threads   NUMBA_LSTM_NUM_THREADS is 'many'; expected a number of threads from 1 to 1024" in text
    assert f"cache     none, each process compiles anew: {blocked}: Not a directory" in text
    assert "variable  NUMBA_LSTM_NUM_THREADS=many" in text


def shown(found: dict[str, Any], name: str, **facts: Any) -> str:
    """All lines, after some facts became others."""
    return "\n".join(lines({**found, name: {**found[name], **facts}}))


def test_every_lack_comes_with_a_remedy(found: dict[str, Any]) -> None:
    problem = "numba cannot be imported: Numba needs NumPy 2.4 or less"
    text = shown(found, "kernels", problem=problem)
    assert f"kernels   none: {problem}" in text
    text = shown(found, "kernels", same_bits=False, why_not="old has no fused multiply-add", fma=False)
    assert "without FMA\nbits      not promised here: old has no fused multiply-add" in text
    text = shown(found, "threads", number=8, quota=1.5)
    assert "the container grants the time of 1.5 CPUs: NUMBA_LSTM_NUM_THREADS=2 may be faster" in text
    others = [{"name": "0" * 20, "kernels": 3, "bytes": 2_000_000, "used": time.time() - 3 * 86_400}]
    text = shown(found, "cache", others=others, removable=True)
    assert "2.0 MB, last used 3 days ago; numba-lstm cache clear --others removes them" in text
    text = shown(found, "cache", others=others, removable=False, writable=False, problem=None)
    assert "1 folder of other versions, 2.0 MB, last used 3 days ago\n" in text
    assert ", read-only, so that new ones are not kept: " in text
    text = shown(found, "cache", problem="no room", variable=False)
    assert "none, each process compiles anew: no room\n          NUMBA_LSTM_CACHE_DIR can name a folder" in text
    text = shown(found, "cache", problem="no room", variable=True)
    assert "no room\n          NUMBA_LSTM_CACHE_DIR can name another\n" in text
    text = "\n".join(lines({**found, "extras": {"onnx": {"onnx": None}, "safetensors": {}, "h5": {"pyfive": "1.3"}}}))
    assert "extras    onnx: no onnx: pip install 'numba_lstm[onnx]'\n          h5: pyfive 1.3" in text
    assert "extras    unknown: numba_lstm runs from its sources" in "\n".join(lines({**found, "extras": {}}))


def test_cuda_in_one_line(found: dict[str, Any]) -> None:
    card = {"name": "A card", "compute_capability": "9.0", "memory": 2**33}
    there = {"devices": [card], "version": "13.2", "package": "0.30", "usable": True, "missing": []}
    line = "CUDA      A card (8 GiB, compute capability 9.0), driver for CUDA 13.2, numba-cuda 0.30\n"
    text = shown(found, "cuda", **there)
    assert line in text
    assert "device='auto' uses the CPU: no figures of a GPU have been measured yet" in text
    assert "\n          kernels portable: every cell; weights are read at each timestep\n" in text
    units = "128 units in float32, 64 units in float64, 128 inputs and 4 a unit"
    assert f"\n          kernels resident: cells of up to {units}; weights stay in registers and" in text
    lacking = {**there, "package": None, "usable": False, "missing": ["numba-cuda is not installed: pip install it"]}
    line = "none: numba-cuda is not installed: pip install it; there are A card (8 GiB, compute capability 9.0), driver"
    assert line in shown(found, "cuda", **lacking)
    nothing = {"devices": [], "version": None, "package": None, "usable": False, "missing": ["no NVIDIA driver"]}
    assert "CUDA      none: no NVIDIA driver\n" in shown(found, "cuda", **nothing)
