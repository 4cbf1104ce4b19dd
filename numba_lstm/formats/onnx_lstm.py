"""The LSTM node of ONNX: the supported part, and one-line errors for the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numba_lstm.checks import MAX_UNITS, shown
from numba_lstm.errors import FileFormatError
from numba_lstm.formats.onnx_attributes import CLOSE, hard_sigmoid
from numba_lstm.formats.onnx_stages import (
    BIDIRECTIONAL,
    FORWARD,
    REVERSE,
    GraphStage,
    Grid,
    Joined,
    LstmNode,
    Marked,
    MisreadError,
    NotAChainError,
)
from numba_lstm.formats.onnx_wire import GraphConstant, Node

# Name in ONNX, which ignores case -> name here, and alpha and beta for which they are the same: those of ONNX where a
# file gives none.
_ACTIVATIONS: dict[str, tuple[str, float | None, float | None]] = {
    "sigmoid": ("sigmoid", None, None),
    "tanh": ("tanh", None, None),
    "relu": ("relu", None, None),
    "softsign": ("softsign", None, None),
    "softplus": ("softplus", None, None),
    "hardsigmoid": ("hard_sigmoid", 0.2, 0.5),
    "elu": ("elu", 1.0, None),
}
_DEFAULTS = ["Sigmoid", "Tanh", "Tanh"]


def read_lstm(node: Node, inputs: list[Any], grid: Grid, root: str) -> tuple[Marked, Marked, Marked]:
    """Y, Y_h and Y_c of an LSTM node. Raises a `FileFormatError` that names the unsupported part."""
    x, kernel, recurrent_kernel, bias, lengths, h, c, peepholes = [*inputs, *[None] * 8][:8]
    where, attributes = node.where(), node.attributes
    if len(inputs) > 8:
        raise FileFormatError(f"{where} has {len(inputs)} inputs; expected 8 at most; it is damaged")
    for name, value in (("peepholes", peepholes), ("clip", attributes.get("clip"))):
        if value is not None:
            raise FileFormatError(f"{where} has {name}, which is not supported; expected a plain LSTM")
    if attributes.get("input_forget"):
        raise FileFormatError(f"{where} has input_forget set, which is not supported; expected a plain LSTM")
    direction = attributes.get("direction", FORWARD)
    if direction not in (FORWARD, REVERSE, BIDIRECTIONAL):
        raise FileFormatError(f"{where} has the direction {shown(direction)}; expected forward, reverse, bidirectional")
    directions = 2 if direction == BIDIRECTIONAL else 1
    if not isinstance(x, Marked) or x.stage.kind == "indices":
        raise NotAChainError(f"{where} does not read what one node gave")
    units = _check_weights(node, directions, x.stage.features, kernel, recurrent_kernel, bias)
    batch_first = bool(attributes.get("layout", 0))
    lstm = LstmNode(
        direction=direction,
        units=units,
        activations=_activations(node, directions),
        kernel=kernel,
        recurrent_kernel=recurrent_kernel,
        bias=bias,
        backwards=_is_turned_round(x, batch_first, where),
        lengths=_lengths(lengths, grid, root, where),
        states=_states(h, c, directions, units, batch_first, grid, root, where),
    )
    if lstm.backwards and directions == 2:
        raise NotAChainError(f"{where} is bidirectional and reads a sequence that was turned round")
    stage = GraphStage("lstm", node.name, directions * units, grid, x.stage, lstm=lstm)
    y = stage.sequence().reshape(grid.timesteps, grid.batch, directions, units)
    ends = [stage.marks(grid.rows + i * grid.batch, grid.batch).reshape(grid.batch, directions, units) for i in (0, 1)]
    if batch_first:
        return Marked(stage, y.swapaxes(0, 1)), Marked(stage, ends[0]), Marked(stage, ends[1])
    return (
        Marked(stage, y.transpose(0, 2, 1, 3)),
        Marked(stage, ends[0].swapaxes(0, 1)),
        Marked(stage, ends[1].swapaxes(0, 1)),
    )


def _check_weights(node: Node, directions: int, input_dim: int, kernel: Any, recurrent_kernel: Any, bias: Any) -> int:
    where = node.where()
    for name, value in (("W", kernel), ("R", recurrent_kernel), ("B", bias)):
        if not isinstance(value, GraphConstant) and not (name == "B" and value is None):
            raise FileFormatError(
                f"{where} has weights {name} that the graph computes; export it with constant folding"
            )
        if value is not None and value.dtype.kind != "f":
            raise FileFormatError(f"{where} has weights {name} of type {value.dtype}; expected floats")
    units = node.attributes.get("hidden_size", recurrent_kernel.shape[-1] if recurrent_kernel.shape else 0)
    if not isinstance(units, int) or not 1 <= units <= MAX_UNITS:
        raise FileFormatError(f"{where} has hidden_size {shown(units)}; expected 1 to {MAX_UNITS}")
    if recurrent_kernel.shape == (directions, 4 * units, recurrent_kernel.shape[-1]) and (
        recurrent_kernel.shape[-1] != units
    ):
        raise FileFormatError(
            f"{where} has {recurrent_kernel.shape[-1]} outputs for {units} units, a projection (proj_size), which is "
            "not supported; expected a plain LSTM"
        )
    expected = [
        ("W", kernel, (directions, 4 * units, input_dim)),
        ("R", recurrent_kernel, (directions, 4 * units, units)),
        ("B", bias, (directions, 8 * units)),
    ]
    for name, tensor, shape in expected:
        if tensor is not None and tensor.shape != shape:
            raise FileFormatError(f"{where}: {name} has shape {tensor.shape}; expected {shape}")
    return units


def _activations(node: Node, directions: int) -> tuple[tuple[str, str], ...]:
    names = node.attributes.get("activations") or _DEFAULTS * directions
    given = [iter(node.attributes.get(f"activation_{key}") or []) for key in ("alpha", "beta")]
    if len(names) != 3 * directions:
        raise FileFormatError(f"{node.where()} has {len(names)} activations; expected {3 * directions}")
    found = []
    for name in names:
        keras, *limits = _ACTIVATIONS.get(name.lower(), ("", None, None))
        # As many alphas and betas are given as there are activations that have one.
        pairs = [(next(one, limit), limit) for one, limit in zip(given, limits, strict=True) if limit]
        values = [value for value, _ in pairs]
        if keras == "hard_sigmoid":
            keras = hard_sigmoid(*values) or ""
        elif any(abs(value - limit) > CLOSE for value, limit in pairs):
            keras = ""
        if not keras:
            detail = f" with alpha and beta {shown(values)}" if values else ""
            raise FileFormatError(
                f"{node.where()} has the activation {shown(name)}{detail}, which is not supported; expected some of: "
                f"{', '.join(_ACTIVATIONS)}, as Keras has them"
            )
        found.append(keras)
    if any(next(one, None) is not None for one in given):
        raise FileFormatError(f"{node.where()} has an alpha or beta that belongs to no activation of its own")
    if any(found[i + 1] != found[i + 2] for i in range(0, len(found), 3)):
        raise FileFormatError(
            f"{node.where()} has the activations {shown(names)}; expected the same for the candidate and the output"
        )
    return tuple((found[i], found[i + 1]) for i in range(0, len(found), 3))


def _is_turned_round(x: Marked, batch_first: bool, where: str) -> bool:
    """Whether x is its stage's sequence backwards. Raises `NotAChainError` unless it is the whole sequence."""
    marks = x.ids.swapaxes(0, 1) if batch_first and x.ids.ndim > 1 else x.ids
    expected = x.stage.sequence()
    if marks.shape == expected.shape:
        if (marks == expected).all():
            return False
        if (marks == expected[::-1]).all():
            return True
    raise MisreadError(f"{where} does not read the whole sequence of what is before it")


