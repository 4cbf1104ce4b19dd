"""Whole commands: from the shell's point of view, the digits in data/ through the shortest script in each library."""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from numba_lstm.bench.compare import Say
from numba_lstm.bench.demo import process_seconds
from numba_lstm.bench.network import digits
from numba_lstm.bench.networks import onnx_runtime, open_vino, pytorch, tensorflow_keras
from numba_lstm.bench.problem import Array

DIGITS = Path(__file__).parents[1] / "data" / "digits"
OWN = "import sys; sys.argv[0] = 'numba-lstm'; from numba_lstm_cli.main import main; main()"
# The peer that must be there for each.
SCRIPTS = {
    "torch": pytorch,
    "onnxruntime": onnx_runtime,
    "OpenVINO": open_vino,
    "Keras, TensorFlow": tensorflow_keras,
}


def entries(peers: Sequence[ModuleType], times: int, say: Say) -> list[dict[str, Any]]:
    """Median and minimum of whole processes; a cold one of this project finds no compiled kernels."""
    if not times:
        return []
    names = {peer.NAME for peer in peers}
    found = []
    network = digits()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(DIGITS / "x.npy", folder)
        own = [sys.executable, "-c", OWN, "run", str(DIGITS / "model.h5"), "x.npy", "-o", "y.npy", "--force"]
        lines = {"numba_lstm, warm": own, "numba_lstm, cold": own}
        for peer, library in SCRIPTS.items():
            if peer in names and (peer != "OpenVINO" or "onnxruntime" in names):
                library.write(network, folder)
                script = folder / f"with_{library.__name__.rpartition('.')[2]}.py"
                script.write_text(library.SCRIPT, encoding="utf-8")
                lines[peer] = [sys.executable, str(script)]
        lines["import numpy"] = [sys.executable, "-c", "import numpy"]
        lines["import numba"] = [sys.executable, "-c", "import numba"]
        taken: dict[str, list[float]] = {name: [] for name in lines}
        for turn in range(times + 1):
            for name, line in lines.items():
                cold = name.endswith("cold")
                if cold and turn > 2:
                    continue
                cache = str(folder / (f"cold{turn}" if cold else "warm"))
                taken[name].append(process_seconds(line, folder, NUMBA_LSTM_CACHE_DIR=cache))
                if not name.startswith("import"):
                    _check(np.load(folder / "y.npy"), name)
                    (folder / "y.npy").unlink()
    for name, seconds in taken.items():
        counted = seconds[1:]
        found.append({"name": name, "min": min(counted), "median": statistics.median(counted), "runs": len(counted)})
        say(f"whole command, {name}: {found[-1]['median']:.2f} s")
    return found


def _check(outputs: Array, name: str) -> None:
    difference = float(np.abs(outputs - np.load(DIGITS / "y.npy")).max())
    if not difference < 1e-5:
        raise ValueError(f"{name} differs from Keras's outputs for the digits by {difference:.2g}")
