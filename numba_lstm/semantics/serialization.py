"""Initializers, regularizers, constraints and activations as configurations name them: read and written by dialect.

A configuration holds a name, ``{"class_name": ..., "config": ...}`` (TensorFlow 1.15, and 2 in its older files) or
``{"module": ..., "class_name": ..., "config": ..., "registered_name": ...}`` (Keras 2.15 and 3). All three are read in
every dialect; each dialect knows only its own names. Nothing is imported by name: unknown names are refused.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from numba_lstm.checks import check_choice, check_keys, shown, unknown_name
from numba_lstm.errors import ConfigError
from numba_lstm.semantics import initializers, regularizers
from numba_lstm.semantics.dialects import ACTIVATIONS, SYSTEM_NAMES, Dialect
from numba_lstm.semantics.foreign import CLASSES, Foreign
from numba_lstm.semantics.names import BASES, HE_AND_LECUN, TABLES, WRITTEN_ACTIVATIONS, Kind

_MODULES = re.compile(r"(keras|tf_keras|tensorflow|tensorflow\.keras|tensorflow\.python\.keras|builtins)(\.[\w.]+)?")

_ARRAY_DTYPES = ("float32", "float64", "float16", "int32", "int64", "int8", "int16", "uint8", "uint16", "bool")


def deserialize_object(value: Any, dialect: Dialect, kind: Kind, name: str | None = None) -> Any:
    """The initializer, regularizer or constraint that `value` means; None stays None.

    `value` is a name, a configuration in any dialect's format, an object or class of this package, or a function (of a
    shape and a dtype, or of a weight), which is kept as it is. `name` is the argument's, for messages. Raises
    `ConfigError` for objects that the dialect does not know.
    """
    name = name or kind
    if value is None:
        return None
    if isinstance(value, type) and issubclass(value, BASES[kind]):
        value = value()
    if isinstance(value, BASES[kind]):
        _in_dialect(value, dialect, kind, name)
        return value
    class_name: str
    config: Mapping[str, Any]
    if isinstance(value, str):
        class_name, config = value, {}
    elif isinstance(value, Mapping):
        class_name, config = _entry(value, name)
    elif callable(value):
        return value
    else:
        raise ConfigError(f"{name} is {shown(value)}; expected a name, a configuration, a function or None")
    return _make(class_name, config, dialect, kind, name)


def keep_foreign(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments in a configuration, with `Foreign` objects for those that are not Keras's."""
    return {
        key: CLASSES[kind](value) if (kind := foreign_kind(key, value)) is not None else value
        for key, value in arguments.items()
    }


def foreign_kind(key: str, value: Any) -> Kind | None:
    """The kind of object that argument `key` takes if `value` is a user-defined object; None if it is not."""
    kind = next((kind for kind in BASES if key.endswith(f"_{kind}")), None)
    if kind is None or not isinstance(value, str | Mapping):
        return None
    class_name: Any = value
    if isinstance(value, Mapping):
        class_name, module, registered = (value.get(part) for part in ("class_name", "module", "registered_name"))
        if not isinstance(class_name, str):
            return None
        if isinstance(module, str) and not _MODULES.fullmatch(module):
            return kind
        if registered not in (None, class_name):
            return kind
    return None if any(class_name in table for table in TABLES[kind].values()) else kind


def serialize_object(value: Any, dialect: Dialect, name: str | None = None) -> dict[str, Any] | None:
    """The entry that `dialect` writes for an initializer, a regularizer or a constraint.

    Raises `ConfigError` for a function, or an object that the dialect does not have.
    """
    if value is None:
        return None
    if isinstance(value, Foreign):
        return value.entry  # type: ignore[no-any-return]
    kind: Kind | None = next((kind for kind, base in BASES.items() if isinstance(value, base)), None)
    if kind is None:
        raise ConfigError(
            f"{name or 'the function'} is {shown(value)}, which no configuration can hold; use one of Keras's own"
        )
    value = _in_dialect(value, dialect, kind, name or kind)
    entry = {"class_name": type(value).__name__, "config": _written_config(value, dialect)}
    if dialect == "tf1":
        return entry
    return {"module": f"keras.{kind}s", **entry, "registered_name": None}


def check_activation(value: Any, name: str, dialect: Dialect) -> str | Callable[..., Any]:
    """The activation's name as the dialect writes it, "linear" for None; a function stays itself.

    Raises `ConfigError` for a name that the dialect does not know.
    """
    if value is None:
        return "linear"
    if isinstance(value, Mapping):
        class_name, config = value.get("class_name"), value.get("config")
        _check_module(value, name)
        if class_name != "function" or not isinstance(config, str):
            raise ConfigError(f"{name} is an object of the class {shown(class_name)}; expected the name of a function")
        value = config
    if isinstance(value, str):
        if value not in ACTIVATIONS[dialect]:
            raise unknown_name(value, name, dialect, ACTIVATIONS)
        return WRITTEN_ACTIVATIONS[dialect].get(value, value)
    if not callable(value):
        raise ConfigError(f"{name} is {shown(value)}; expected a name, an @njit function or None")
    function: Callable[..., Any] = value
    return function


