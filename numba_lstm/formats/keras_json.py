"""A model's configuration as Keras writes it in JSON, made into a chain of layers.

`Sequential` models and functional ones whose layers form a chain, as TensorFlow 1.15, Keras 2 and Keras 3 write them; a
layer's configuration by itself; a cell's, which is wrapped in an RNN. Classes come from the table of
`numba_lstm.layers`: nothing is imported by name and no code is run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from numba_lstm.checks import shown
from numba_lstm.errors import ConfigError, FileFormatError, NumbaLSTMError, one_line
from numba_lstm.formats.functional import functional_entries
from numba_lstm.formats.keras_versions import is_standalone, with_standalone_rules
from numba_lstm.layers import layer_from_config
from numba_lstm.model import Sequential
from numba_lstm.semantics.config import deserialize_dtype, detect_dialect, dtype_note, is_index_dtype
from numba_lstm.semantics.dialects import Dialect
from numba_lstm.semantics.foreign import foreign_name
from numba_lstm.semantics.serialization import foreign_kind

_OWN_MODULES = re.compile(r"(keras|tf_keras|tensorflow)(\.[\w.]+)?|builtins")
_FUNCTIONAL = ("Functional", "Model")
_WRAPPED = ("cell", "cells", "layer", "backward_layer")  # where layers hold other layers and cells
_MOST_PARTS = 2000  # layers and cells together: to make them takes up to a second
_LONGEST = 800  # characters of a message


@dataclass(frozen=True)
class LayerEntries:
    """Layers in a row: entries with class_name and config, an InputLayer first where there is one."""

    name: str | None
    entries: list[dict[str, Any]]
    keras_version: str | None = None
    backend: str | None = None
    dialect: Dialect | None = None
    notes: list[str] = field(default_factory=list)


def read_chain(document: Any, name: str) -> LayerEntries:
    """The chain that a configuration describes; `name` says in messages where it comes from.

    Raises `FileFormatError` for models that are no chain and for anything but a configuration.
    """
    if not isinstance(document, Mapping):
        raise FileFormatError(f"{name} holds {shown(document)}; expected the configuration of a model or a cell")
    version, backend = document.get("keras_version"), document.get("backend")
    document = _with_class(document)
    class_name, config = document["class_name"], document.get("config")
    notes: list[str] = []
    model_name = config.get("name") if isinstance(config, Mapping) else None
    if class_name == "Sequential":
        # Before Keras 2.2.3 the configuration of a Sequential was the bare list of its layers.
        entries = config.get("layers") if isinstance(config, Mapping) else config
        if isinstance(config, Mapping) and config.get("build_input_shape") and not _begins_with_shape(entries):
            entries = [_input_entry(config["build_input_shape"]), *(entries or [])]
    elif class_name in _FUNCTIONAL:
        entries = functional_entries(config, name, _MOST_PARTS)
    elif class_name in ("LSTMCell", "StackedRNNCells"):
        entries = [{"class_name": "RNN", "config": {"cell": document, "return_sequences": True}}]
        notes.append(f"a bare {class_name} is run as RNN(cell, return_sequences=True)")
    else:
        entries = [document]
    if not isinstance(entries, list) or not entries:
        raise FileFormatError(f"{name} has {shown(entries)} as its layers; expected a list of one or more")
    _check_modules(entries, name)
    notes += _foreign_notes(entries)
    return LayerEntries(
        name=model_name if isinstance(model_name, str) and class_name in ("Sequential", *_FUNCTIONAL) else None,
        entries=entries,
        keras_version=version if isinstance(version, str) else None,
        backend=backend if isinstance(backend, str) else None,
        dialect=detect_dialect(entries),
        notes=notes,
    )


def _with_class(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document with a class: what `get_config` returned, and nothing around it, is told by its keys."""
    if isinstance(document.get("class_name"), str):
        return document
    signs = {
        "input_layers": "Functional",
        "layers": "Sequential",
        "cells": "StackedRNNCells",
        "cell": "RNN",
        "return_sequences": "LSTM",
        "merge_mode": "Bidirectional",
    }
    found = next((name for key, name in signs.items() if key in document), "LSTMCell")
    return {
        "class_name": found,
        "config": {key: value for key, value in document.items() if key not in ("keras_version", "backend")},
    }


def _begins_with_shape(entries: Any) -> bool:
    first = entries[0] if isinstance(entries, list) and entries else None
    config = first.get("config") if isinstance(first, Mapping) else None
    return isinstance(config, Mapping) and any(key in config for key in ("batch_input_shape", "batch_shape"))


def _input_entry(shape: Any) -> dict[str, Any]:
    return {"class_name": "InputLayer", "config": {"batch_input_shape": shape, "name": "input"}}


def _check_modules(entries: Sequence[Any], name: str) -> None:
    """Refuse other packages' classes: one that is called LSTM need not be Keras's."""
    parts = all_entries(entries)
    if len(parts) > _MOST_PARTS:
        raise FileFormatError(f"{name} has {len(parts)} layers and cells; expected at most {_MOST_PARTS}")
    for entry in parts:
        module, registered = entry.get("module"), entry.get("registered_name")
        own = module is None or (isinstance(module, str) and _OWN_MODULES.fullmatch(module))
        if not own or registered not in (None, entry.get("class_name")):
            origin = registered if own else f"{module}.{entry.get('class_name')}"
            raise FileFormatError(
                f"{name} needs the class {shown(origin)}, which is not Keras's own; nothing is imported from a file"
            )


