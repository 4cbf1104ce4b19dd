"""The configuration of a model as the Keras of its dialect reads it from a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numba_lstm.model import Sequential

# What TensorFlow 1.15 writes and Keras 2.0 to 2.3 does not know; left out where it is what it is by default.
_UNKNOWN_TO_KERAS_2_2: Mapping[str, Any] = {"time_major": False, "zero_output_for_mask": False, "ragged": False}
# Classes that Keras 2.2 has as functions, by names that both know.
_FUNCTIONS = {"GlorotUniform": "glorot_uniform", "GlorotNormal": "glorot_normal"}


def written_config(model: Sequential) -> dict[str, Any]:
    """What `get_config` gives; of the dialect tf1 in words that Keras 2.2 knows, too, and that mean the same there."""
    config = model.get_config()
    return config if model.dialect != "tf1" else _common(config)


def _common(value: Any) -> Any:
    if isinstance(value, list):
        return [_common(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    found = {
        key: _common(one)
        for key, one in value.items()
        if key not in _UNKNOWN_TO_KERAS_2_2 or one != _UNKNOWN_TO_KERAS_2_2[key]
    }
    if found.get("class_name") == "BatchNormalization" and isinstance(found["config"].get("axis"), list):
        found["config"]["axis"] = found["config"]["axis"][0]
    if found.get("class_name") in _FUNCTIONS:
        found["class_name"] = _FUNCTIONS[found["class_name"]]
    if isinstance(found.get("config"), dict) and "name" not in found["config"] and "layers" not in found["config"]:
        # An initializer: its dtype says nothing unless it differs from the default.
        found["config"] = {k: v for k, v in found["config"].items() if (k, v) != ("dtype", "float32")}
    return found
