"""Objects of somebody's own in configurations, and what older Kerases wrote: read, kept, never run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numba_lstm as nl
from numba_lstm.errors import ConfigError
from numba_lstm.formats import from_config

OWN: list[Any] = [
    "my_init",
    {"class_name": "MyInit", "config": {"a": 1}},
    {"module": "mine", "class_name": "Zeros", "config": {}, "registered_name": "Zeros"},
    {"module": None, "class_name": "Zeros", "config": {}, "registered_name": "mine>Zeros"},
    {"class_name": "__lambda__", "config": {"value": ["4wEAAAA=", None, None]}},
]


@pytest.mark.parametrize("entry", OWN)
@pytest.mark.parametrize("key", ["kernel_initializer", "bias_regularizer", "recurrent_constraint"])
def test_they_are_kept_as_they_are(entry: Any, key: str) -> None:
    for cls in (nl.LSTM, nl.LSTMCell):
        config = cls.from_config({"units": 3, key: entry}, "keras2").get_config()
        assert config[key] == entry
    model = from_config({"units": 3, key: entry, "name": "cell"}, dialect="keras2")
    assert [note.startswith(f"{key} of 'cell', ") for note in model.source.notes] == [False, True]


def test_they_are_never_run() -> None:
    layer = nl.LSTM.from_config({"units": 3, "kernel_initializer": "my_init"}, "keras2")
    with pytest.raises(
        ConfigError, match=r"'my_init' is no object of Keras and is not run; expected one of Keras's own"
    ):
        layer.build((None, None, 2))
    layer.set_weights([np.ones((2, 12)), np.ones((3, 12)), np.ones(12)])
    assert layer(np.ones((1, 2, 2))).shape == (1, 3)


def test_constructors_and_other_dialects_still_refuse() -> None:
    with pytest.raises(ConfigError, match="kernel_initializer 'my_init' is unknown in"):
        nl.LSTM(3, kernel_initializer="my_init")
    config = {"units": 3, "kernel_initializer": {"class_name": "OrthogonalInitializer", "config": {}}}
    with pytest.raises(ConfigError, match=r"is unknown in TensorFlow 1.15 \(it belongs to the dialect 'keras3'\)"):
        nl.LSTM.from_config(config, "tf1")


def test_older_kerases() -> None:
    assert nl.LSTM.from_config({"units": 3, "implementation": 0}, "tf1").cells[0].implementation == 1
    assert nl.LSTMCell.from_config({"units": 3, "implementation": 0}, "tf1").implementation == 1
    with pytest.raises(ConfigError, match="implementation is 0; expected an integer from 1 to 2"):
        nl.LSTM(3, implementation=0)
    for dtype in ("int32", "int64", "uint8"):
        layer = nl.Embedding.from_config({"input_dim": 3, "output_dim": 2, "dtype": dtype}, "tf1")
        assert layer.dtype == "float32"
    policy = {"class_name": "PolicyV1", "config": {"name": "mixed_float16", "loss_scale": "dynamic"}}
    cell = nl.LSTMCell.from_config({"units": 3, "dtype": policy}, "keras2")
    assert cell.get_config()["dtype"] == policy


def test_a_backward_layer_is_like_the_forward_one() -> None:
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "mixed_bfloat16"}}
    cells = [{"class_name": "LSTMCell", "config": {"units": 2, "dtype": policy, "trainable": i > 0}} for i in range(2)]
    rnn = {"class_name": "RNN", "config": {"cell": {"class_name": "StackedRNNCells", "config": {"cells": cells}}}}
    layer = nl.Bidirectional.from_config({"layer": rnn}, "keras3")
    assert isinstance(layer, nl.Bidirectional)
    for one in (layer.forward_layer, layer.backward_layer):
        assert [cell.trainable for cell in one.cells] == [False, True]
        assert [cell.get_config()["dtype"] for cell in one.cells] == [policy, policy]
