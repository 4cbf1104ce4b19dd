"""Layers and cells as entries of a configuration: ``{"class_name": ..., "config": ...}``, read and written by dialect.

Nothing is imported by name: a class is one of those that registered here, or the entry is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from numba_lstm.cell import LSTMCell
from numba_lstm.checks import shown
from numba_lstm.errors import ConfigError
from numba_lstm.layers.base import Component, choose_dialect
from numba_lstm.layers.layer import Layer
from numba_lstm.semantics.dialects import Dialect

Cell = LSTMCell | Component
_C = TypeVar("_C", bound=type[Component])

_COMPONENTS: dict[str, type[Component]] = {}


def register(cls: _C) -> _C:
    """Let configurations name this class."""
    _COMPONENTS[cls.__name__] = cls
    return cls


def supported_layers() -> list[str]:
    """The names of the layers that a configuration may hold."""
    return sorted(name for name, cls in _COMPONENTS.items() if issubclass(cls, Layer))


def layer_from_config(entry: Any, dialect: Dialect | None = None) -> Layer:
    """The layer that an entry describes; without `dialect` its format tells it. Raises `ConfigError`."""
    name, config, dialect = _parts(entry, dialect)
    cls = _COMPONENTS.get(name)
    if cls is None or not issubclass(cls, Layer):
        raise _unsupported(name)
    return cls.from_config(config, dialect)


def cell_from_config(entry: Any, dialect: Dialect) -> Any:
    """The cell, or stack of cells, that an entry describes. Raises `ConfigError`."""
    name, config, dialect = _parts(entry, dialect)
    if name == "LSTMCell":
        return LSTMCell.from_config(config, dialect)
    if name != "StackedRNNCells":
        raise ConfigError(f"cell {shown(name)} is not supported; expected LSTMCell or StackedRNNCells")
    return _COMPONENTS[name].from_config(config, dialect)


def to_entry(part: Any, dialect: Dialect) -> dict[str, Any]:
    """A layer or cell as an entry of a configuration of `dialect`."""
    entry = {"class_name": type(part).__name__, "config": part.get_config()}
    if dialect == "tf1":
        return entry
    return {"module": "keras.layers", **entry, "registered_name": None}


def _parts(entry: Any, dialect: Dialect | None) -> tuple[str, Mapping[str, Any], Dialect]:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("class_name"), str):
        raise ConfigError(f"a layer's entry is {shown(entry)}; expected a mapping with class_name and config")
    config = entry.get("config", {})
    name = entry["class_name"]
    if not isinstance(config, Mapping):
        raise ConfigError(f"config of {shown(name)} is {shown(config)}; expected a mapping")
    return name, config, choose_dialect(entry, dialect)


def _unsupported(name: str) -> ConfigError:
    known = ", ".join(supported_layers())
    if name == "Lambda":
        return ConfigError(f"layer Lambda holds code, which is never run from a file; expected some of: {known}")
    return ConfigError(f"layer {shown(name)} is not supported; expected some of: {known}")
