"""Functional models of Keras whose layers form a chain: the layers in the order in which data go through them.

Keras 3 writes down how masks are made, too: beside a `Masking` stand the operations NotEqual and Any, under a mixed
policy a Cast before them, and each layer is called with their result. They must be those that the chain
makes by itself, or the model is no chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numba_lstm.checks import shown
from numba_lstm.errors import FileFormatError

_KEPT = ("module", "class_name", "config", "registered_name")
_MASK_OPERATIONS = {"NotEqual": "numpy", "Any": "numpy", "Cast": "core"}  # and their modules


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
    last = outputs[0][0] if outputs else ""
    if len(inputs) != 1 or any(output[0] != last for output in outputs) or not outputs:
        raise _no_chain(name, f"it has {len(inputs)} inputs and {len(outputs)} outputs")
    order: list[str] = []
    place: str | None = last
    while place is not None:
        if place not in calls or place in order or len(order) > most:
            raise _no_chain(name, f"the way back from its output ends at {shown(place)}")
        order.append(place)
        place = calls[place][0]
    if order[-1] != inputs[0][0] or len(order) + len(operations) != len(layers):
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
    entries = [{key: by_name[place][key] for key in _KEPT if key in by_name[place]} for place in order]
    entries[-1] = _giving(entries[-1], [output[1] for output in outputs], name)
    return entries


def _giving(entry: dict[str, Any], outputs: list[Any], name: str) -> dict[str, Any]:
    """The last layer's entry, changed to give the model's outputs: all of them, or the first without the states."""
    alone = _without_states(entry) if isinstance(entry.get("config"), Mapping) else entry
    for one in (entry, alone):
        if outputs == list(range(_count_outputs(one))):
            return one
    raise _no_chain(name, f"it gives the outputs {shown(outputs)} of its last layer")


def _without_states(entry: dict[str, Any]) -> dict[str, Any]:
    config = dict(entry["config"])
    if "return_state" in config:
        config["return_state"] = False
    for key in ("layer", "backward_layer"):
        if isinstance(config.get(key), Mapping):
            config[key] = _without_states(config[key])
    return {**entry, "config": config}


def _count_outputs(entry: Any) -> int:
    """The number of tensors that a layer gives: its outputs, and with return_state h and c of each cell."""
    config = entry.get("config") if isinstance(entry, Mapping) else None
    if not isinstance(config, Mapping):
        return 1
    if entry.get("class_name") == "Bidirectional":
        outputs = 2 if "merge_mode" in config and config["merge_mode"] is None else 1
        inner = config.get("layer"), config.get("backward_layer") or config.get("layer")
        return outputs + sum(_count_outputs(one) - 1 for one in inner)
    if config.get("return_state") is not True:
        return 1
    cell = config.get("cell")
    cells = cell["config"].get("cells") if isinstance(cell, Mapping) else None
    return 1 + 2 * (len(cells) if isinstance(cells, list) else 1)


def _no_chain(name: str, reason: str) -> FileFormatError:
    return FileFormatError(f"{name} is not a chain of layers: {reason}; expected one input, one output, one way")


def _ends(value: Any) -> list[tuple[str, Any]]:
    """Input or output layers, by name and output: [["x", 0, 0], ...], or in Keras 3 ["x", 0, 0] for a single one.

    The states of a stack of cells are lists in the list.
    """
    if not isinstance(value, list):
        return []
    if value and isinstance(value[0], str):
        return [(value[0], value[2] if len(value) > 2 else 0)]
    return [end for one in value for end in _ends(one)]


def _makes_masks(layer: Mapping[str, Any]) -> bool:
    module = layer.get("module")
    home = _MASK_OPERATIONS.get(str(layer.get("class_name")))
    own = isinstance(module, str) and module.startswith("keras.") and module.endswith(f".ops.{home}")
    # In the legacy format nothing has a module.
    return home is not None and (own or module is None)


def _mask_value(layer: Mapping[str, Any]) -> Any:
    """The value that a layer masks; None for layers that make no mask."""
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
    cast = operations.get(str((_history(tensor) or [None])[0]), {})
    if cast.get("class_name") == "Cast":
        tensor = _operands(cast, "Cast")[0]
    return _history(tensor)[:1] == [source] and rest == [_mask_value(maker)]


def _operands(operation: Mapping[str, Any], class_name: str) -> list[Any]:
    """The arguments of an operation of that class, [None] for another class."""
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
