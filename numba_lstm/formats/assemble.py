"""From a reader's result to a model with its weights, alike for all formats."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from numba_lstm.checks import shown
from numba_lstm.errors import Argument, FileFormatError, Message
from numba_lstm.formats.config_json import read_config
from numba_lstm.formats.keras_json import (
    LayerEntries,
    all_entries,
    as_float64,
    build_chain,
    chain_dtypes,
    placing,
    read_chain,
    with_rules_of,
)
from numba_lstm.formats.keras_versions import dialect_of_version, version_by_format
from numba_lstm.formats.regular import expansion_limit
from numba_lstm.formats.stored import LoadReport, StoredArray, StoredModel, WeightSource
from numba_lstm.layers import Dense, Flatten, Recurrent
from numba_lstm.model import Sequential
from numba_lstm.semantics.dialects import SYSTEM_NAMES, Dialect

# Layers that let the number of features pass unchanged: behind them the first weight tells the model's input_dim.
_TRANSPARENT = (
    "Activation",
    "BatchNormalization",
    "Dropout",
    "LayerNormalization",
    "Masking",
    "SpatialDropout1D",
)


def assemble(
    stored: StoredModel, name: str, config: Mapping[str, Any] | str | os.PathLike[str] | None, dialect: Dialect | None
) -> Sequential:
    """The model in a file. `config` replaces its configuration, `dialect` its dialect.

    Raises `FileFormatError`, `ConfigError`, `ShapeError` and `DTypeError`, each naming file, layer or array.
    """
    document, config_name = _configuration(stored, name, config)
    with placing(config_name):
        chain = read_chain(document, config_name)
        has_float64, notes = chain_dtypes(chain)
        chain = as_float64(chain) if has_float64 else chain
        chain, chosen, chosen_from = settle_dialect(stored, chain, dialect, own_config=config is None)
    model = build_chain(chain, chosen, config_name)
    with placing(name):
        arrays = stored.match(model)
        if any(array.dtype == np.float64 for array in arrays) and not has_float64:
            model = build_chain(as_float64(chain), chosen, config_name)
        _check_growth(arrays, name)
        _set_weights(model, arrays, name)
        settled = _settle_shape(model)
    assumed = stored.assumptions if config is None else []
    notes = [*assumed, *stored.notes, *chain.notes, *notes, *settled, *_conversions(arrays, model.dtype)]
    sources = [
        WeightSource(weight, array.shape, array.dtype_name, array.where)
        for weight, array in zip(model.weight_names(), arrays, strict=True)
    ]
    model._settle(source=LoadReport(stored.format, stored.producer, chosen, chosen_from, notes, sources))
    return model


def _configuration(
    stored: StoredModel, name: str, config: Mapping[str, Any] | str | os.PathLike[str] | None
) -> tuple[Any, str]:
    if config is not None:
        return read_config(config)
    if stored.config is None:
        raise FileFormatError(
            Message(
                f"{name} holds weights without a configuration; expected one beside it; give the model's JSON, or "
                "a .keras file of the same model, as ",
                Argument("config"),
            )
        )
    return stored.config, stored.config_name


def settle_dialect(
    stored: StoredModel | None, chain: LayerEntries, given: Dialect | None, *, own_config: bool
) -> tuple[LayerEntries, Dialect, str]:
    """The chain with the rules of its Keras, its dialect, and the source of the dialect.

    The caller's choice has precedence, then the configuration's version or format, then the file of the weights.
    """
    if given is not None:
        return chain, given, "as given"
    if stored is not None and stored.dialect is not None and own_config:
        return chain, stored.dialect, stored.dialect_from
    places = [(chain.keras_version, chain.backend, "configuration")]
    by_format = version_by_format(all_entries(chain.entries)) if chain.dialect is None else None
    if stored is not None and (own_config or (chain.dialect is None and by_format is None)):
        places.append((stored.keras_version, stored.keras_backend, "file"))
    for version, backend, place in places:
        if version is not None:
            chain = with_rules_of(chain, version, backend)
            return chain, dialect_of_version(version), f"keras_version {version} in the {place}"
    if by_format is not None:
        chain = with_rules_of(chain, by_format, None, inferred=True)
        return chain, "tf1", "the format of the configuration, that of Keras 2.0 to 2.3"
    if chain.dialect is not None:
        return chain, chain.dialect, "the format of the configuration"
    return chain, "tf1", f"nothing in the configuration tells; {SYSTEM_NAMES['tf1']} is taken"


def _check_growth(arrays: list[StoredArray], name: str) -> None:
    """Weights barely shrink when packed, and are stored once: a file that would grow much is a trap."""
    paths = [os.path.join(name, entry) for entry in os.listdir(name)] if os.path.isdir(name) else [name]
    stored = sum(os.stat(path).st_size for path in paths)
    unpacked = sum(array.nbytes for array in arrays)
    if unpacked > expansion_limit(stored):
        raise FileFormatError(
            f"{name} would grow from {stored} to {unpacked} bytes of weights; expected a file that is not packed"
        )


def _set_weights(model: Sequential, arrays: list[StoredArray], name: str) -> None:
    """Hand each layer its weights, which it keeps: they are in memory once."""
    start = 0
    for layer in model.layers:
        own = arrays[start : start + len(layer.weight_names())]
        start += len(own)
        if own:
            with placing(f"{name}: layer {shown(layer.name)}"):
                layer.set_weights([array.read() for array in own], copy=False)


def _settle_shape(model: Sequential) -> list[str]:
    """Check that the layers fit together; the weights supply the parts of the input shape that the configuration lacks.

    Returns the notes on this.
    """
    known = model.input_shape or ((None, None) if model.takes_indices else None)
    if known is not None:
        timesteps = _flattened_timesteps(model, known)
        if timesteps is None:
            model.build(known)
            return []
        shape = (known[0], timesteps, *known[2:])
        for layer in filter(None, (model.input_layer, model.layers[0])):
            if layer.batch_input_shape is not None:
                layer._settle(batch_input_shape=shape)
        model.build(shape)
        return [
            f"the inputs have {timesteps} timesteps, as the weights behind Flatten tell; the configuration does not"
        ]
    first = next((layer for layer in model.layers if type(layer).__name__ not in _TRANSPARENT), None)
    if isinstance(first, Recurrent):
        model.build((None, None, first.cells[0].input_dim))
    return []


def _flattened_timesteps(model: Sequential, shape: Any) -> int | None:
    """The timesteps of inputs that are flattened before a Dense, if `shape` leaves them open.

    TensorFlow 1.15 writes no InputLayer into a Sequential, and so loses the length of the indices of an Embedding.
    """
    if len(shape) < 2 or shape[1] is not None or model.time_major:
        return None
    for number, layer in enumerate(model.layers):
        if isinstance(layer, Flatten):
            rest = (one for one in model.layers[number + 1 :] if type(one).__name__ not in _TRANSPARENT)
            dense = next(rest, None)
            if not isinstance(dense, Dense) or not dense.input_dim or len(shape) != 3 or shape[1] or not shape[2]:
                return None
            timesteps, left_over = divmod(dense.input_dim, shape[2])
            return None if left_over else timesteps
        shape = layer.output_shape(shape)
        shape = shape[0] if isinstance(shape, list) else shape
    return None


def _conversions(arrays: list[StoredArray], dtype: str) -> list[str]:
    """Notes on arrays stored in another dtype than the model computes in."""
    others = {
        array.kind or array.dtype.name
        for array in arrays
        if array.kind or array.dtype.newbyteorder("=") not in (np.float32, np.float64)
    }
    return [f"weights stored as {other} were converted to {dtype}" for other in sorted(others)]
