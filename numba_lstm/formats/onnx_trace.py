"""An ONNX graph followed from its input to its output, to find the chain of layers that it computes.

The operations that move numbers are executed on marks (see `numba_lstm.formats.onnx_stages`), for a batch of some rows
and timesteps, so the idioms of exporters need not be known. Two sizes of the batch must give the same layers.
"""

from __future__ import annotations

import time
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numba_lstm.checks import shown
from numba_lstm.errors import FileFormatError
from numba_lstm.formats.onnx_attributes import CLOSE, hard_sigmoid
from numba_lstm.formats.onnx_lstm import read_lstm
from numba_lstm.formats.onnx_ops import LARGEST, MOVES, SHAPES, result_size
from numba_lstm.formats.onnx_stages import (
    GraphStage,
    Grid,
    Joined,
    Marked,
    NotAChainError,
    Unsupported,
    joined,
    rows_of,
    separated,
    settled,
)
from numba_lstm.formats.onnx_wire import Graph, GraphConstant, Node

Array = NDArray[Any]
Value = Array | GraphConstant | Marked | Joined | Unsupported | None

# Operation -> activation, for some attributes of those that have any.
_ACTIVATIONS = {
    "Elu": "elu",
    "Gelu": "gelu",
    "HardSigmoid": "hard_sigmoid",
    "LogSoftmax": "log_softmax",
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Tanh": "tanh",
}
_MOST_WRITTEN = 2**24  # elements, of all values together
_TO_FLOATS, _TO_INTEGERS = (1, 11), (6, 7)  # casts: to float32 and float64, to int32 and int64


