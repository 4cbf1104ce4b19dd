"""Configurations of layers, read and written as TensorFlow 1.15, TensorFlow 2.15 and Keras 3.15 write them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from support.goldens import Goldens

import numba_lstm as nl
from numba_lstm.layers import layer_from_config, to_entry

DIALECTS: dict[str, Any] = {"tf115": "tf1", "tf215": "keras2", "k3": "keras3"}
CLASSES: dict[str, Any] = {
    "LSTM": nl.LSTM,
    "RNN(LSTMCell)": nl.RNN,
    "RNN(StackedRNNCells)": nl.RNN,
    "RNN([cells])": nl.RNN,
    "Bidirectional(LSTM)": nl.Bidirectional,
    "Bidirectional(LSTM,None)": nl.Bidirectional,
    "StackedRNNCells": nl.StackedRNNCells,
}


@pytest.mark.goldens
@pytest.mark.parametrize("system", DIALECTS)
def test_stored_configurations(goldens: Goldens, system: str) -> None:
    done = 0
    for row in goldens.json(f"configs__{system}.json")["configs"]:
        cls = CLASSES.get(row["class"])
        if cls is None:
            continue
        for dialect in (DIALECTS[system], None):
            made = cls.from_config(row["config"], dialect)
            assert made.dialect == DIALECTS[system], row["id"]
            assert made.get_config() == row["config"], row["id"]
        if "serialized" in row:
            assert to_entry(made, made.dialect) == row["serialized"], row["id"]
        if row["class"] == "LSTM" and row["api"] == "v1":
            built_here = cls(**row["kwargs"], dialect=DIALECTS[system]).get_config()
            assert {**built_here, "name": row["config"]["name"]} == row["config"], row["id"]
        done += 1
    assert done >= 10


def keras2(class_name: str, config: dict[str, Any]) -> dict[str, Any]:
    """An entry as TensorFlow 2.15.1 writes it."""
    config = {"name": "a", "trainable": True, "dtype": "float32", **config}
    return {"module": "keras.layers", "class_name": class_name, "config": config, "registered_name": None}


def keras3(class_name: str, config: dict[str, Any]) -> dict[str, Any]:
    """An entry as Keras 3.15.1 writes it."""
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": None}
    return keras2(class_name, {"dtype": policy, **config})


def thing(module: str, class_name: str, **config: Any) -> dict[str, Any]:
    return {"module": f"keras.{module}", "class_name": class_name, "config": config, "registered_name": None}


GLOROT = thing("initializers", "GlorotUniform", seed=None)
GLOROT_3 = thing("initializers", "GlorotUniform", seed=None, input_axes=None, output_axes=None)
UNIFORM = thing("initializers", "RandomUniform", minval=-0.05, maxval=0.05, seed=None)
UNIFORM_3 = thing("initializers", "RandomUniform", seed=None, minval=-0.05, maxval=0.05)
ZEROS = thing("initializers", "Zeros")
NO_PENALTIES = {
    "kernel_regularizer": None,
    "bias_regularizer": None,
    "kernel_constraint": None,
    "bias_constraint": None,
}
DENSE = {"units": 4, "activation": "softmax", "use_bias": True, "bias_initializer": ZEROS, **NO_PENALTIES}
TABLE = {"input_dim": 10, "output_dim": 4, "embeddings_regularizer": None, "activity_regularizer": None}
TABLE |= {"embeddings_constraint": None, "mask_zero": True}

ENTRIES = [
    keras2("Dense", {**DENSE, "kernel_initializer": GLOROT, "activity_regularizer": None}),
    keras2("Dense", {**DENSE, "kernel_initializer": GLOROT, "activity_regularizer": None, "use_bias": False}),
    keras3("Dense", {**DENSE, "kernel_initializer": GLOROT_3, "quantization_config": None}),
    keras2("Dropout", {"rate": 0.3, "noise_shape": [None, 1, None], "seed": 3}),
    keras3("Dropout", {"rate": 0.3, "noise_shape": None, "seed": None}),
    keras2("SpatialDropout1D", {"rate": 0.3, "noise_shape": None, "seed": None}),
    keras2("Masking", {"mask_value": -1.0}),
    keras3("Masking", {"mask_value": 0.0}),
    keras2(
        "Embedding",
        {**TABLE, "embeddings_initializer": UNIFORM, "input_length": None, "batch_input_shape": [None, None]},
    ),
    keras3("Embedding", {**TABLE, "embeddings_initializer": UNIFORM_3, "quantization_config": None}),
    keras2("Activation", {"activation": "relu"}),
    keras3("Activation", {"activation": "hard_silu"}),
    keras2("RepeatVector", {"n": 3}),
    keras2("Flatten", {"data_format": "channels_last"}),
    keras3("Flatten", {"data_format": "channels_last"}),
    keras2(
        "TimeDistributed",
        {"layer": keras2("Dense", {**DENSE, "kernel_initializer": GLOROT, "activity_regularizer": None})},
    ),
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["class_name"])
def test_layers_around_an_lstm(entry: dict[str, Any]) -> None:
    layer = layer_from_config(entry)
    assert to_entry(layer, layer.dialect) == entry
    assert layer.dialect == ("keras3" if isinstance(entry["config"]["dtype"], dict) else "keras2")


def test_input_layers() -> None:
    two = {"batch_input_shape": [None, 6], "dtype": "int32", "sparse": False, "ragged": False, "name": "x"}
    three = {
        "batch_shape": [None, 6],
        "dtype": "int32",
        "sparse": False,
        "ragged": False,
        "name": "x",
        "optional": False,
    }
    for dialect, config in (("tf1", two), ("keras2", two), ("keras3", three)):
        layer = layer_from_config({"class_name": "InputLayer", "config": config}, dialect)
        assert layer.get_config() == config and layer.batch_input_shape == (None, 6)


def test_keras3_writes_a_spatial_dropout_in_its_own_way() -> None:
    config = {"rate": 0.3, "seed": None, "name": "a", "dtype": "float32"}
    layer = layer_from_config({"class_name": "SpatialDropout1D", "config": config}, "keras3")
    assert layer.get_config() == config


def test_zero_output_for_mask_is_written_as_keras_does() -> None:
    assert "zero_output_for_mask" not in nl.LSTM(2, dialect="keras2").get_config()
    assert nl.LSTM(2, dialect="keras2", zero_output_for_mask=True).get_config()["zero_output_for_mask"] is True
    assert nl.LSTM(2, dialect="keras3").get_config()["zero_output_for_mask"] is False
    assert "time_major" not in nl.LSTM(2, dialect="keras3").get_config()


def test_a_backward_layer_of_its_own_is_written() -> None:
    made = nl.Bidirectional(
        nl.LSTM(2, dialect="keras2"), backward_layer=nl.LSTM(3, go_backwards=True, dialect="keras2", name="other")
    )
    config = made.get_config()
    assert config["backward_layer"]["config"]["units"] == 3 and config["layer"]["config"]["units"] == 2
    again = nl.Bidirectional.from_config(config)
    assert again.get_config() == config and again.backward_layer.name == "other"
    assert "backward_layer" not in nl.Bidirectional(nl.LSTM(2)).get_config()
    third = nl.Bidirectional(nl.LSTM(2, return_sequences=True, dialect="keras3", name="rec")).get_config()
    assert third["layer"]["config"]["name"] == "forward_rec" and third["layer"]["config"]["zero_output_for_mask"]
    assert third["backward_layer"]["config"]["name"] == "backward_rec"
    assert nl.Bidirectional.from_config(third).get_config() == third


@pytest.mark.parametrize(
    ("dialect", "recurrent_activation", "implementation"),
    [("tf1", "hard_sigmoid", 1), ("keras2", "sigmoid", 2), ("keras3", "sigmoid", 2)],
)
def test_missing_keys_have_the_defaults_of_the_dialects_class(
    dialect: Any, recurrent_activation: str, implementation: int
) -> None:
    cell = nl.LSTM.from_config({"units": 2}, dialect).cells[0]
    assert (cell.recurrent_activation, cell.implementation) == (recurrent_activation, implementation)
    assert nl.LSTM.from_config({"units": 2}).dialect == "tf1"
    # The constructor's defaults are those of the v1 class in every dialect.
    assert nl.LSTM(2, dialect=dialect).cells[0].recurrent_activation == "hard_sigmoid"


def test_what_a_configuration_says_of_the_dtype() -> None:
    assert nl.LSTM(2).get_config()["dtype"] is None
    built = nl.LSTM(2)
    built.build((None, None, 3))
    assert built.get_config()["dtype"] == "float32"
    assert nl.LSTM.from_config({"units": 2, "dtype": "float32"}).get_config()["dtype"] == "float32"
    policy = {"class_name": "Policy", "config": {"name": "mixed_float16"}}
    mixed = nl.LSTM.from_config({"units": 2, "dtype": policy}, "keras2")
    assert mixed.dtype == "float32" and mixed.get_config()["dtype"] == policy
    assert nl.LSTM.from_config({"units": 2, "dtype": "float64"}).dtype == "float64"


def test_configurations_of_other_versions_of_keras() -> None:
    # Keras 2.2 by itself, from before TensorFlow took it over.
    scaling = {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": None}
    config = {"name": "a", "trainable": True, "units": 2, "kernel_initializer": {"class_name": "VarianceScaling"}}
    config["kernel_initializer"]["config"] = scaling
    assert nl.LSTM.from_config({**config, "batch_input_shape": [None, 4, 3], "dtype": "float32"}).dialect == "tf1"
    # What TensorFlow 2 adds, and Keras 3 where nothing is quantized.
    more = {"num_constants": 0, "dynamic": False, "autocast": True, "build_config": {"input_shape": [None, 3]}}
    assert nl.LSTM.from_config({"units": 2, **more}).units == 2
    assert nl.Dense.from_config({"units": 2, "lora_rank": None, "quantization_config": None}, "keras3").units == 2


def test_every_configuration_is_json(rng: np.random.Generator) -> None:
    layers = [nl.LSTM(2), nl.Bidirectional(nl.RNN([nl.LSTMCell(2), nl.LSTMCell(3)])), nl.Dense(2, "relu"), nl.Masking()]
    for layer in layers:
        config = json.loads(json.dumps(layer.get_config()))
        assert type(layer).from_config(config).get_config() == config
