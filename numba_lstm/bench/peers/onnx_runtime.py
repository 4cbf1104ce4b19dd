"""onnxruntime with one LSTM node per layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numba_lstm.bench.problem import Array, PlainWeights, Problem

NAME, PRECISION, TIME_MAJOR = "onnxruntime", "float32", True
IMPORTS = VERSIONS = ("onnxruntime", "onnx")


def session_of(cells: Sequence[PlainWeights], batch: int, timesteps: int, threads: int) -> Any:
    """Inputs x (timesteps, batch, input_dim), h0, c0, h1, ...; outputs y (timesteps, 1, batch, units) and the same."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, inputs, outputs, x = [], [], [], [], "x"
    shape = [timesteps, batch, cells[0].input_dim]
    inputs.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, shape))
    for i, weights in enumerate(cells):
        kernel, recurrent_kernel, bias = weights.gates("iofc")
        for name, array in ("w", kernel), ("r", recurrent_kernel), ("b", np.concatenate([bias, np.zeros_like(bias)])):
            constants.append(numpy_helper.from_array(array[np.newaxis], f"{name}{i}"))
        names = [x, f"w{i}", f"r{i}", f"b{i}", "", f"h{i}", f"c{i}"]
        nodes.append(helper.make_node("LSTM", names, [f"y{i}", f"h{i}_next", f"c{i}_next"], hidden_size=weights.units))
        state = [1, batch, weights.units]
        for name in f"h{i}", f"c{i}":
            inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, state))
            outputs.append(helper.make_tensor_value_info(f"{name}_next", TensorProto.FLOAT, state))
        x = f"y{i}"
        if i + 1 < len(cells):
            constants.append(numpy_helper.from_array(np.array([1], np.int64), f"axis{i}"))
            nodes.append(helper.make_node("Squeeze", [x, f"axis{i}"], [f"x{i + 1}"]))
            x = f"x{i + 1}"
    last = [timesteps, 1, batch, cells[-1].units]
    graph = helper.make_graph(
        nodes, "lstm", inputs, [helper.make_tensor_value_info(x, TensorProto.FLOAT, last), *outputs], constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def zeros_of(cells: Sequence[PlainWeights], batch: int) -> dict[str, Array]:
    """Initial states of zeros."""
    return {f"{n}{i}": np.zeros((1, batch, w.units), np.float32) for i, w in enumerate(cells) for n in "hc"}


def sequence(problem: Problem, threads: int) -> Callable[[], Array]:
    """A batch of sequences."""
    session = session_of([problem.weights], problem.batch, problem.timesteps, threads)
    x = np.ascontiguousarray(problem.x.swapaxes(0, 1))
    feeds = {"x": x, **zeros_of([problem.weights], problem.batch)}
    return lambda: session.run(["y0"], feeds)[0][:, 0]


def stepper(cells: Sequence[PlainWeights], threads: int) -> Callable[[Array], Array]:
    """One step per call, the state handed from call to call."""
    session = session_of(cells, 1, 1, threads)
    feeds = zeros_of(cells, 1)
    names = list(feeds)

    def step(x: Array) -> Array:
        feeds["x"] = x[np.newaxis]
        output, *states = session.run(None, feeds)
        feeds.update(zip(names, states, strict=True))
        return np.asarray(output[0, 0])

    return step
