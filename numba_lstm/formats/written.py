"""The configuration of a model as the Keras of its dialect reads it from a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numba_lstm.errors import ConfigError
from numba_lstm.layers import Bidirectional, Recurrent
from numba_lstm.model import Sequential
from numba_lstm.semantics.dialects import Dialect

# What the Keras of each dialect calls itself.
KERAS_VERSIONS: Mapping[Dialect, str] = {"tf1": "2.2.4-tf", "keras2": "2.15.0", "keras3": "3.15.1"}
# Keys that TensorFlow 1.15 writes and Keras 2.0 to 2.3 does not know; left out if they have their defaults.
_UNKNOWN_TO_KERAS_2_2: Mapping[str, Any] = {"time_major": False, "zero_output_for_mask": False, "ragged": False}
# Classes that Keras 2.2 has as functions, by names that both know.
_FUNCTIONS = {"GlorotUniform": "glorot_uniform", "GlorotNormal": "glorot_normal"}


def written_config(model: Sequential) -> dict[str, Any]:
    """The configuration to write; in tf1, with names that Keras 2.2 also knows and that mean the same there."""
    config: dict[str, Any] = _without_rules(model.get_config())
    return config if model.dialect != "tf1" else _common(config)


def written_model(model: Sequential) -> dict[str, Any]:
    """The model as a class and its configuration: functional where the Keras of the dialect needs that.

    In Keras 2 a Sequential has one output; a last layer that returns states or both directions has more.
    """
    config, last = written_config(model), model.layers[-1]
    outputs = 1
    if isinstance(last, Recurrent):
        both = isinstance(last, Bidirectional) and last.merge_mode is None
        outputs += both + (2 * len(last.cells) if last.return_state else 0)
    if outputs == 1 or model.dialect == "keras3":
        return {"class_name": "Sequential", "config": config}
    entries = list(config["layers"])
    if entries[0]["class_name"] != "InputLayer":
        shape = entries[0]["config"]["batch_input_shape"]
        source = {"name": f"{model.layers[0].name}_input", "batch_input_shape": shape, "dtype": model.dtype}
        entries.insert(0, {"class_name": "InputLayer", "config": {**source, "sparse": False}})
    names = [entry["config"]["name"] for entry in entries]
    nodes = [[], *([[[name, 0, 0, {}]]] for name in names)]
    graph = {
        "name": config["name"],
        "layers": [
            {**entry, "name": name, "inbound_nodes": node}
            for entry, name, node in zip(entries, names, nodes, strict=False)
        ],
        "input_layers": [[names[0], 0, 0]],
        "output_layers": [[names[-1], 0, i] for i in range(outputs)],
    }
    return {"class_name": "Functional" if model.dialect == "keras2" else "Model", "config": graph}


def written_version(model: Sequential) -> str:
    """The version of Keras whose model it is. Raises `ConfigError` for one that is of several."""
    rules = {layer.masked_outputs for layer in model.recurrent_layers if layer.masked_outputs or _zeroes(layer)}
    if None in rules and len(rules) > 1:
        raise ConfigError(
            f"{model.name}: Bidirectional layers differ in masked_outputs, which no Keras can; save a .npz or "
            ".safetensors file"
        )
    if "state" in rules:
        stacks = [one for layer in model.recurrent_layers for one in _parts(layer) if len(one.cells) > 1]
        return "2.2.2" if any(one.masked_outputs == "repeat" for one in stacks) else "2.2.4"
    return "2.3.1" if "repeat" in rules else KERAS_VERSIONS[model.dialect]


def _parts(layer: Recurrent) -> list[Recurrent]:
    return [layer.layer, layer.backward_layer] if isinstance(layer, Bidirectional) else [layer]


def _zeroes(layer: Recurrent) -> bool:
    return isinstance(layer, Bidirectional) and layer.return_sequences


def _without_rules(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_rules(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    return {key: _without_rules(one) for key, one in value.items() if key != "masked_outputs"}


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