def serialize_activation(value: str | Callable[..., Any], name: str) -> str:
    """The name of an activation. Raises `ConfigError` for a function: no configuration can hold it."""
    if not isinstance(value, str):
        raise ConfigError(f"{name} is {shown(value)}, which no configuration can hold; use one of Keras's own")
    return value


def _entry(value: Mapping[str, Any], name: str) -> tuple[str, Mapping[str, Any]]:
    class_name, config = value.get("class_name"), value.get("config")
    if not isinstance(class_name, str):
        raise ConfigError(f"{name} is {shown(value)}; expected a configuration with class_name and config")
    _check_module(value, name)
    if config is None:
        config = {}
    if not isinstance(config, Mapping) or not all(isinstance(key, str) for key in config):
        raise ConfigError(f"config of {name} is {shown(config)}; expected a mapping of arguments")
    return class_name, config


def _check_module(value: Mapping[str, Any], name: str) -> None:
    module = value.get("module")
    if module is not None and not (isinstance(module, str) and _MODULES.fullmatch(module)):
        raise ConfigError(f"{name} is of the module {shown(module)}; expected one of Keras's own; nothing is imported")


def _make(class_name: str, config: Mapping[str, Any], dialect: Dialect, kind: Kind, name: str) -> Any:
    table = TABLES[kind][dialect]
    if class_name not in table:
        raise unknown_name(class_name, name, dialect, TABLES[kind])
    factory = table[class_name]
    parameters = dict(inspect.signature(factory).parameters)
    if dialect != "keras3":
        parameters = {key: value for key, value in parameters.items() if key not in ("input_axes", "output_axes")}
    # TensorFlow 1.15 wrote the dtype in every initializer; its successors drop it on reading.
    arguments = {key: _read_value(value, name) for key, value in config.items() if key != "dtype" or dialect == "tf1"}
    check_keys(arguments, f"{name} {class_name}", parameters)
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in arguments:
            raise ConfigError(
                f"{name} {class_name!r} lacks its argument {key!r}, which {SYSTEM_NAMES[dialect]} requires"
            )
    return factory(**arguments)


def _in_dialect(value: Any, dialect: Dialect, kind: Kind, name: str) -> Any:
    """The object as the dialect has it, which may be another class."""
    if isinstance(value, Foreign):
        return value
    if dialect == "tf1":
        if isinstance(value, HE_AND_LECUN):
            value = value.scaling()
        elif isinstance(value, regularizers.L1):
            value = regularizers.L1L2(l1=value.l1)
        elif isinstance(value, regularizers.L2):
            value = regularizers.L1L2(l2=value.l2)
    if type(value).__name__ not in TABLES[kind][dialect]:
        raise unknown_name(type(value).__name__, name, dialect, TABLES[kind])
    if dialect != "keras3" and (getattr(value, "input_axes", None) or getattr(value, "output_axes", None)):
        raise ConfigError(
            f"{name} has input_axes or output_axes, which {SYSTEM_NAMES[dialect]} lacks; use Keras 3's dialect"
        )
    return value


def _written_config(value: Any, dialect: Dialect) -> dict[str, Any]:
    config = {field.name: _written_value(getattr(value, field.name), dialect) for field in fields(value)}
    if isinstance(value, regularizers.Regularizer):
        return {key: _written_coefficient(value, key, number, dialect) for key, number in config.items()}
    if not isinstance(value, initializers.Initializer):
        return config
    dtype = config.pop("dtype")
    if dialect != "keras3":
        config.pop("input_axes", None)
        config.pop("output_axes", None)
        if "seed" in config:
            config["seed"] = initializers.plain_seed(config["seed"])
    if dialect == "tf1":
        return {**config, "dtype": dtype}
    if config.get("distribution") == "normal":
        config["distribution"] = "truncated_normal"
    if dialect == "keras3":
        if isinstance(value, initializers.Identity) and value.gain == 1.0:
            return {}  # Keras 3 never writes the gain, yet reads it: written where leaving it out would lose it
        if "seed" in config:
            config = {"seed": config.pop("seed"), **config}
    return config


def _written_coefficient(value: regularizers.Regularizer, key: str, number: Any, dialect: Dialect) -> Any:
    if key == "mode" or (dialect == "keras3" and isinstance(value, regularizers.L2 | regularizers.L1L2)):
        return number
    return float(np.float32(number))  # Keras holds it as a float32


def _written_value(value: Any, dialect: Dialect) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        if dialect == "tf1":
            return value.tolist()
        return {"class_name": "__numpy__", "config": {"value": value.tolist(), "dtype": value.dtype.name}}
    if isinstance(value, list | tuple):
        return [_written_value(one, dialect) for one in value]
    return dict(value) if isinstance(value, Mapping) else value


def _read_value(value: Any, name: str) -> Any:
    if not isinstance(value, Mapping) or value.get("class_name") not in ("__numpy__", "__tuple__"):
        return value
    config = value.get("config")
    if not isinstance(config, Mapping) or "value" not in config:
        raise ConfigError(f"{name} holds {shown(value)}; expected an array with its value and dtype")
    if value["class_name"] == "__tuple__":
        return config["value"]
    dtype = check_choice(config.get("dtype"), f"dtype of an array in {name}", _ARRAY_DTYPES)
    try:
        return np.asarray(config["value"], dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{name} holds {shown(config['value'])}; expected an array of {dtype}") from error