def _lengths(value: Any, grid: Grid, root: str, where: str) -> str | None:
    """The input that gives each row's length; None where all timesteps count."""
    if value is None:
        return None
    if isinstance(value, Marked):
        if value.stage.kind == "input" and value.stage.name != root and value.ids.tolist() == list(range(grid.batch)):
            return value.stage.name
    elif not isinstance(value, Joined):
        numbers = value.constant() if isinstance(value, GraphConstant) else value
        if (numbers == grid.timesteps).all():
            return None
    raise FileFormatError(f"{where} has sequence_lens that are no input of the graph; expected an input, or none")


def _states(
    h: Any, c: Any, directions: int, units: int, batch_first: bool, grid: Grid, root: str, where: str
) -> tuple[tuple[tuple[str, int], tuple[str, int]], ...] | None:
    """The sources of the initial states of each direction; None for zeros."""
    shape = (grid.batch, directions, units) if batch_first else (directions, grid.batch, units)
    if _is_zero(h, shape, where) and _is_zero(c, shape, where):
        return None
    found: list[list[tuple[str, int]]] = []
    for value in (h, c):
        if not isinstance(value, Marked) or value.stage.kind != "input" or value.stage.name == root:
            raise FileFormatError(
                f"{where} has initial states that are no inputs of the graph; expected inputs, or none"
            )
        if value.ids.shape != shape:
            raise NotAChainError(f"{where} has initial states of shape {value.ids.shape}; expected {shape}")
        marks: NDArray[Any] = value.ids.swapaxes(0, 1) if batch_first else value.ids
        found.append([_plane(value.stage.name, marks[d], where) for d in range(directions)])
    return tuple(zip(*found, strict=True))


def _is_zero(value: Any, shape: tuple[int, ...], where: str) -> bool:
    if value is None:
        return True
    if isinstance(value, Marked | Joined):
        return False
    numbers = value.constant() if isinstance(value, GraphConstant) else value
    if np.asarray(numbers).any():
        raise FileFormatError(f"{where} has fixed initial states other than zeros, which is not supported")
    if np.shape(numbers) != shape:
        raise NotAChainError(f"{where} has initial states of shape {np.shape(numbers)}; expected {shape}")
    return True


def _plane(name: str, marks: NDArray[Any], where: str) -> tuple[str, int]:
    """The input and which (batch, units) of it the marks are: rows side by side, or one behind the other."""
    batch, units = marks.shape
    first = int(marks[0, 0])
    if (marks == first + np.arange(batch * units).reshape(batch, units)).all():
        return name, first // (batch * units)
    step = int(marks[1, 0]) - first if batch > 1 else units
    if first % units == 0 and (marks == first + np.arange(batch)[:, np.newaxis] * step + np.arange(units)).all():
        return name, first // units
    raise FileFormatError(f"{where} has initial states that were rearranged, which is not supported")
