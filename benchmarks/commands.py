"""Whole commands: from the shell's point of view, the digits in data/ through the shortest script in each library."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from numba_lstm.bench.compare import Say
from numba_lstm.bench.problem import Array, Weights

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "data" / "digits"
OWN = "import sys; sys.argv[0] = 'numba-lstm'; from numba_lstm_cli.main import main; main()"
# The script, and the peer that must be there for it.
SCRIPTS = {
    "with_torch.py": "torch",
    "with_onnxruntime.py": "onnxruntime",
    "with_openvino.py": "OpenVINO",
    "with_keras.py": "Keras, TensorFlow",
}


def entries(peers: Sequence[ModuleType], times: int, say: Say) -> list[dict[str, Any]]:
    """Median and minimum of whole processes; a cold one of this project finds no compiled kernels."""
    if not times:
        return []
    names = {peer.NAME for peer in peers}
    found = []
    with tempfile.TemporaryDirectory() as folder:
        _models(Path(folder), names)
        output = Path(folder) / "y.npy"
        own = [sys.executable, "-c", OWN, "run", str(DIGITS / "model.h5"), str(DIGITS / "x.npy"), "-o", str(output)]
        lines = {"numba_lstm, warm": [*own, "--force"], "numba_lstm, cold": [*own, "--force"]}
        for script, peer in SCRIPTS.items():
            if peer in names and (peer != "OpenVINO" or "onnxruntime" in names):
                lines[peer] = [sys.executable, str(Path(__file__).parent / "scripts" / script), folder, str(DIGITS)]
        lines["import numpy"] = [sys.executable, "-c", "import numpy"]
        lines["import numba"] = [sys.executable, "-c", "import numba"]
        taken: dict[str, list[float]] = {name: [] for name in lines}
        for turn in range(times + 1):
            for name, line in lines.items():
                cold = name.endswith("cold")
                if cold and turn > 2:
                    continue
                cache = Path(folder) / (f"cold{turn}" if cold else "warm")
                taken[name].append(_run(line, folder, cache))
                if not name.startswith("import"):
                    _check(np.load(output), name)
                    output.unlink()
    for name, seconds in taken.items():
        counted = seconds[1:]
        found.append({"name": name, "min": min(counted), "median": statistics.median(counted), "runs": len(counted)})
        say(f"whole command, {name}: {found[-1]['median']:.2f} s")
    return found


def _run(line: Sequence[str], folder: str, cache: Path) -> float:
    """Seconds of one process."""
    environment = {**os.environ, "NUMBA_LSTM_CACHE_DIR": str(cache), "TF_CPP_MIN_LOG_LEVEL": "3"}
    # Sources need not be compiled by Python each time: whoever uses them has them compiled.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"a command of the benchmark failed: {done.stderr}")
    return taken


def _check(outputs: Array, name: str) -> None:
    difference = float(np.abs(outputs - np.load(DIGITS / "y.npy")).max())
    if not difference < 1e-5:
        raise ValueError(f"{name} differs from Keras's outputs for the digits by {difference:.2g}")


def _models(folder: Path, names: set[str]) -> None:
    """The digits' model in the files of each library."""
    import numba_lstm as nl

    kernel, recurrent_kernel, bias, dense, dense_bias = nl.load(str(DIGITS / "model.h5")).get_weights()
    cell = Weights(kernel, recurrent_kernel, bias)
    if "torch" in names:
        import torch

        lstm, linear = torch.nn.LSTM(8, 32, batch_first=True), torch.nn.Linear(32, 10)
        w, u, b = map(torch.from_numpy, cell.gates("ifco"))
        state = {"weight_ih_l0": w, "weight_hh_l0": u, "bias_ih_l0": b, "bias_hh_l0": torch.zeros_like(b)}
        lstm.load_state_dict(state)
        linear.load_state_dict({"weight": torch.from_numpy(dense.T.copy()), "bias": torch.from_numpy(dense_bias)})
        torch.save({"lstm": lstm.state_dict(), "linear": linear.state_dict()}, folder / "model.pt")
    if "onnxruntime" in names:
        _onnx(folder / "model.onnx", cell, dense, dense_bias)
    if "Keras, TensorFlow" in names:
        import keras

        layers = [keras.layers.LSTM(32), keras.layers.Dense(10, activation="softmax")]
        model = keras.Sequential([keras.Input((8, 8)), *layers])
        model.set_weights([kernel, recurrent_kernel, bias, dense, dense_bias])
        model.save(folder / "model.keras")


def _onnx(path: Path, cell: Weights, dense: Array, dense_bias: Array) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    w, r, b = (array[np.newaxis] for array in cell.gates("iofc"))
    constants = {"w": w, "r": r, "b": np.concatenate([b, np.zeros_like(b)], 1), "dense": dense, "bias": dense_bias}
    constants["axis"] = np.array([0], np.int64)
    nodes = [
        helper.make_node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["xt", "w", "r", "b"], ["", "h"], hidden_size=cell.units),
        helper.make_node("Squeeze", ["h", "axis"], ["last"]),
        helper.make_node("Gemm", ["last", "dense", "bias"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
