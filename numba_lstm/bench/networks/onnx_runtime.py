"""onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from numba_lstm.bench.network import Network
from numba_lstm.bench.networks import Stepper
from numba_lstm.bench.networks.onnx_model import graph
from numba_lstm.bench.problem import Array

NAME, IMPORTS, PACKAGES = "onnxruntime", ("onnxruntime", "onnx"), ("onnxruntime", "onnxruntime-gpu")

SCRIPT = """
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
np.save("y.npy", session.run(None, {"x": np.load("x.npy")})[0])
"""


def _session(model: Any) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def run_of(network: Network) -> Callable[[Array], Array]:
    """All rows of a batch."""
    session = _session(graph(network))
    return lambda x: np.asarray(session.run(None, {"x": x})[0])


def stepper_of(network: Network) -> Stepper:
    """A graph of one step, the states handed from call to call."""
    session = _session(graph(network, one_step=True))
    zeros = np.zeros((1, 1, network.cell.units), np.float32)
    feeds = {"h": zeros, "c": zeros}

    def step(x: Array) -> Array:
        output, feeds["h"], feeds["c"] = session.run(None, {"x": x[np.newaxis], **feeds})
        return np.asarray(output)

    return step, lambda: feeds.update(h=zeros, c=zeros)


def write(network: Network, folder: Path) -> None:
    """model.onnx"""
    (folder / "model.onnx").write_bytes(graph(network).SerializeToString())
