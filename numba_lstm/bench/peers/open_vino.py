"""OpenVINO, told to compute in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numba_lstm.bench.problem import Array, PlainWeights, Problem

NAME, PRECISION, TIME_MAJOR = "OpenVINO", "float32", False
IMPORTS = VERSIONS = ("openvino",)


def compiled(cells: Sequence[PlainWeights], batch: int, timesteps: int, threads: int, hint: str | None = "f32") -> Any:
    """Inputs x (batch, timesteps, input_dim), h, c, h, ...; outputs y (batch, 1, timesteps, units), h, c, h, ..."""
    import openvino as ov
    from openvino import opset8 as ops

    x = ops.parameter([batch, timesteps, cells[0].input_dim], np.float32)
    inputs, states, y = [x], [], x.output(0)
    for weights in cells:
        kernel, recurrent_kernel, bias = (array[np.newaxis] for array in weights.gates("fico"))
        h, c = (ops.parameter([batch, 1, weights.units], np.float32) for _ in "hc")
        lengths = np.full(batch, timesteps, np.int64)
        node = ops.lstm_sequence(y, h, c, lengths, kernel, recurrent_kernel, bias, weights.units, "forward")
        inputs += [h, c]
        states += [node.output(1), node.output(2)]
        y = ops.squeeze(node.output(0), np.array([1])).output(0)
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    if hint is not None:
        config["INFERENCE_PRECISION_HINT"] = hint
    return ov.Core().compile_model(ov.Model([y, *states], inputs, "lstm"), "CPU", config)


def sequence(problem: Problem, threads: int, hint: str | None = "f32") -> Callable[[], Any]:
    """A batch of sequences."""
    import openvino as ov

    request = compiled([problem.weights], problem.batch, problem.timesteps, threads, hint).create_infer_request()
    zeros = np.zeros((problem.batch, 1, problem.units), np.float32)
    for i, array in enumerate((problem.x, zeros, zeros)):
        request.set_input_tensor(i, ov.Tensor(array))

    def run() -> Any:
        request.infer()
        return request.get_output_tensor(0).data

    return run


def stepper(cells: Sequence[PlainWeights], threads: int) -> Callable[[Array], Array]:
    """One step per call, the state copied from the outputs to the inputs."""
    request = compiled(cells, 1, 1, threads).create_infer_request()
    tensors = [request.get_input_tensor(i).data for i in range(1 + 2 * len(cells))]
    for tensor in tensors[1:]:
        tensor[...] = 0

    def step(x: Array) -> Array:
        tensors[0][0] = x
        request.infer()
        for i, tensor in enumerate(tensors[1:], 1):
            tensor[...] = request.get_output_tensor(i).data
        return np.asarray(request.get_output_tensor(0).data[0])

    return step
