"""Functional models of Keras whose layers form a chain: the layers in the order in which data go through them.

Keras 3 writes down how masks are made, too: beside a `Masking` stand the operations NotEqual and Any, and each layer is
called with their result. They are what the chain does by itself, or the model is no chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numba_lstm.checks import shown
from numba_lstm.errors import FileFormatError

_KEPT = ("module", "class_name", "config", "registered_name")
_MASK_OPERATIONS = ("NotEqual", "Any")


def functional_entries(config: Any, name: str, most: int) -> list[dict[str, Any]]:
    """The entries of a functional model's layers, at most `most`, from its input to its output.

    Raises `FileFormatError` for a model that is no chain; `name` says in messages where it comes from.
    """
    layers = config.get("layers") if isinstance(config, Mapping) else None
    if not isinstance(layers, list) or not all(isinstance(layer, Mapping) for layer in layers):
        raise FileFormatError(f"{name} has {shown(layers)} as its layers; expected a list of them")
    by_name = {str(layer.get("name")): layer for layer in layers}
    operations = {key: layer for key, layer in by_name.items() if _makes_masks(layer)}
    calls = {key: _call(key, layer, name) for key, layer in by_name.items() if key not in operations}
    inputs, outputs = (_ends(config.get(key)) for key in ("input_layers", "output_layers"))
    if len(inputs) != 1 or len(outputs) != 1:
        raise _no_chain(name, f"it has {len(inputs)} inputs and {len(outputs)} outputs")
    order: list[str] = []
    place: str | None = outputs[0]
    while place is not None:
        if place not in calls or place in order or len(order) > most:
            raise _no_chain(name, f"the way back from its output ends at {shown(place)}")
        order.append(place)
        place = calls[place][0]
    if order[-1] != inputs[0] or len(order) + len(operations) != len(layers):
        left_out = next((key for key in by_name if key not in order and key not in operations), order[-1])
        raise _no_chain(name, f"layer {shown(left_out)} is beside the way from its input to its output")
    order.reverse()
    maker: str | None = None  # the layer whose mask is in force
    for place in order:
        mask = calls[place][1]
        if mask is not None and (maker is None or not _is_mask_of(mask, by_name[maker], calls[maker][0], operations)):
            raise _no_chain(
                name, f"layer {shown(place)} is called with a mask that is not that of the layers before it"
            )
        if _mask_value(by_name[place]) is not None:
            maker = place
    return [{key: by_name[place][key] for key in _KEPT if key in by_name[place]} for place in order]


def _no_chain(name: str, reason: str) -> FileFormatError:
    return FileFormatError(f"{name} is not a chain of layers: {reason}; expected one input, one output, one way")


def _ends(value: Any) -> list[str]:
    """Names of input or output layers: [["x", 0, 0], ...], or in Keras 3 ["x", 0, 0] for a single one."""
    if not isinstance(value, list):
        return []
    if value and isinstance(value[0], str):
        value = [value]
    return [str(end[0]) for end in value if isinstance(end, list) and end]


def _makes_masks(layer: Mapping[str, Any]) -> bool:
    module = layer.get("module")
    own = isinstance(module, str) and module.startswith("keras.") and module.endswith(".ops.numpy")
    # In the legacy format nothing has a module.
    return (own or module is None) and layer.get("class_name") in _MASK_OPERATIONS


def _mask_value(layer: Mapping[str, Any]) -> Any:
    """What a layer makes masks of: the value that is masked, None for other layers."""
    config = layer.get("config")
    if isinstance(config, Mapping):
        if layer.get("class_name") == "Masking":
            return config.get("mask_value", 0.0)
        if layer.get("class_name") == "Embedding" and config.get("mask_zero") is True:
            return 0
    return None


def _is_mask_of(mask: Any, maker: Mapping[str, Any], source: str | None, operations: Mapping[str, Any]) -> bool:
    """Whether a tensor is ``not_equal(inputs of maker, value)``, for `Masking` with ``any`` over the features."""
    operation = operations.get(str((_history(mask) or [None])[0]), {})
    if maker.get("class_name") == "Masking":
        tensor, *rest = _operands(operation, "Any")
        config = operation.get("config")
        if rest or not isinstance(config, Mapping) or config.get("axis") != -1 or config.get("keepdims"):
            return False
        operation = operations.get(str((_history(tensor) or [None])[0]), {})
    tensor, *rest = _operands(operation, "NotEqual")
    return _history(tensor)[:1] == [source] and rest == [_mask_value(maker)]


def _operands(operation: Mapping[str, Any], class_name: str) -> list[Any]:
    """What an operation of that class is called with, [None] for another one."""
    nodes = operation.get("inbound_nodes")
    node = nodes[0] if isinstance(nodes, list) and len(nodes) == 1 else None
    arguments = node.get("args") if isinstance(node, Mapping) else None
    if operation.get("class_name") != class_name or not isinstance(arguments, list) or not arguments:
        return [None]
    return arguments


def _call(layer_name: str, layer: Mapping[str, Any], name: str) -> tuple[str | None, Any]:
    """The name of the layer whose output `layer` takes, None for an input; and the mask that it is given, or None."""
    nodes = layer.get("inbound_nodes")
    if not nodes and layer.get("class_name") == "InputLayer":
        return None, None
    if not isinstance(nodes, list) or len(nodes) != 1:
        count = len(nodes) if isinstance(nodes, list) else 0
        raise _no_chain(name, f"layer {shown(layer_name)} is called {count} times")
    node = nodes[0]
    if isinstance(node, Mapping):
        arguments = node.get("args")
        tensors = [_history(tensor) for tensor in arguments] if isinstance(arguments, list) else []
        options = node.get("kwargs")
    else:
        calls = node if isinstance(node, list) and node and isinstance(node[0], list) else [node]
        tensors = [call[:3] if isinstance(call, list) else [] for call in calls]
        options = calls[0][3] if isinstance(calls[0], list) and len(calls[0]) > 3 else {}
    if len(tensors) != 1 or len(tensors[0]) != 3:
        raise _no_chain(name, f"layer {shown(layer_name)} takes {len(tensors)} inputs")
    options = options if isinstance(options, Mapping) else {}
    mask = options.get("mask") if _history(options.get("mask")) else None
    used = [key for key, value in options.items() if value and not (key == "mask" and mask is not None)]
    if used:
        raise _no_chain(name, f"layer {shown(layer_name)} is called with {shown(used[0])}")
    source, call, output = tensors[0]
    if call != 0 or output != 0:
        raise _no_chain(name, f"layer {shown(layer_name)} takes output {shown(output)} of call {shown(call)}")
    return str(source), mask


def _history(tensor: Any) -> list[Any]:
    """[layer, call, output] of a tensor as Keras 3 writes it."""
    config = tensor.get("config") if isinstance(tensor, Mapping) else None
    history = config.get("keras_history") if isinstance(config, Mapping) else None
    return history if isinstance(history, list) else []
