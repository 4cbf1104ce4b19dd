"""Functional models of Keras: chains of layers in any of its formats, and what is no chain."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.keras_documents import CELL, CHAIN, CHAIN3, INPUT, TENSOR, changed, functional
from support.paths import DATA

from numba_lstm.errors import FileFormatError
from numba_lstm.formats import from_config

STATES = {"class_name": "LSTM", "config": {"name": "a", "units": 5, "return_state": True}}
PAIR = {"class_name": "StackedRNNCells", "config": {"cells": [CELL, CELL]}}
BOTH = {"class_name": "Bidirectional", "config": {"name": "a", "layer": STATES}}


@pytest.mark.parametrize(
    ("entry", "count"),
    [
        (STATES, 3),
        (BOTH, 5),
        ({"class_name": "Bidirectional", "config": {"name": "a", "layer": STATES, "merge_mode": None}}, 6),
        ({"class_name": "RNN", "config": {"name": "a", "cell": PAIR, "return_state": True}}, 5),
    ],
)
def test_outputs_of_the_last_layer(entry: Any, count: int) -> None:
    """All of them, or the first without the states; nothing else can be told by a row of layers."""
    document = functional(INPUT, entry)
    x = np.ones((2, 6, 3))
    main = 2 if count == 6 else 1
    for outputs in (list(range(main)), list(range(count))):
        document["config"]["output_layers"] = [["a", 0, i] for i in outputs]
        result = from_config(document)(x)
        assert isinstance(result, list) == (len(outputs) > 1)
    for outputs in ([1], list(range(3 - main)), list(range(count))[::-1], [*range(count), 0]):
        document["config"]["output_layers"] = [["a", 0, i] for i in outputs]
        with pytest.raises(FileFormatError, match=r"it gives the outputs \[.*\] of its last layer"):
            from_config(document)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (changed(CHAIN, 2, inbound_nodes=[[["a", 0, 0, {}], ["x", 0, 0, {}]]]), "layer 'out' takes 2 inputs"),
        (changed(CHAIN3, 2, inbound_nodes=[{"args": [TENSOR, TENSOR], "kwargs": {}}]), "layer 'out' takes 2 inputs"),
        (changed(CHAIN, 2, inbound_nodes=[[["a", 0, 0, {}]]] * 2), "layer 'out' is called 2 times"),
        (changed(CHAIN, 2, inbound_nodes=[]), "layer 'out' is called 0 times"),
        (changed(CHAIN, 2, inbound_nodes=None), "layer 'out' is called 0 times"),
        (changed(CHAIN, 2, inbound_nodes=[[["a", 0, 1, {}]]]), "layer 'out' takes output 1 of call 0"),
        (changed(CHAIN, 2, inbound_nodes=[[["x", 0, 0, {}]]]), "layer 'a' is beside the way"),
        (changed(CHAIN, 2, inbound_nodes=[[["a", 0, 0, {"initial_state": [["x", 0, 0]]}]]]), "with 'initial_state'"),
        (
            changed(CHAIN3, 2, inbound_nodes=[{"args": [TENSOR], "kwargs": {"mask": TENSOR}}]),
            "is called with a mask that is not",
        ),
        (changed(CHAIN, 1, inbound_nodes=[[["out", 0, 0, {}]]]), "the way back from its output ends at 'out'"),
        (changed(CHAIN, 1, inbound_nodes=[[["gone", 0, 0, {}]]]), "the way back from its output ends at 'gone'"),
        (changed(CHAIN, 1, inbound_nodes=[["gone"]]), "layer 'a' takes 1 inputs"),
        (changed(CHAIN, 1, inbound_nodes=[5]), "layer 'a' takes 1 inputs"),
    ],
)
def test_functional_models_that_are_no_chain(document: Any, message: str) -> None:
    with pytest.raises(FileFormatError) as caught:
        from_config(document)
    assert str(caught.value).startswith("config is not a chain of layers: ") and message in str(caught.value)


@pytest.mark.parametrize("key", ["input_layers", "output_layers"])
@pytest.mark.parametrize("ends", [[], [["x", 0, 0], ["out", 0, 0]], None, 5])
def test_several_inputs_or_outputs(key: str, ends: Any) -> None:
    document = copy.deepcopy(CHAIN)
    document["config"][key] = ends
    with pytest.raises(FileFormatError, match=r"is not a chain of layers: it has \d inputs and \d outputs"):
        from_config(document)


@pytest.mark.parametrize("name", ["masked", "embedded"])
def test_masks_that_keras_3_writes_down(name: str) -> None:
    """A Masking or an Embedding stands in a chain; the operations that make its mask stand beside, and must fit."""
    stored = np.load(DATA / "keras_normalization__keras3.npz", allow_pickle=False)
    document = json.loads(str(stored[f"{name}/json"]))
    maker = {"masked": "Masking", "embedded": "Embedding"}[name]
    assert type(from_config(document).layers[0]).__name__ == maker

    def refuse(change: Callable[[dict[str, Any]], Any], what: str = "is called with a mask that is not") -> None:
        broken = copy.deepcopy(document)
        change({layer["class_name"]: layer for layer in broken["config"]["layers"]})
        with pytest.raises(FileFormatError, match=what):
            from_config(broken)

    refuse(lambda found: found["NotEqual"]["inbound_nodes"][0]["args"].__setitem__(1, 3))
    refuse(lambda found: found["NotEqual"]["inbound_nodes"][0].update(args=[]))
    refuse(lambda found: found["NotEqual"].update(inbound_nodes=3))
    refuse(lambda found: found["NotEqual"].update(name="other"))
    refuse(lambda found: found["NotEqual"].update(module="elsewhere.ops"), "not_equal.* takes 2 inputs")
    if name == "masked":
        refuse(lambda found: found["Any"]["config"].update(axis=1))
        refuse(lambda found: found["Masking"]["config"].update(mask_value=1.0))
    else:
        refuse(lambda found: found["Embedding"]["config"].update(mask_zero=False))
