"""``NUMBA_DISABLE_JIT=1``: the kernels as plain Python, for stepping through them with a debugger."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from support.beside import end, start
from support.paths import ROOT, TESTS

# What asks for neither a compiler nor equal bits: steps, sequences with masks and dropout, dense, activations.
SELECTED = {
    "kernels/test_cpu.py": "against_the_oracle or over_all_units or nan",
    "kernels/test_activations.py": "denormal or signed_zero",
    "kernels/test_normalizations.py": "test_normalizations or sparsemax",
    "kernels/test_apply.py": "of_ones_own",
    "kernels/test_pack.py": "rounding_of_weights or packed",
    "backends/cpu/test_run.py": "strided or empty",
    "test_cell.py": "test_a_step or function_as_activation",
    "test_bf16.py": "loading or (emulation and 1-3-5)",
}


def beside(folder: Path) -> str:
    """In a process of its own: what pytest prints."""
    variables = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)}
    files = [str(TESTS / name) for name in SELECTED]
    chosen = " or ".join(f"({Path(name).name} and ({selection}))" for name, selection in SELECTED.items())
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "-k", chosen]
    return end(start(command, variables, ROOT))


def test_a_selection_of_the_tests_passes_without_the_compiler(beside: str) -> None:
    passed = re.search(r"(\d+) passed", beside)
    assert passed and int(passed[1]) > 30, f"too few tests have these names: {beside[-300:]}"
