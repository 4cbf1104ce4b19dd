"""The interpreters that have what these tests compare with, each named by a variable of the environment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NEEDS = {
    "NUMBA_LSTM_KERAS2": "TensorFlow 2.15",
    "NUMBA_LSTM_KERAS3": "Keras 3 with a backend",
    "NUMBA_LSTM_TORCH": "PyTorch",
    "NUMBA_LSTM_SAFETENSORS": "the package safetensors",
}


def interpreter(variable: str) -> str:
    """The Python that `variable` names; without it the test fails, for it was asked for."""
    path = os.environ.get(variable)
    if not path:
        pytest.fail(f"set {variable} to a Python that has {NEEDS[variable]}", pytrace=False)
    return path


def run(variable: str, script: str, *arguments: object) -> str:
    """The output of a script of this folder, run in the interpreter's own environment."""
    beside = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    command = [interpreter(variable), str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=beside)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
