"""ONNX models whose LSTM nodes are plain, as PyTorch and tf2onnx export them. No package is needed to read them.

The gates of ONNX stand in the order i, o, f, c, in rows; the two halves of a bias are added. Its activations are those
of Keras 2, the slope of 0.2 that HardSigmoid has by itself included, so that is the dialect; with the slope 1/6 of
Keras 3 everywhere it is that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numba_lstm.checks import shown
from numba_lstm.errors import FileFormatError
from numba_lstm.formats.bounded import BoundedFile
from numba_lstm.formats.keras_json import placing
from numba_lstm.formats.onnx_plan import plan_of
from numba_lstm.formats.onnx_stages import GraphStage, LstmNode
from numba_lstm.formats.onnx_wire import GraphConstant, OnnxWire
from numba_lstm.formats.stored import StoredArray, StoredModel
from numba_lstm.model import Sequential

Array = NDArray[Any]

_GATES = (0, 2, 3, 1)  # where i, f, c, o stand in ONNX
_BLOCK = 64  # rows that are turned at a time: as many as stay in the cache


@contextmanager
def open_onnx(path: str | os.PathLike[str]) -> Iterator[StoredModel]:
    """The model in an ONNX file; its arrays can be read while the context lasts.

    Raises `FileFormatError` for a damaged file, and for a graph that is more than plain LSTM nodes in a row with dense
    layers and activations; it names what is not supported.
    """
    file = BoundedFile.open(path)
    try:
        with placing(file.name):
            if not file.size:
                raise FileFormatError("it is empty; expected an ONNX model")
            graph = OnnxWire(file).read_graph()
            with file.parsing("the graph", 0):
                pass
            plan = plan_of(graph)
            arrays = [array for stage in plan.stages for array in _arrays(stage)]
            dialect, dialect_from = plan.dialect()
        yield StoredModel(
            format="ONNX",
            producer=graph.producer,
            arrays=lambda: arrays,
            match=lambda model: _match(model, arrays, file.name),
            config={"class_name": "Sequential", "config": {"name": "onnx", "layers": plan.entries}},
            config_name=file.name,
            dialect=dialect,
            dialect_from=dialect_from,
            assumptions=plan.notes,
        )
    finally:
        file.close()


def _match(model: Sequential, arrays: list[StoredArray], name: str) -> list[StoredArray]:
    if len(arrays) != len(model.weight_names()):
        raise FileFormatError(
            f"{name} has {len(arrays)} arrays of weights; expected {len(model.weight_names())}, of the configuration"
        )
    return arrays


def _arrays(stage: GraphStage) -> Iterator[StoredArray]:
    if stage.lstm is not None:
        for direction in range(stage.lstm.directions):
            yield from _lstm_arrays(stage.lstm, direction)
    elif stage.kernel is not None:
        kernel, turned = stage.kernel, stage.transposed
        shape = kernel.shape[::-1] if turned else kernel.shape
        yield _stored(kernel, shape, lambda: np.ascontiguousarray(kernel.read().T) if turned else kernel.read())
        if stage.bias is not None:
            bias, units = stage.bias, stage.features
            yield _stored(bias, (units,), lambda: bias.read().reshape(units))


def _lstm_arrays(lstm: LstmNode, direction: int) -> Iterator[StoredArray]:
    for tensor in (lstm.kernel, lstm.recurrent_kernel):
        rows, columns = tensor.shape[1:]
        yield _stored(tensor, (columns, rows), _gates_reader(tensor, direction), direction)
    if lstm.bias is not None:
        yield _stored(lstm.bias, (4 * lstm.units,), _bias_reader(lstm.bias, direction), direction)


def _gates_reader(tensor: GraphConstant, direction: int) -> Callable[[], Array]:
    """(4*units, columns) of one direction as (columns, 4*units), the gates in order: turned block by block."""
    rows, columns = tensor.shape[1:]
    units = rows // 4

    def read() -> Array:
        array = np.empty((columns, rows), tensor.dtype)
        for place, gate in enumerate(_GATES):
            for first in range(0, units, _BLOCK):
                count = min(_BLOCK, units - first)
                start = (direction * rows + gate * units + first) * columns
                block = tensor.read(start, count * columns).reshape(count, columns)
                target = place * units + first
                array[:, target : target + count] = block.T
        return array

    return read


def _bias_reader(tensor: GraphConstant, direction: int) -> Callable[[], Array]:
    count = tensor.shape[1]

    def read() -> Array:
        halves = tensor.read(direction * count, count).reshape(2, 4, count // 8)
        halves = halves.astype(np.promote_types(halves.dtype, np.float32), copy=False)  # float16 would round the sums
        with np.errstate(all="ignore"):  # infinities of both signs, and sums beyond the largest number
            both: Array = (halves[0] + halves[1])[list(_GATES)].reshape(-1)
        return both

    return read


def _stored(
    tensor: GraphConstant, shape: tuple[int, ...], read: Callable[[], Array], direction: int = 0
) -> StoredArray:
    where = shown(tensor.name)
    if len(tensor.shape) > 1 and tensor.shape[0] == 2 and prod(shape) * 2 <= prod(tensor.shape):
        where += f" [{direction}]"
    return StoredArray(tensor.name, shape, tensor.dtype, where, read)
