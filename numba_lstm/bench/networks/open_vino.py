"""OpenVINO, told to compute in float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from numba_lstm.bench.network import Network
from numba_lstm.bench.networks import Stepper
from numba_lstm.bench.networks.onnx_model import graph
from numba_lstm.bench.problem import Array

NAME, IMPORTS, PACKAGES = "OpenVINO, float32", ("openvino", "onnx"), ("openvino",)

SCRIPT = """
import numpy as np
import openvino

model = openvino.Core().compile_model("model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
np.save("y.npy", model(np.load("x.npy"))[0])
"""
FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}


def _request(model: Any, config: dict[str, str]) -> Any:
    import openvino as ov

    core = ov.Core()
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, **config}
    return core.compile_model(core.read_model(model.SerializeToString()), "CPU", options).create_infer_request()


def run_of(network: Network, config: dict[str, str] = FLOAT32) -> Callable[[Array], Array]:
    """All rows of a batch."""
    request = _request(graph(network), config)
    return lambda x: np.array(request.infer([x])[0])


def stepper_of(network: Network, config: dict[str, str] = FLOAT32) -> Stepper:
    """A graph of one step, the state copied from its outputs to its inputs."""
    request = _request(graph(network, one_step=True), config)
    x_now, h, c = (request.get_input_tensor(i).data for i in range(3))

    def restart() -> None:
        h[...] = c[...] = 0

    def step(x: Array) -> Array:
        x_now[0] = x
        request.infer()
        output, h[...], c[...] = (request.get_output_tensor(i).data for i in range(3))
        return np.array(output)

    restart()
    return step, restart


def write(network: Network, folder: Path) -> None:
    """model.onnx"""
    (folder / "model.onnx").write_bytes(graph(network).SerializeToString())
