"""Configurations of layers and models as Keras writes them."""

from __future__ import annotations

import copy
from typing import Any

INPUT = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 6, 3], "name": "x"}}
LSTM = {"class_name": "LSTM", "config": {"name": "a", "units": 5, "return_sequences": True}}
DENSE = {"class_name": "Dense", "config": {"name": "out", "units": 2}}
CELL = {"class_name": "LSTMCell", "config": {"units": 4}}


def functional(
    *entries: Any, keras3: bool = False, class_name: str = "Functional", shuffled: bool = False
) -> dict[str, Any]:
    """A functional model that is a chain of `entries`."""
    layers = []
    for number, entry in enumerate(entries):
        layer = {**copy.deepcopy(entry), "name": entry["config"]["name"], "inbound_nodes": []}
        if number:
            before = entries[number - 1]["config"]["name"]
            tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": [before, 0, 0]}}
            layer["inbound_nodes"] = (
                [{"args": [tensor], "kwargs": {"mask": None}}] if keras3 else [[[before, 0, 0, {}]]]
            )
        layers.append(layer)
    first, last = layers[0]["name"], layers[-1]["name"]
    config = {
        "name": "f",
        "layers": layers[::-1] if shuffled else layers,
        "input_layers": [first, 0, 0] if keras3 else [[first, 0, 0]],
        "output_layers": [last, 0, 0] if keras3 else [[last, 0, 0]],
    }
    return {"class_name": class_name, "config": config}


def changed(document: dict[str, Any], layer: int, **entries: Any) -> dict[str, Any]:
    document = copy.deepcopy(document)
    document["config"]["layers"][layer].update(entries)
    return document


CHAIN = functional(INPUT, LSTM, DENSE)
CHAIN3 = functional(INPUT, LSTM, DENSE, keras3=True)
TENSOR = CHAIN3["config"]["layers"][2]["inbound_nodes"][0]["args"][0]
