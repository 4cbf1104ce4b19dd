"""formats/keras_json.py: the configurations of Keras's models made into layers in a row."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from support.keras_documents import CELL, CHAIN, DENSE, INPUT, LSTM, changed, functional

import numba_lstm as nl
from numba_lstm.errors import ConfigError, FileFormatError, NumbaLSTMError
from numba_lstm.formats import from_config
from numba_lstm.formats.keras_json import read_chain

SEQUENTIAL = {"class_name": "Sequential", "config": {"name": "s", "layers": [INPUT, LSTM, DENSE]}}


@pytest.mark.parametrize(
    "document",
    [
        SEQUENTIAL,
        {"class_name": "Sequential", "config": [INPUT, LSTM, DENSE]},
        SEQUENTIAL["config"],
        functional(INPUT, LSTM, DENSE),
        functional(INPUT, LSTM, DENSE, class_name="Model", shuffled=True),
        functional(INPUT, LSTM, DENSE, keras3=True),
        functional(INPUT, LSTM, DENSE)["config"],
    ],
    ids=["sequential", "old-list", "bare-sequential", "functional", "model-shuffled", "keras3", "bare-functional"],
)
def test_every_way_to_write_the_same_model(document: Any) -> None:
    model = from_config(document)
    assert [type(layer).__name__ for layer in model.layers] == ["LSTM", "Dense"]
    assert [layer.name for layer in model.layers] == ["a", "out"]
    assert model.input_shape == (None, 6, 3)
    assert model.weight_names() == ["a/kernel", "a/recurrent_kernel", "a/bias", "out/kernel", "out/bias"]
    assert model.source.dialect == "tf1"
    assert model.source.dialect_from == "nothing in the configuration tells; TensorFlow 1.15 is taken"


def test_first_layer_with_a_shape_and_build_input_shape() -> None:
    first = {"class_name": "LSTM", "config": {**LSTM["config"], "batch_input_shape": [None, None, 3]}}
    assert from_config({"class_name": "Sequential", "config": {"layers": [first]}}).input_shape == (None, None, 3)
    late = {"class_name": "Sequential", "config": {"layers": [LSTM], "build_input_shape": [None, 7, 3]}}
    assert from_config(late).input_shape == (None, 7, 3)
    both = {"class_name": "Sequential", "config": {"layers": [INPUT, LSTM], "build_input_shape": [None, 7, 3]}}
    assert from_config(both).input_shape == (None, 6, 3)


@pytest.mark.parametrize(
    ("document", "class_name"),
    [
        ({"units": 4}, "RNN"),
        (CELL, "RNN"),
        ({"class_name": "StackedRNNCells", "config": {"cells": [CELL]}}, "RNN"),
        ({"units": 4, "return_sequences": False}, "LSTM"),
        ({"cell": CELL}, "RNN"),
        ({"layer": {"class_name": "LSTM", "config": {"units": 4}}, "merge_mode": "sum"}, "Bidirectional"),
        ({"class_name": "Dense", "config": {"units": 4}}, "Dense"),
    ],
)  # fmt: skip
def test_one_layer_or_cell_by_itself(document: Any, class_name: str) -> None:
    model = from_config(document)
    assert [type(layer).__name__ for layer in model.layers] == [class_name]


def test_a_bare_cell_gives_sequences_and_says_so() -> None:
    model = from_config({"units": 4})
    assert isinstance(model.layers[0], nl.RNN)
    assert model.layers[0].return_sequences
    assert model.source.notes == ["a bare LSTMCell is run as RNN(cell, return_sequences=True)"]


@pytest.mark.parametrize(
    ("version", "dialect"),
    [("2.2.4-tf", "tf1"), ("2.1.6", "tf1"), ("2.3.0-tf", "keras2"), ("2.15.0", "keras2"), ("3.15.1", "keras3")],
)
def test_the_version_tells_the_dialect(version: str, dialect: str) -> None:
    model = from_config({**SEQUENTIAL, "keras_version": version})
    assert model.dialect == dialect
    assert model.source.dialect_from == f"keras_version {version} in the configuration"
    assert from_config({**SEQUENTIAL, "keras_version": version}, dialect="tf1").source.dialect_from == "as given"


def test_the_format_tells_the_dialect() -> None:
    initializer = {"module": "keras.initializers", "class_name": "Zeros", "config": {}, "registered_name": None}
    model = from_config({"units": 4, "bias_initializer": initializer})
    assert (model.dialect, model.source.dialect_from) == ("keras2", "the format of the configuration")


@pytest.mark.parametrize("version", ["1.2.2", "4.0", "", "two"])
def test_other_versions_are_refused(version: str) -> None:
    with pytest.raises(FileFormatError, match=r"keras_version is '.*'; expected 2 or 3; save the model again"):
        from_config({**SEQUENTIAL, "keras_version": version})


def test_dtypes() -> None:
    double = {"class_name": "LSTM", "config": {**LSTM["config"], "dtype": "float64"}}
    model = from_config({"class_name": "Sequential", "config": {"layers": [INPUT, double, DENSE]}})
    assert [layer.dtype for layer in model.layers] == ["float64", "float64"]
    mixed = {"class_name": "Policy", "config": {"name": "mixed_float16"}}
    half = {"class_name": "LSTM", "config": {**LSTM["config"], "dtype": mixed}}
    model = from_config({"class_name": "Sequential", "config": {"layers": [INPUT, half, DENSE]}})
    assert model.dtype == "float32"
    assert model.source.notes == ["dtype mixed_float16 is computed in float32"]


def test_float64_reaches_cells_and_wrapped_layers() -> None:
    cell = {"class_name": "LSTMCell", "config": {"units": 4, "dtype": "float64"}}
    plain = {"class_name": "LSTMCell", "config": {"units": 3}}
    stack = {"class_name": "StackedRNNCells", "config": {"cells": [cell, plain]}}
    rnn = {"class_name": "RNN", "config": {"name": "r", "cell": stack}}
    model = from_config({"class_name": "Sequential", "config": {"layers": [INPUT, rnn]}})
    assert {cell.dtype for cell in model.recurrent_layers[0].cells} == {"float64"}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (5, "config is 5; expected a mapping or the path of a JSON file"),
        ({"class_name": "Sequential", "config": {"layers": []}}, "config has [] as its layers"),
        ({"class_name": "Sequential", "config": {"layers": 3}}, "config has 3 as its layers"),
        ({"class_name": "Sequential", "config": {}}, "config has None as its layers"),
        ({"class_name": "Functional", "config": {"layers": [5]}}, "config has [5] as its layers"),
        ({"class_name": "Sequential", "config": {"layers": [INPUT]}}, "config has an input and no layers"),
        ({"class_name": "Sequential", "config": {"layers": [INPUT, 5]}}, "config: layer 2 of 2: a layer's entry is 5"),
        (
            {"class_name": "Sequential", "config": {"layers": [INPUT, {"class_name": "GRU", "config": {"name": "g"}}]}},
            "config: layer 2 of 2, 'g': layer 'GRU' is not supported; expected some of: Activation, BatchNorm",
        ),
        (
            {"class_name": "Sequential", "config": {"layers": [INPUT, {"class_name": "Lambda", "config": {}}]}},
            "config: layer 2 of 2: layer Lambda holds code, which is never run from a file",
        ),
        (
            {
                "class_name": "TimeDistributed",
                "config": {"layer": {"class_name": "Lambda", "config": {"name": "l", "function": ["4wEAAAA="]}}},
            },
            "config: layer Lambda holds code, which is never run from a file",
        ),
        (
            {"class_name": "Sequential", "config": {"layers": [INPUT, SEQUENTIAL]}},
            "config: layer 2 of 2, 's': Sequential is a model in a model; expected the layers in one row",
        ),
        (
            {"class_name": "Dense", "config": {"units": 2, "name": "d\nd" * 100, "activation": "\n"}},
            "config: activation '\\n' is unknown in TensorFlow 1.15",
        ),
        ({"class_name": "Dense", "config": {"units": 0}}, "config: units is 0; expected an integer from 1"),
    ],
)  # fmt: skip
def test_errors_name_the_layer_and_its_place(document: Any, message: str) -> None:
    with pytest.raises(NumbaLSTMError) as caught:
        from_config(document)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("entry", "origin"),
    [
        ({"module": "os", "class_name": "system", "config": {"command": "x"}}, "os.system"),
        ({"module": "my.layers", "class_name": "LSTM", "config": {"units": 4}}, "my.layers.LSTM"),
        ({"module": None, "class_name": "LSTM", "config": {"units": 4}, "registered_name": "my>LSTM"}, "my>LSTM"),
        ({"module": 5, "class_name": "LSTM", "config": {"units": 4}}, "5.LSTM"),
    ],
)
def test_classes_of_others_are_refused_wherever_they_stand(entry: Any, origin: str) -> None:
    message = f"needs the class '{origin}', which is not Keras's own; nothing is imported from a file"
    for document in (
        entry,
        {"class_name": "Sequential", "config": {"layers": [INPUT, entry]}},
        {"class_name": "Bidirectional", "config": {"layer": entry}},
        {"class_name": "RNN", "config": {"cell": {"class_name": "StackedRNNCells", "config": {"cells": [entry]}}}},
    ):
        with pytest.raises(FileFormatError, match="needs the class") as caught:
            from_config(document)
        assert message in str(caught.value)


def test_keras_own_modules_are_fine() -> None:
    for module in ("keras.layers", "tf_keras.src.layers", "keras.src.layers.rnn.lstm", "tensorflow.keras.layers"):
        entry = {"module": module, "class_name": "LSTM", "config": {"units": 4}, "registered_name": None}
        assert from_config(entry).layers[0].name == "lstm"


def test_entries_may_be_anything_at_all() -> None:
    for value in (None, 5, "x", [], {}, [[]], {"class_name": 5}, True, -1.5, [None], {"": {}}):
        for document in (
            {"class_name": value, "config": value},
            {"class_name": "Sequential", "config": value},
            {"class_name": "Functional", "config": value},
            {"class_name": "LSTM", "config": value},
            {"class_name": "Functional", "config": {"layers": [value], "input_layers": value, "output_layers": value}},
            changed(CHAIN, 1, inbound_nodes=value),
            changed(CHAIN, 1, inbound_nodes=[value]),
            changed(CHAIN, 1, inbound_nodes=[[[value, value, value, value]]]),
            changed(CHAIN, 1, inbound_nodes=[{"args": value, "kwargs": value}]),
            changed(CHAIN, 1, name=value),
            changed(CHAIN, 1, config=value),
            changed(CHAIN, 0, config={"batch_input_shape": value}),
            {"class_name": "Sequential", "config": {"layers": [LSTM], "build_input_shape": value}},
            {**LSTM, "config": {**LSTM["config"], "dtype": value}},
            {**LSTM, "config": {**LSTM["config"], "units": value}},
            {**LSTM, "config": {**LSTM["config"], "activation": value}},
            {**LSTM, "config": {**LSTM["config"], "kernel_initializer": value}},
            {**SEQUENTIAL, "keras_version": value},
        ):
            try:
                from_config(document)
            except NumbaLSTMError as error:
                assert "\n" not in str(error)


def test_more_layers_and_cells_than_anybody_has() -> None:
    for document in (
        {"class_name": "Sequential", "config": {"layers": [LSTM] * 2001}},
        {"class_name": "RNN", "config": {"cell": [{"class_name": "LSTMCell", "config": {"units": 1}}] * 2000}},
    ):
        with pytest.raises(FileFormatError, match="config has 2001 layers and cells; expected at most 2000"):
            from_config(document)


def test_a_file_that_is_no_object(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text("[1]")
    with pytest.raises(FileFormatError, match=r"list.json holds \[1\]; expected the configuration of a model"):
        from_config(path)


def test_names_with_line_ends_and_without_end() -> None:
    entry = {"class_name": "Dropout", "config": {"name": "a\nb" * 10_000, "rate": 0.5}}
    with pytest.raises(ConfigError) as caught:
        from_config({"class_name": "Sequential", "config": {"layers": [LSTM, entry, entry]}})
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


def test_the_chain_is_not_the_document() -> None:
    document = copy.deepcopy(CHAIN)
    assert [entry["config"]["name"] for entry in read_chain(document, "config").entries] == ["x", "a", "out"]
    assert document == CHAIN


def test_a_wrong_argument_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="config: LSTM has the unknown argument 'colour'"):
        from_config({**LSTM, "config": {**LSTM["config"], "colour": 1}})
