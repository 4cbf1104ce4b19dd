"""The project's own files, in any container: one JSON document and the names of the arrays.

The document has the model's configuration and dialect; each weight is called ``<layer's number>.<weight>``, for example
``0.kernel`` or ``1.forward.bias``. The same model always gives the same document.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from numba_lstm.checks import shown
from numba_lstm.errors import ConfigError, FileFormatError
from numba_lstm.formats.config_json import parse_json
from numba_lstm.formats.stored import StoredArray, StoredModel
from numba_lstm.layers.call import Array
from numba_lstm.model import Sequential
from numba_lstm.semantics.dialects import DIALECTS

_FORMAT = "numba_lstm 1"


def document_of(model: Sequential) -> bytes:
    """The document of a model. Raises `ConfigError` for an activation that no configuration can hold."""
    from numba_lstm import __version__

    document = {
        "format": _FORMAT,
        "version": __version__,
        "dialect": model.dialect,
        "class_name": "Sequential",
        "config": model.get_config(),
    }
    return json.dumps(document, allow_nan=False).encode()


def read_document(content: bytes, name: str) -> dict[str, Any]:
    """The document in `content`; `name` says in messages where it is. Raises `FileFormatError`."""
    document = parse_json(content, name)
    if not isinstance(document, dict) or document.get("format") != _FORMAT or document.get("dialect") not in DIALECTS:
        raise FileFormatError(f"{name} is not that of format {_FORMAT!r}; expected a file written by numba_lstm.save")
    return document


def stored_model(
    document: dict[str, Any],
    name: str,
    format: str,
    arrays: Callable[[], list[StoredArray]],
    match: Callable[[Sequential], list[StoredArray]],
) -> StoredModel:
    """The stored model of a file with `document`; messages call the file `name`."""
    return StoredModel(
        format=format,
        producer=f"numba_lstm {document.get('version', '')}".strip(),
        arrays=arrays,
        match=match,
        config={key: document.get(key) for key in ("class_name", "config")},
        config_name=name,
        dialect=document["dialect"],
        dialect_from="as saved",
    )


def weight_keys(model: Sequential) -> list[str]:
    """The names of a model's weights in an own file, in the order of its weights."""
    return [
        f"{number}.{weight.replace('/', '.')}"
        for number, layer in enumerate(model.layers)
        for weight in layer.weight_names()
    ]


def checked_keys(model: Sequential, held: Iterable[str], name: str) -> list[str]:
    """`weight_keys`, if the file holds these and no others. Raises `FileFormatError`."""
    keys, names = weight_keys(model), set(held)
    missing = [key for key in keys if key not in names]
    if missing or len(names) != len(keys):
        beyond = sorted(names - set(keys))
        problem = f"lacks {shown(missing)}" if missing else f"holds {shown(beyond)} too"
        raise FileFormatError(f"{name} {problem}; expected {shown(keys)}, the weights of its configuration")
    return keys


def weights_by_key(model: Sequential) -> dict[str, Array]:
    """A model's weights by their names in an own file. Raises `ConfigError` for a model that has none yet."""
    weights, keys = model.get_weights(), weight_keys(model)
    if len(weights) != len(keys):
        raise ConfigError(f"{model.name} has no weights yet; expected a built model; call build(input_shape) first")
    return dict(zip(keys, weights, strict=True))
