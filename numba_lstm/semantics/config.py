"""Configurations in the formats of the dialects: dtypes, defaults, and the dialect that wrote a configuration.

Objects inside a configuration are read and written by `numba_lstm.semantics.serialization`, single values checked by
`numba_lstm.checks`; both are passed on here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

from numba_lstm.checks import (
    MAX_UNITS,
    MAX_WEIGHT_ELEMENTS,
    check_bool,
    check_choice,
    check_dialect,
    check_dtype,
    check_implementation,
    check_input_dim,
    check_int,
    check_keys,
    check_number,
    check_rate,
    check_seed,
    check_units,
    shown,
)
from numba_lstm.errors import ConfigError
from numba_lstm.semantics.dialects import Dialect
from numba_lstm.semantics.serialization import (
    check_activation,
    deserialize_object,
    keep_foreign,
    serialize_activation,
    serialize_object,
)

__all__ = [
    "MAX_UNITS",
    "MAX_WEIGHT_ELEMENTS",
    "cell_defaults",
    "check_activation",
    "check_bool",
    "check_choice",
    "check_dialect",
    "check_dtype",
    "check_implementation",
    "check_input_dim",
    "check_int",
    "check_keys",
    "check_number",
    "check_rate",
    "check_seed",
    "check_units",
    "deserialize_dtype",
    "deserialize_object",
    "detect_dialect",
    "dtype_note",
    "from_older_keras",
    "is_index_dtype",
    "keep_foreign",
    "serialize_activation",
    "serialize_dtype",
    "serialize_object",
    "shown",
]

Api = Literal["v1", "v2"]

_V1_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "activation": "tanh",
        "recurrent_activation": "hard_sigmoid",
        "use_bias": True,
        "kernel_initializer": "glorot_uniform",
        "recurrent_initializer": "orthogonal",
        "bias_initializer": "zeros",
        "unit_forget_bias": True,
        "kernel_regularizer": None,
        "recurrent_regularizer": None,
        "bias_regularizer": None,
        "kernel_constraint": None,
        "recurrent_constraint": None,
        "bias_constraint": None,
        "dropout": 0.0,
        "recurrent_dropout": 0.0,
        "implementation": 1,
    }
)
_V2_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {**_V1_DEFAULTS, "recurrent_activation": "sigmoid", "implementation": 2}
)

# Half and mixed precision, which are computed in float32 here.
_REDUCED_DTYPES = frozenset({"float16", "bfloat16", "half", "mixed_float16", "mixed_bfloat16"})

_POLICIES = ("DTypePolicy", "FloatDTypePolicy", "Policy", "PolicyV1")

# Classes that TensorFlow 2 gave initializers for which earlier Keras wrote VarianceScaling.
_TENSORFLOW_2_CLASSES = frozenset(
    {"GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal", "LecunUniform", "LecunNormal"}
)
_MAX_ENTRIES = 100_000


def cell_defaults(dialect: Dialect, api: Api = "v2") -> Mapping[str, Any]:
    """The defaults of the class LSTMCell: of `tf.compat.v1.keras.layers` ("v1") or of the dialect's own ("v2")."""
    return _V1_DEFAULTS if dialect == "tf1" or (dialect == "keras2" and api == "v1") else _V2_DEFAULTS


def from_older_keras(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a configuration; ``implementation=0``, of Keras before 2.0.9, is 1, as Keras itself reads it."""
    return {**arguments, "implementation": 1} if arguments.get("implementation") == 0 else arguments


def deserialize_dtype(value: Any, name: str = "dtype") -> str:
    """The dtype to compute in: "float64" for float64, "float32" for float32, None and all reduced precisions.

    `value` is a name or a serialised policy of Keras 2 or 3. Raises `ConfigError` for anything else.
    """
    found = _policy_name(value, name)
    return "float32" if _is_reduced(found) else check_dtype(found, name)


def is_index_dtype(value: Any) -> bool:
    """Whether a dtype in a configuration is an integer dtype."""
    return isinstance(value, str) and re.fullmatch(r"u?int\d*", value) is not None


def dtype_note(value: Any, name: str = "dtype") -> str | None:
    """A note if a dtype is computed in another one than it names, or None."""
    found = _policy_name(value, name)
    return f"{name} {found} is computed in float32" if _is_reduced(found) else None


def serialize_dtype(dtype: str, dialect: Dialect) -> str | dict[str, Any]:
    """The entry that `dialect` writes for "float32" or "float64"."""
    if dialect != "keras3":
        return dtype
    return {"module": "keras", "class_name": "DTypePolicy", "config": {"name": dtype}, "registered_name": None}


def detect_dialect(config: Any) -> Dialect | None:
    """The dialect whose format the configuration of a cell, a layer or a model has; None if it is ambiguous."""
    found: set[Dialect] = set()
    stack = [config]
    for _ in range(_MAX_ENTRIES):
        if not stack:
            break
        value = stack.pop()
        if isinstance(value, Mapping):
            found |= _signs(value)
            stack.extend(value.values())
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
            stack.extend(value)
    # Keras 3's format has all that Keras 2's has, and more; only TensorFlow 1.15 puts a dtype into initializers.
    order: tuple[Dialect, ...] = ("keras3", "keras2", "tf1")
    return next((dialect for dialect in order if dialect in found), None)


def _signs(entry: Mapping[Any, Any]) -> set[Dialect]:
    found: set[Dialect] = set()
    class_name, config = entry.get("class_name"), entry.get("config")
    if class_name in ("DTypePolicy", "__keras_tensor__") or "input_axes" in entry or "batch_shape" in entry:
        found.add("keras3")
    if "recurrent_activation" in entry and "implementation" not in entry and "seed" in entry:
        found.add("keras3")
    if isinstance(class_name, str) and isinstance(config, Mapping):
        if "registered_name" in entry and str(entry.get("module")).startswith("keras"):
            found.add("keras2")
        elif "module" not in entry and "units" not in config and "name" not in config:
            if "dtype" in config:
                found.add("tf1")
            elif class_name in _TENSORFLOW_2_CLASSES:
                found.add("keras2")
    return found


def _is_reduced(dtype: Any) -> bool:
    return isinstance(dtype, str) and dtype in _REDUCED_DTYPES


def _policy_name(value: Any, name: str) -> Any:
    if not isinstance(value, Mapping):
        return value
    config = value.get("config")
    if value.get("class_name") not in _POLICIES or not isinstance(config, Mapping):
        raise ConfigError(f"{name} is {shown(value)}; expected the name of a dtype or a policy of one")
    return config.get("name")
