"""From a stored case to the public names: the adapter that compare.py takes.

In the folder tests:  python GOLDENS/compare.py --runner support.golden_runner:run --system tf215
                      python GOLDENS/compare.py --runner support.golden_runner:run64 --dtype float64 --system tf215
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import numba_lstm as nl
from numba_lstm.errors import ConfigError

DIALECTS = {"tf115": "tf1", "tf20": "tf1", "tf215": "keras2", "k3": "keras3", "k3torch": "keras3"}
# The defaults of the class that ran the case, where they are not those of this package's constructors.
V2_DEFAULTS = {"recurrent_activation": "sigmoid", "implementation": 2}

Results = dict[str, NDArray[Any]]


def run(case: dict[str, Any], get: Any) -> Results:
    """The results of a case in float32."""
    return run_in(case, get, "float32")


def run64(case: dict[str, Any], get: Any) -> Results:
    """The results of a case in float64."""
    return run_in(case, get, "float64")


def run_in(case: dict[str, Any], get: Any, dtype: str, device: str = "cpu") -> Results:
    options = {"dtype": dtype, "dialect": DIALECTS[get.system]}
    if case["layer"]["kind"] == "cell":
        return run_cell(case, get, options)
    layer = make_layer(case["layer"], options)
    layer.set_weights([w for weights in get.weights() for w in weights])
    results: Results = {}
    for j, call in enumerate(case["calls"]):
        if call.get("reset_before"):
            layer.reset_states()
        try:
            outputs = layer(
                get(call["x"]),
                mask=get(call.get("mask")),
                initial_state=[get(key) for key in call["initial_state"]] if call.get("initial_state") else None,
                device=device,
                **dropout_arguments(call, get),
            )
        except ConfigError:
            # Where Keras itself raised nothing is stored, and an error is what is wanted.
            if f"{case['id']}/float32" in stored_errors(get):
                return {}
            raise
        results.update({f"call{j}/out{n}": array for n, array in enumerate(flat(outputs))})
    return results


def run_cell(case: dict[str, Any], get: Any, options: dict[str, Any]) -> Results:
    call = case["calls"][0]
    cell = nl.LSTMCell(**cell_arguments(case["layer"], case["layer"]["cells"][0]), **options)
    cell.set_weights(get.weights()[0])
    x = get(call["x"])
    states = [np.zeros((len(x), cell.units)) if call[key] is None else get(call[key]) for key in ("h0", "c0")]
    _, (h, c) = cell(x, states, **dropout_arguments(call, get))
    return {"h": h, "c": c}


def dropout_arguments(call: dict[str, Any], get: Any) -> dict[str, Any]:
    if not call.get("training"):
        return {}
    mask, recurrent_mask = get.masks()
    return {"training": True, "dropout_mask": mask, "recurrent_dropout_mask": recurrent_mask}


def cell_arguments(layer: dict[str, Any], cell: dict[str, Any]) -> dict[str, Any]:
    return cell if layer["api"] == "v1" else {**V2_DEFAULTS, **cell}


def make_layer(layer: dict[str, Any], options: dict[str, Any]) -> nl.RNN | nl.Bidirectional:
    cells = [cell_arguments(layer, cell) for cell in layer["cells"]]
    made: nl.RNN
    if layer["kind"] == "lstm":
        made = nl.LSTM(**cells[0], **layer["options"], **options)
    elif layer["kind"] == "rnn":
        made = nl.RNN(nl.LSTMCell(**cells[0], **options), **layer["options"], **options)
    else:
        stack = nl.StackedRNNCells(
            [nl.LSTMCell(**cell, **options) for cell in cells],
            reverse_state_order=layer.get("reverse_state_order", False),
            **options,
        )
        made = nl.RNN(stack, **layer["options"], **options)
    if "bidirectional" in layer:
        return nl.Bidirectional(made, merge_mode=layer["bidirectional"]["merge_mode"])
    return made


def flat(outputs: Any) -> list[NDArray[Any]]:
    if isinstance(outputs, list | tuple):
        return [array for entry in outputs for array in flat(entry)]
    return [outputs]


def stored_errors(get: Any) -> dict[str, str]:
    """The errors of the system itself, by case and dtype."""
    errors: dict[str, str] = json.loads(Path(get.s.data, f"run_{get.system}.json").read_text())["errors"]
    return errors
