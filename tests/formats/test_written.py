"""The configuration that is written, as the Keras of its dialect reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import numba_lstm as nl
from numba_lstm import formats
from numba_lstm.errors import FileFormatError
from numba_lstm.formats.written import written_model


def several_outputs(dialect: Any) -> list[nl.Sequential]:
    """Models whose last layer returns states, both directions, or all of that."""
    common = {"dialect": dialect}

    def lstm(**options: Any) -> nl.LSTM:
        return nl.LSTM(4, **options, **common)

    lasts = [
        lstm(return_state=True),
        nl.RNN([nl.LSTMCell(2, **common), nl.LSTMCell(3, **common)], return_state=True, **common),
        nl.Bidirectional(lstm(return_sequences=True), merge_mode=None, **common),
        nl.Bidirectional(lstm(return_state=True), merge_mode=None, **common),
        nl.Bidirectional(lstm(return_state=True), **common),
    ]
    return [nl.Sequential([nl.Masking(**common), last]) for last in lasts]


def flat(value: Any) -> list[Any]:
    return [one for part in value for one in flat(part)] if isinstance(value, list) else [value]


@pytest.mark.parametrize("dialect", ["tf1", "keras2", "keras3"])
@pytest.mark.parametrize("number", range(5))
def test_several_outputs_are_functional_where_keras_wants_it(tmp_path: Path, dialect: Any, number: int) -> None:
    model = several_outputs(dialect)[number]
    model.reseed(3)
    model.build((None, 5, 3))
    x = np.random.default_rng(1).standard_normal((2, 5, 3)).astype(np.float32)
    expected = flat(model(x))
    nl.save(model, tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        document = json.loads(file.attrs["model_config"])
    assert document["class_name"] == {"tf1": "Model", "keras2": "Functional", "keras3": "Sequential"}[dialect]
    if dialect != "keras3":
        name = model.layers[-1].name
        assert document["config"]["output_layers"] == [[name, 0, i] for i in range(len(expected))]
    outputs = flat(nl.load(tmp_path / "m.h5")(x))
    assert [one.tobytes() for one in outputs] == [one.tobytes() for one in expected]


def test_outputs_of_a_stack_are_lists_in_a_list() -> None:
    """Keras writes a functional model's outputs in the structure that the last layer gives them."""
    model = several_outputs("keras2")[1]
    model.build((None, 5, 3))
    document = written_model(model)
    first, *states = document["config"]["output_layers"]
    document["config"]["output_layers"] = [first, states[:2], states[2:]]
    assert formats.from_config(document).layers[-1].return_state
    document["config"]["output_layers"] = [first, states[:2]]
    with pytest.raises(FileFormatError, match=r"it gives the outputs \[0, 1, 2\] of its last layer"):
        formats.from_config(document)


def test_one_of_two_directions_is_refused() -> None:
    model = several_outputs("keras2")[2]
    model.build((None, 5, 3))
    document = written_model(model)
    document["config"]["output_layers"].pop()
    with pytest.raises(FileFormatError, match=r"it gives the outputs \[0\] of its last layer"):
        formats.from_config(document)
