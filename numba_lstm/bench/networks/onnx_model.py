"""The network as an ONNX graph, for the libraries that read one."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_lstm.bench.network import Network


def graph(network: Network, one_step: bool = False) -> Any:
    """x (n, timesteps, input_dim) -> y (n, classes). With ``one_step`` x, h, c (1, 1, ...) -> y (1, classes), h, c."""
    from onnx import TensorProto, helper, numpy_helper

    cell, classes = network.cell, network.dense.shape[1]
    w, r, b = (array[np.newaxis] for array in cell.gates("iofc"))
    constants = {"w": w, "r": r, "b": np.concatenate([b, np.zeros_like(b)], 1)}
    constants |= {"dense": network.dense, "bias": network.dense_bias, "axis": np.array([0], np.int64)}
    state = ["h", "c"] if one_step else []
    after = ["h_next", "c_next"] if one_step else []
    shape: list[str | int] = [1, 1, cell.input_dim] if one_step else ["n", *network.x.shape[1:]]
    last = after[0] if one_step else "last"
    nodes = [
        helper.make_node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["xt", "w", "r", "b", "", *state], ["", *(after or [last])], hidden_size=cell.units),
        helper.make_node("Squeeze", [last, "axis"], ["row"]),
        helper.make_node("Gemm", ["row", "dense", "bias"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"]),
    ]

    def value(name: str, shape: list[str | int]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    inputs = [value("x", shape), *(value(name, [1, 1, cell.units]) for name in state)]
    outputs = [value("y", [shape[0], classes]), *(value(name, [1, 1, cell.units]) for name in after)]
    arrays = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    made = helper.make_graph(nodes, "network", inputs, outputs, arrays)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
