"""The configuration of a cell: its defaults in each dialect, what is written and read, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numba_lstm.cell import LSTMCell
from numba_lstm.errors import ConfigError
from numba_lstm.semantics.config import (
    MAX_UNITS,
    cell_defaults,
    deserialize_object,
    detect_dialect,
)
from numba_lstm.semantics.dialects import DIALECTS, Dialect

SYSTEMS: dict[str, Dialect] = {"tf115": "tf1", "tf215": "keras2", "k3": "keras3"}


GLOROT: dict[Dialect, dict[str, Any]] = {
    "tf1": {"class_name": "GlorotUniform", "config": {"seed": None, "dtype": "float32"}},
    "keras2": {
        "module": "keras.initializers",
        "class_name": "GlorotUniform",
        "config": {"seed": None},
        "registered_name": None,
    },
    "keras3": {
        "module": "keras.initializers",
        "class_name": "GlorotUniform",
        "config": {"seed": None, "input_axes": None, "output_axes": None},
        "registered_name": None,
    },
}


def made(value: Any, dialect: Dialect) -> Any:
    """A stored argument: ``{"make": "regularizers.l2", "args": {...}}`` stands for an object of Keras."""
    if not (isinstance(value, dict) and "make" in value):
        return value
    module, name = value["make"].split(".")
    arguments = dict(value.get("args", {}))
    if dialect == "keras3":
        name = {"l1_l2": "L1L2"}.get(name, name)
        arguments = {name if key == "l" else key: one for key, one in arguments.items()}
    return deserialize_object({"class_name": name, "config": arguments}, dialect, module.removesuffix("s"))


def text_of(config: dict[str, Any]) -> str:
    return json.dumps(config)


@pytest.mark.goldens
@pytest.mark.parametrize("system", SYSTEMS)
def test_configurations_are_written_exactly(goldens: Any, system: str) -> None:
    dialect, count = SYSTEMS[system], 0
    for row in goldens.json(f"configs__{system}.json")["configs"]:
        if row["class"] != "LSTMCell" or row["kwargs"].get("units") == 0:
            continue  # TensorFlow 1.15 takes a cell without units; here that is an error
        arguments = {**cell_defaults(dialect, row["api"]), "name": row["config"]["name"]}
        arguments |= {key: made(value, dialect) for key, value in row["kwargs"].items()}
        cell = LSTMCell(**arguments, dialect=dialect)
        assert text_of(cell.get_config()) == text_of(row["config"]), row["id"]
        count += 1
    assert count >= 13


@pytest.mark.goldens
@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("told", [False, True])
def test_configurations_come_back_unchanged(goldens: Any, system: str, told: bool) -> None:
    dialect, count = SYSTEMS[system], 0
    for row in goldens.json(f"configs__{system}.json")["configs"]:
        if row["class"] != "LSTMCell" or row["config"]["units"] == 0:
            continue
        cell = LSTMCell.from_config(row["config"], dialect=dialect if told else None)
        assert cell.dialect == dialect
        assert text_of(cell.get_config()) == text_of(row["config"]), row["id"]
        twin = LSTMCell(**cell.arguments())
        assert twin.get_config() | {"dtype": 0} == cell.get_config() | {"dtype": 0}
        count += 1
    assert count >= 13


@pytest.mark.goldens
@pytest.mark.parametrize("system", SYSTEMS)
def test_what_keras_refuses_is_refused(goldens: Any, system: str) -> None:
    refused = [row for row in goldens.json(f"configs__{system}.json")["refused"] if row["class"] == "LSTMCell"]
    assert refused
    for row in refused:
        with pytest.raises(ConfigError):
            LSTMCell.from_config(row["kwargs"], dialect=SYSTEMS[system])


@pytest.mark.goldens
@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("cfg_zero_units.json", "units is 0; expected an integer from 1 to 65536"),
        ("cfg_huge_units.json", "units is 1000000000000; expected an integer from 1 to 65536"),
        ("cfg_str_units.json", "units is '4'; expected an integer from 1 to 65536"),
        ("cfg_bool_units.json", "units is True; expected an integer from 1 to 65536"),
        ("cfg_no_units.json", "the configuration of LSTMCell lacks units; expected the number of them"),
        ("cfg_activation_code.json", "activation \"__import__('os').mkdir('PICKL..."),
        ("cfg_nan_dropout.json", "dropout is nan; expected a finite number"),
        ("cfg_str_dropout.json", "dropout is '0.5'; expected a finite number"),
        ("cfg_impl_7.json", "implementation is 7; expected an integer from 1 to 2"),
    ],
)
def test_bad_configurations_end_in_one_line(
    goldens: Any, file: str, message: str, one_line: Callable[[Any], str], tmp_path: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as info:
        LSTMCell.from_config(json.loads((goldens.data / "bad" / file).read_text()))
    assert one_line(info).startswith(message.removesuffix("..."))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_default_configuration(dialect: Dialect) -> None:
    config = LSTMCell(6, dialect=dialect).get_config()
    assert config["kernel_initializer"] == GLOROT[dialect]
    assert config["recurrent_activation"] == "hard_sigmoid"
    assert config["name"] == "lstm_cell" and config["units"] == 6 and config["trainable"] is True
    assert ("implementation" in config) == (dialect != "keras3")
    assert ("seed" in config) == (dialect == "keras3")
    assert detect_dialect(config) == dialect
    assert LSTMCell.from_config(config).get_config() == config
    assert list(config)[:6] == ["name", "trainable", "dtype", "units", "activation", "recurrent_activation"]


def test_missing_keys_have_the_dialects_defaults() -> None:
    assert LSTMCell.from_config({"units": 4}).recurrent_activation == "hard_sigmoid"
    assert LSTMCell.from_config({"units": 4}).dialect == "tf1"
    for dialect in ("keras2", "keras3"):
        cell = LSTMCell.from_config({"units": 4}, dialect=dialect)  # type: ignore[arg-type]
        assert (cell.recurrent_activation, cell.implementation) == ("sigmoid", 2)
    assert cell_defaults("keras2", "v1")["recurrent_activation"] == "hard_sigmoid"


def test_tensorflow_1_writes_null_for_a_dtype_nobody_asked_for() -> None:
    cell = LSTMCell(2)
    assert cell.get_config()["dtype"] is None
    cell.build(3)
    assert cell.get_config()["dtype"] == "float32"
    assert LSTMCell(2, dtype="float64").get_config()["dtype"] == "float64"
    for dtype in (None, "float32", "float64"):
        assert LSTMCell.from_config({"units": 2, "dtype": dtype}).get_config()["dtype"] == dtype


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": -1}, f"units is -1; expected an integer from 1 to {MAX_UNITS}"),
        ({"units": 4.0}, f"units is 4.0; expected an integer from 1 to {MAX_UNITS}"),
        ({"units": None}, f"units is None; expected an integer from 1 to {MAX_UNITS}"),
        ({"units": 4, "use_bias": 1}, "use_bias is 1; expected True or False"),
        ({"units": 4, "unit_forget_bias": "yes"}, "unit_forget_bias is 'yes'; expected True or False"),
        ({"units": 4, "implementation": 0}, "implementation is 0; expected an integer from 1 to 2"),
        ({"units": 4, "implementation": True}, "implementation is True; expected an integer from 1 to 2"),
        ({"units": 4, "dropout": None}, "dropout is None; expected a finite number"),
        ({"units": 4, "recurrent_dropout": [0.5]}, "recurrent_dropout is [0.5]; expected a finite number"),
        ({"units": 4, "dtype": "float16"}, "dtype is 'float16'; expected 'float32' or 'float64'"),
        ({"units": 4, "dtype": int}, "dtype is <class 'int'>; expected 'float32' or 'float64'"),
        ({"units": 4, "dialect": "tf2"}, "dialect is 'tf2'; expected one of 'tf1', 'keras2', 'keras3'"),
        ({"units": 4, "seed": 2**64}, f"seed is {2**64}; expected an integer from {-(2**63)} to {2**64 - 1}"),
        ({"units": 4, "seed": 1.5}, f"seed is 1.5; expected an integer from {-(2**63)} to {2**64 - 1}"),
        ({"units": 4, "name": 3}, "name is 3; expected a string or None"),
    ],
)
def test_arguments_that_are_refused(arguments: dict[str, Any], message: str, one_line: Callable[[Any], str]) -> None:
    with pytest.raises(ConfigError) as info:
        LSTMCell(**arguments)
    assert one_line(info) == message


def test_configurations_that_are_refused(one_line: Callable[[Any], str]) -> None:
    with pytest.raises(ConfigError, match=r"^the configuration of LSTMCell is 3; expected a mapping of its arguments$"):
        LSTMCell.from_config(3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as info:
        LSTMCell.from_config({"units": 4, "bogus": 1})
    assert one_line(info).startswith(
        "LSTMCell has the unknown argument 'bogus'; expected some of: name, trainable, dtype, units"
    )
    with pytest.raises(ConfigError, match=r"unknown argument 'seed'"):
        LSTMCell.from_config({"units": 4, "seed": 1})
    with pytest.raises(ConfigError, match=r"^trainable is 3; expected True or False$"):
        LSTMCell.from_config({"units": 4, "trainable": 3})


def test_rates_are_clipped_as_keras_clips_them() -> None:
    cell = LSTMCell(2, dropout=1.5, recurrent_dropout=-0.25)
    assert (cell.dropout, cell.recurrent_dropout) == (1.0, 0.0)
    assert LSTMCell(2, dropout=float("inf")).dropout == 1.0


def test_deep_and_long_configurations_are_no_danger() -> None:
    deep: Any = {"units": 4}
    for _ in range(50_000):
        deep = {"config": deep}
    assert detect_dialect(deep) is None
    with pytest.raises(ConfigError, match=r"unknown argument 'config'"):
        LSTMCell.from_config(deep)
    while deep:  # let it go level by level
        deep = deep.get("config")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    key=st.sampled_from(["units", "dtype", "name", "trainable", *cell_defaults("tf1")]),
    value=json_values,
    dialect=st.sampled_from(DIALECTS),
)
def test_any_value_is_taken_or_refused(key: str, value: Any, dialect: Dialect) -> None:
    try:
        cell = LSTMCell.from_config({"units": 2, key: value}, dialect=dialect)
    except ConfigError as error:
        assert "\n" not in str(error)
    else:
        config = cell.get_config()
        assert text_of(LSTMCell.from_config(config, dialect=dialect).get_config()) == text_of(config)