class Tracer:
    """The values of a graph, for the input `root` with the timesteps or the batch first, in a grid of some size."""

    def __init__(self, graph: Graph, root: str, time_first: bool, grid: Grid, deadline: float) -> None:
        self.graph, self.grid, self.root = graph, grid, root
        self.values: dict[str, Value] = {}
        self._deadline = deadline  # of the thread's processor time
        self._written = 0
        sizes: dict[str, int] = {}
        shape = graph.inputs[root]
        lengths = [grid.timesteps, grid.batch] if time_first else [grid.batch, grid.timesteps]
        for axis, length in zip(shape, lengths, strict=False):
            if isinstance(axis, str) and axis:
                sizes[axis] = length
        for name, axes in graph.inputs.items():
            lengths = [axis if isinstance(axis, int) else sizes.get(axis, grid.batch) for axis in axes]
            features = lengths[-1] if name != root or len(axes) > 2 else 1
            if name == root and len(axes) == 3 and isinstance(axes[2], str):
                raise FileFormatError(
                    f"input {shown(name)} has shape {shown(axes)}; expected a fixed number of features"
                )
            if not 0 < prod(lengths) <= LARGEST:
                raise FileFormatError(
                    f"input {shown(name)} has shape {shown(axes)}, which is too large; expected open axes"
                )
            count = prod(lengths)
            self._write(count)
            stage = GraphStage("input", name, features, grid, inputs=0 if name == root else count)
            if name == root:
                ids = stage.sequence() if time_first else stage.sequence().swapaxes(0, 1)
                self.values[name] = Marked(stage, ids if len(axes) > 2 else ids[..., 0])
            else:
                self.values[name] = Marked(stage, np.arange(count, dtype=np.int32).reshape(lengths))

    def run(self) -> None:
        """Follow the graph, node by node."""
        for node in self.graph.nodes:
            if time.thread_time() > self._deadline:
                raise FileFormatError("the graph takes too long to make sense of; expected LSTM layers in a row")
            inputs = [self.value(name) for name in node.inputs]
            broken = next((value for value in inputs if isinstance(value, Unsupported)), None)
            try:
                with np.errstate(all="ignore"):
                    outputs = [broken] * len(node.outputs) if broken else self._outputs(node, inputs)
            except FileFormatError:
                raise
            # NumPy meets shapes that do not fit with many kinds of exceptions.
            except Exception as error:
                raise NotAChainError(
                    f"{node.where()}, {shown(node.op)}, does not fit its inputs ({type(error).__name__})"
                ) from error
            for name, value in zip(node.outputs, outputs, strict=False):
                if name and (name in self.values or name in self.graph.tensors):
                    raise FileFormatError(f"{node.where()} makes {shown(name)}, which is there already; it is damaged")
                self.values[name] = value

    def value(self, name: str) -> Value:
        """The value of that name; None where there is none."""
        if name in self.values:
            return self.values[name]
        if name and name not in self.graph.tensors:
            raise FileFormatError(f"a node takes {shown(name)}, which nothing before it makes; the file is damaged")
        return self.graph.tensors.get(name)

    def _outputs(self, node: Node, inputs: list[Value]) -> list[Value]:
        if node.domain not in ("", "ai.onnx"):
            return [Unsupported(node)] * len(node.outputs)
        if node.op == "LSTM":
            return list(read_lstm(node, inputs, self.grid, self.root))
        if node.op == "Constant":
            return [self._constant(node)]
        data = [value for value in inputs if isinstance(value, Marked | Joined)]
        if not data or node.op == "Shape":
            return self._numbers(node, inputs)
        if node.op in MOVES and not (node.op == "Gather" and not isinstance(inputs[0], Marked | Joined)):
            return self._moved(node, inputs, data)
        if isinstance(data[0], Joined):
            raise NotAChainError(f"{node.where()} joins what several nodes gave")
        # Further outputs are masks of dropout.
        found = self._computed(node, inputs, data[0])
        return [found or Unsupported(node), *[Unsupported(node)] * (len(node.outputs) - 1)]

    @staticmethod
    def _constant(node: Node) -> Value:
        key, value = next(iter(node.attributes.items()))  # there is one, of the type that its name says
        if isinstance(value, GraphConstant):
            return value
        dtype = {"value_int": "i8", "value_ints": "i8", "value_float": "f4", "value_floats": "f4"}.get(key)
        return Unsupported(node) if dtype is None else np.array(value, dtype)

    def _numbers(self, node: Node, inputs: list[Value]) -> list[Value]:
        """Outputs that depend on no data: shapes, and zeros to begin with."""
        operation = MOVES.get(node.op) or SHAPES.get(node.op)
        if operation is None:
            return [Unsupported(node)] * len(node.outputs)
        if node.op == "Identity":
            return inputs
        arrays = [self._as_numbers(value) for value in inputs]
        self._write(result_size(node, arrays))
        return list(operation(node, arrays, self.graph.opset))

    def _moved(self, node: Node, inputs: list[Value], data: list[Marked | Joined]) -> list[Value]:
        if len(data) > 1:
            self._write(sum(value.ids.size for value in data))
        stages, marks = joined(data)
        moving = iter(marks)
        arrays = [next(moving) if isinstance(value, Marked | Joined) else self._as_numbers(value) for value in inputs]
        self._write(result_size(node, arrays))
        return [separated(stages, ids) for ids in MOVES[node.op](node, arrays, self.graph.opset)]

    def _as_numbers(self, value: Value) -> Any:
        if isinstance(value, GraphConstant):
            self._write(prod(value.shape))
            return value.constant()
        return value.ids if isinstance(value, Marked | Joined) else value

    def _write(self, count: int) -> None:
        """Account for `count` elements before they are written."""
        self._written += count
        if count > LARGEST or self._written > _MOST_WRITTEN:
            raise FileFormatError("the graph is too large to be followed; export it with fewer timesteps and rows")

    def _computed(self, node: Node, inputs: list[Value], data: Marked) -> Value:
        """The value that a node computes from data, of a new stage; None for operations that are not supported."""
        first, second = inputs[0], inputs[1] if len(inputs) > 1 else None
        if data.stage.kind == "indices" and node.op != "Gather":
            return None
        if name := _activation(node):
            return self._activated(node, data, name)
        if node.op == "Dropout":
            return data if data is first and self._does_nothing(node, inputs) else None
        if node.op == "Cast":
            return self._cast(node, data)
        if node.op == "Gather" and isinstance(first, GraphConstant) and len(first.shape) == 2:
            return self._embedded(node, first, data)
        if node.op == "MatMul" and data is first and isinstance(second, GraphConstant) and len(second.shape) == 2:
            return self._dense(node, data, second, None, transposed=False)
        if node.op == "Gemm" and data is first and isinstance(second, GraphConstant) and len(second.shape) == 2:
            plain = [node.attributes.get(key, 1.0) == 1.0 for key in ("alpha", "beta")]
            bias = inputs[2] if len(inputs) > 2 else None
            if (
                data.ids.ndim == 2
                and all(plain)
                and not node.attributes.get("transA")
                and (bias is None or isinstance(bias, GraphConstant))
            ):
                return self._dense(node, data, second, bias, transposed=bool(node.attributes.get("transB")))
        if node.op == "Add" and data.stage.kind == "dense" and data.stage.bias is None:
            return self._biased(node, data, second if data is first else first)
        return None

    def _biased(self, node: Node, data: Marked, bias: Value) -> Value:
        """The output of a MatMul plus a bias."""
        stage = data.stage
        if not isinstance(bias, GraphConstant) or len(bias.shape) > data.ids.ndim or "axis" in node.attributes:
            return None
        if bias.shape[-1:] != (stage.features,) or not set(bias.shape[:-1]) <= {1}:
            return None
        rows_of(data, node.where())
        _check_floats(node, bias)
        parts = stage.parent, stage.activation, stage.kernel, stage.transposed
        return Marked(GraphStage("dense", stage.name, stage.features, self.grid, *parts, bias), data.ids)

    def _does_nothing(self, node: Node, inputs: list[Value]) -> bool:
        """Whether a Dropout is inactive, as at inference."""
        if 0 < self.graph.opset < 7:
            return bool(node.attributes.get("is_test"))
        training = inputs[2] if len(inputs) > 2 else None
        return training is None or not (isinstance(training, Marked | Joined) or np.any(self._as_numbers(training)))

    def _cast(self, node: Node, data: Marked) -> Value:
        """Casts to floats change nothing; data cast to integers can only go to an Embedding."""
        to = node.attributes.get("to")
        if to in _TO_INTEGERS and data.stage.kind == "input":
            return Marked(GraphStage("indices", data.stage.name, data.stage.features, self.grid, data.stage), data.ids)
        return data if to in _TO_FLOATS else None

    def _activated(self, node: Node, data: Marked, name: str) -> Value:
        data = settled(data)
        if name in ("softmax", "log_softmax"):
            rows_of(data, node.where())
            axis = node.attributes.get("axis", -1 if self.graph.opset >= 13 else 1)
            if axis not in (-1, data.ids.ndim - 1):
                return None
        stage = GraphStage("activation", node.name, data.stage.features, self.grid, data.stage, name)
        return Marked(stage, data.ids)

    def _embedded(self, node: Node, table: GraphConstant, data: Marked) -> Value:
        source = data.stage.parent if data.stage.kind == "indices" else data.stage
        if node.attributes.get("axis", 0) != 0 or source is None or source.kind != "input" or source.features != 1:
            return None
        _check_floats(node, table)
        stage = GraphStage("embedding", node.name, table.shape[1], self.grid, source, kernel=table)
        return Marked(stage, self._new_marks(data.ids, stage))

    def _dense(
        self, node: Node, data: Marked, kernel: GraphConstant, bias: GraphConstant | None, *, transposed: bool
    ) -> Value:
        data = settled(data)
        rows = rows_of(data, node.where())
        _check_floats(node, kernel, bias)
        input_dim, units = kernel.shape[::-1] if transposed else kernel.shape
        if input_dim != data.stage.features or (bias is not None and bias.shape not in ((units,), (1, units))):
            raise FileFormatError(f"{node.where()} has weights of shape {kernel.shape}; they do not fit its input")
        stage = GraphStage("dense", node.name, units, self.grid, data.stage, "linear", kernel, transposed, bias)
        return Marked(stage, self._new_marks(rows, stage))

    def _new_marks(self, rows: Array, stage: GraphStage) -> Array:
        self._write(rows.size * stage.features)
        marks: Array = rows[..., np.newaxis] * np.int32(stage.features) + np.arange(stage.features, dtype=np.int32)
        return marks


def _check_floats(node: Node, *weights: GraphConstant | None) -> None:
    for tensor in weights:
        if tensor is not None and tensor.dtype.kind != "f":
            raise FileFormatError(f"{node.where()} has weights {shown(tensor.name)} of {tensor.dtype}; expected floats")


def _activation(node: Node) -> str | None:
    """The activation of a node, with its attributes; None if no version of Keras has it."""
    name = _ACTIVATIONS.get(node.op)
    alpha, beta = node.attributes.get("alpha"), node.attributes.get("beta")
    if name == "hard_sigmoid":
        return hard_sigmoid(0.2 if alpha is None else alpha, 0.5 if beta is None else beta)
    if name == "elu" and alpha is not None and abs(alpha - 1) > CLOSE:
        return None
    return name if node.attributes.get("approximate", "none") == "none" else None
