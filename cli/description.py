"""The description that `inspect` prints: collected as plain data, then formatted as lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

from numba_lstm.formats import LoadReport, from_config, load, open_stored
from numba_lstm.layers import RNN, Bidirectional, Dense, Embedding, TimeDistributed
from numba_lstm.layers.layer import Layer
from numba_lstm.layers.normalization import Normalization
from numba_lstm.model import Sequential
from numba_lstm.runner.notes import model_notes
from numba_lstm.semantics.dialects import Dialect

from .options import count, in_options

Shape = Sequence[int | None]
Weight = dict[str, Any]


def describe_file(file: str, config: str | None, dialect: Dialect | None) -> dict[str, Any]:
    """The model in a file, or its arrays where there is no configuration, as plain data."""
    if config is None:
        if Path(file).suffix.lower() == ".json":
            return {"file": file, **_describe(from_config(file, dialect))}
        with open_stored(file) as stored:
            if stored.config is None:
                arrays = [_weight(array.name, array.shape, array.dtype_name, array.where) for array in stored.arrays()]
                return {
                    "file": file,
                    "format": stored.format,
                    "producer": stored.producer,
                    "parameters": _count(arrays),
                    "arrays": arrays,
                    "notes": [
                        "there is no configuration: give the model's JSON or .keras as --config to see its layers"
                    ],
                }
    return {"file": file, **_describe(load(file, config=config, dialect=dialect))}


def _describe(model: Sequential) -> dict[str, Any]:
    source: LoadReport = model.source
    known = model.row_shape is not None
    shape: Any = None
    if model.row_shape is not None:
        steps, *features = model.row_shape
        shape = (steps, None, *features) if model.time_major else (None, steps, *features)
    stored = iter(source.weights)
    layers = []
    for layer in model.layers:
        if source.weights:
            own = [next(stored) for _ in layer.weight_names()]
            weights = [_weight(one.name.partition("/")[2], one.shape, one.dtype, one.where) for one in own]
        else:
            weights = [_weight(name, size, layer.dtype, None) for name, size in weight_shapes(layer, shape)]
        if known:
            shape = _first(layer.output_shape(shape))
        layers.append(
            {
                "name": layer.name,
                "class_name": type(layer).__name__,
                "summary": summary(layer),
                "output_shape": _without_batch(shape, model.time_major) if known else None,
                "parameters": _count(weights),
                "weights": weights,
                "config": layer.get_config(),
            }
        )
    return {
        "format": source.format,
        "producer": source.producer,
        "dialect": source.dialect,
        "dialect_from": source.dialect_from,
        "dtype": model.dtype,
        "input_shape": list(model.row_shape) if model.row_shape is not None else None,
        "output_shape": layers[-1]["output_shape"],
        "parameters": sum(layer["parameters"] for layer in layers) if known else None,
        "layers": layers,
        "notes": [in_options(note) for note in (*source.notes, *model_notes(model))],
    }


def _weight(name: str, shape: Sequence[int], dtype: str, where: str | None) -> Weight:
    return {"name": name, "shape": list(shape), "dtype": dtype, "where": where}


def _count(weights: Sequence[Weight]) -> int:
    return sum(prod(weight["shape"]) for weight in weights)


def _first(shape: Any) -> Any:
    """The shape of the outputs, without those of states."""
    return shape[0] if isinstance(shape, list) else shape


def _without_batch(shape: Shape, time_major: bool) -> list[int | None]:
    return [shape[0], *shape[2:]] if time_major and len(shape) > 2 else list(shape[1:])


def weight_shapes(layer: Layer, input_shape: Shape | None) -> list[tuple[str, tuple[int, ...]]]:
    """The names and shapes of the weights that `layer` would have for inputs of `input_shape`, without making them."""
    width = None if input_shape is None else input_shape[-1]
    if isinstance(layer, TimeDistributed):
        return weight_shapes(layer.layer, input_shape)
    if isinstance(layer, Embedding):
        return [("embeddings", (layer.input_dim, layer.output_dim))]
    if width is None or input_shape is None:
        return []
    if isinstance(layer, Normalization):
        return [(name, layer.shape_for(input_shape)) for name in layer.weight_names()]
    if isinstance(layer, Dense):
        return [("kernel", (width, layer.units)), *([("bias", (layer.units,))] if layer.use_bias else [])]
    if isinstance(layer, Bidirectional):
        sizes = [size for one in (layer.layer, layer.backward_layer) for _, size in weight_shapes(one, input_shape)]
        return list(zip(layer.weight_names(), sizes, strict=True))
    if isinstance(layer, RNN):
        widths = [width, *(cell.units for cell in layer.cells)]
        sizes = [size for cell, below in zip(layer.cells, widths, strict=False) for size in cell.weight_shapes(below)]
        return list(zip(layer.weight_names(), sizes, strict=True))
    return []


def summary(layer: Layer) -> str:
    """A layer in a few words: LSTM(32, tanh, sigmoid)."""
    if isinstance(layer, Bidirectional):
        return f"Bidirectional({summary(layer.layer)}, {layer.merge_mode})"
    if isinstance(layer, TimeDistributed):
        return f"TimeDistributed({summary(layer.layer)})"
    words: list[Any] = []
    if isinstance(layer, RNN):
        words = [cell.units for cell in layer.cells]
        words += dict.fromkeys(
            _name(function) for cell in layer.cells for function in (cell.activation, cell.recurrent_activation)
        )
        words += [name for name in ("return_sequences", "go_backwards", "stateful") if getattr(layer, name)]
    elif isinstance(layer, Dense):
        words = [layer.units, _name(layer.activation)]
    elif isinstance(layer, Embedding):
        words = [layer.input_dim, layer.output_dim]
    return f"{type(layer).__name__}({', '.join(map(str, words))})" if words else type(layer).__name__


def _name(function: Any) -> str:
    return function if isinstance(function, str) else getattr(function, "__name__", "linear")


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The description as lines of text."""
    yield ", ".join(filter(None, (f"{found['file']}: {found['format']}", found["producer"])))
    if "arrays" in found:
        yield f"{count(found['parameters'], 'parameter')} in {count(len(found['arrays']), 'array')}"
        yield from _weight_lines(found["arrays"])
    else:
        known = found["parameters"] is not None
        parameters = count(found["parameters"], "parameter") if known else "as many parameters as input_dim makes them"
        yield f"dialect {found['dialect']} ({found['dialect_from']}), {found['dtype']}, {parameters}"
        if known:
            yield f"each row: {_shown(found['input_shape'])} -> {_shown(found['output_shape'])}"
        for number, layer in enumerate(found["layers"], 1):
            shape = "" if layer["output_shape"] is None else f" -> {_shown(layer['output_shape'])}"
            parameters = f", {count(layer['parameters'], 'parameter')}" if layer["weights"] else ""
            yield f"{number}. {layer['name']}: {layer['summary']}{shape}{parameters}"
            yield from _weight_lines(layer["weights"])
    for note in found["notes"]:
        yield f"note: {note}"


def _weight_lines(weights: Sequence[Weight]) -> Iterator[str]:
    for weight in weights:
        origin = f" from {weight['where']}" if weight["where"] else ""
        yield f"     {weight['name']} {tuple(weight['shape'])} {weight['dtype']}{origin}"


def _shown(shape: Shape) -> str:
    names = ["timesteps" if axis is None else str(axis) for axis in shape]
    return f"({', '.join(names)}{',' * (len(names) == 1)})"
