"""The CPU as it is found without numba is the one that numba compiles for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from numba_lstm.kernels import target
import sys
assert "numba" not in sys.modules
from numba.core.registry import cpu_target
features = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
assert {name[1:] for name in features if name.startswith("+")} == target.FEATURES
print(target.VECTOR_BITS, target.LANES_FLOAT32, target.BF16_PAIRS, target.INTERPRETED)
"""


def found(tmp_path: Path, program: str = PROGRAM, **variables: str) -> str:
    environment = {**os.environ, "NUMBA_LSTM_CACHE_DIR": str(tmp_path), **variables}
    if "NUMBA_DISABLE_JIT" not in variables:
        environment.pop("NUMBA_DISABLE_JIT", None)
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_this_machine(tmp_path: Path) -> None:
    assert found(tmp_path).startswith(("512 16", "256 8"))


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ("+avx2,+fma", "256 8 False False"),
        ("+avx512f,+avx512bf16,-sse4a", "512 16 True False"),
        ("", "256 8 False False"),
    ],
)
def test_one_that_numba_is_told(features: str, expected: str, tmp_path: Path) -> None:
    assert found(tmp_path, NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES=features) == expected


def test_a_generic_one(tmp_path: Path) -> None:
    assert found(tmp_path, NUMBA_CPU_NAME="generic") == "256 8 False False"


@pytest.mark.parametrize("by_file", [False, True], ids=["variable", "file"])
def test_interpreted(by_file: bool, tmp_path: Path) -> None:
    program = "from numba_lstm.kernels import target; print(target.INTERPRETED, target.VECTOR_BITS)"
    if by_file:
        pytest.importorskip("yaml")
        (tmp_path / ".numba_config.yaml").write_text("disable_jit: 1\n")
        assert found(tmp_path, program) == "True 256"
    else:
        assert found(tmp_path, program, NUMBA_DISABLE_JIT="1") == "True 256"


def test_a_cache_built_for_less_is_used(tmp_path: Path) -> None:
    choose = "from numba_lstm.kernel_cache import kernel_files; kernel_files.choose_features(frozenset(FEATURES))"
    program = "from numba_lstm.kernels import target; print(target.VECTOR_BITS)"
    found(tmp_path, choose.replace("FEATURES", "['avx2', 'fma']"))
    assert found(tmp_path, program) == "256"
    found(tmp_path, choose.replace("FEATURES", "['avx2', 'of_next_year']"))
    host = "from numba_lstm.kernel_cache import loader; print(512 if 'avx512f' in loader.host_features() else 256)"
    assert found(tmp_path, program) == found(tmp_path, host)