def all_entries(entries: Sequence[Any]) -> list[Mapping[str, Any]]:
    """Entries of layers and cells, and those they wrap."""
    found: list[Mapping[str, Any]] = []
    waiting = list(entries)
    while waiting:
        entry = waiting.pop()
        if not isinstance(entry, Mapping):
            continue
        found.append(entry)
        config = entry.get("config")
        for key in _WRAPPED:
            inner = config.get(key) if isinstance(config, Mapping) else None
            waiting.extend(inner if isinstance(inner, list) else [inner])
    return found


def _foreign_notes(entries: Sequence[Any]) -> list[str]:
    notes = []
    for entry in all_entries(entries):
        config = entry.get("config")
        if not isinstance(config, Mapping):
            continue
        for key, value in config.items():
            if isinstance(key, str) and foreign_kind(key, value) is not None:
                notes.append(
                    f"{key} of {shown(config.get('name'))}, {foreign_name(value)}, is not Keras's own: it is kept as "
                    "text, and has no part in what a model with weights computes"
                )
    return list(dict.fromkeys(notes))


def chain_dtypes(chain: LayerEntries) -> tuple[bool, list[str]]:
    """Whether a layer is of float64, and notes on dtypes that are computed in another one."""
    values = [entry["config"].get("dtype") for entry in all_entries(chain.entries) if _computes(entry)]
    notes = [dtype_note(value) for value in values]
    return any(deserialize_dtype(value) == "float64" for value in values), [
        note for note in dict.fromkeys(notes) if note
    ]


def _computes(entry: Mapping[str, Any]) -> bool:
    # The dtype of an InputLayer is that of the data, which may be indices; Keras 2.0 wrote it into an Embedding, too.
    config = entry.get("config")
    if not isinstance(config, Mapping) or entry.get("class_name") == "InputLayer":
        return False
    return not (entry.get("class_name") == "Embedding" and is_index_dtype(config.get("dtype")))


def as_float64(chain: LayerEntries) -> LayerEntries:
    """The same chain with float64 for the dtype of every layer and cell."""

    def change(entry: Any) -> Any:
        if not isinstance(entry, Mapping) or not _computes(entry):
            return entry
        config = dict(entry["config"])
        if deserialize_dtype(config.get("dtype")) != "float64":  # a dtype that means float64 keeps its spelling
            config["dtype"] = "float64"
        for key in _WRAPPED:
            if key in config:
                config[key] = [change(one) for one in config[key]] if key == "cells" else change(config[key])
        return {**entry, "config": config}

    return replace(chain, entries=[change(entry) for entry in chain.entries])


def with_rules_of(chain: LayerEntries, version: str, backend: str | None, *, inferred: bool = False) -> LayerEntries:
    """The same chain; of standalone Keras 2.0 to 2.3 with the rules in which it differs from its dialect.

    inferred: whether the version is a guess by the format.
    """
    if not is_standalone(version):
        return chain
    notes = list(chain.notes)
    if any(_is_bidirectional_sequence(entry) for entry in all_entries(chain.entries)):
        origin = ", as the format of its configuration suggests" if inferred else f" {version}"
        notes.append(
            f"of standalone Keras{origin}: at masked timesteps Bidirectional repeats the output before, where "
            "TensorFlow's Keras gives zeros"
        )
    return replace(chain, entries=with_standalone_rules(chain.entries, version, backend), notes=notes)


def _is_bidirectional_sequence(entry: Mapping[str, Any]) -> bool:
    config = entry.get("config")
    inner = config.get("layer") if isinstance(config, Mapping) and entry.get("class_name") == "Bidirectional" else None
    own = inner.get("config") if isinstance(inner, Mapping) else None
    return isinstance(own, Mapping) and own.get("return_sequences") is True


def build_chain(chain: LayerEntries, dialect: Dialect, name: str) -> Sequential:
    """The model, without weights. Raises `ConfigError` that names the layer and its place."""
    model = Sequential(name=chain.name)
    count = len(chain.entries)
    for number, entry in enumerate(chain.entries, 1):
        given = entry.get("config") if isinstance(entry, Mapping) else None
        layer_name = given.get("name") if isinstance(given, Mapping) else None
        named = f", {shown(layer_name)}" if layer_name else ""
        with placing(name if count == 1 else f"{name}: layer {number} of {count}{named}"):
            model.add(_layer(entry, dialect))
    if not model.layers:
        raise FileFormatError(f"{name} has an input and no layers; expected one or more")
    return model


def _layer(entry: Any, dialect: Dialect) -> Any:
    if isinstance(entry, Mapping) and entry.get("class_name") in ("Sequential", *_FUNCTIONAL):
        raise ConfigError(f"{entry['class_name']} is a model in a model; expected the layers in one row")
    return layer_from_config(entry, dialect)


@contextmanager
def placing(place: str) -> Iterator[None]:
    """Put `place` in front of the errors raised inside, and turn any other exception into one of ours."""
    try:
        yield
    except NumbaLSTMError as error:
        text = str(error)  # one line, but a name in it may be endless
        if text.startswith(one_line(place)):
            raise
        raise type(error)(f"{place}: {text if len(text) <= _LONGEST else text[:_LONGEST] + '...'}") from error
    except MemoryError:
        raise
    # Classes are made for arguments of a kind; a file may hold anything at all in their places.
    except Exception as error:
        raise FileFormatError(f"{place} cannot be used ({type(error).__name__}: {shown(str(error))})") from error
