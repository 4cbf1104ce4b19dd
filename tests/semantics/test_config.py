"""config.py and checks.py: dialects, dtypes and objects as they stand in configurations, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numba_lstm.cell import LSTMCell
from numba_lstm.errors import ConfigError
from numba_lstm.semantics import constraints, initializers, regularizers
from numba_lstm.semantics.config import (
    deserialize_dtype,
    deserialize_object,
    detect_dialect,
    dtype_note,
    serialize_dtype,
    serialize_object,
)
from numba_lstm.semantics.dialects import DIALECTS, Dialect
from numba_lstm.semantics.names import TABLES

SYSTEMS: dict[str, Dialect] = {"tf115": "tf1", "tf215": "keras2", "k3": "keras3"}


def text_of(config: dict[str, Any]) -> str:
    return json.dumps(config)


@pytest.mark.goldens
def test_the_dialect_is_told_from_the_format(goldens: Any) -> None:
    for system, dialect in SYSTEMS.items():
        for row in goldens.json(f"configs__{system}.json")["configs"]:
            assert detect_dialect(row["config"]) == dialect, row["id"]
            assert detect_dialect(row.get("serialized", row["config"])) == dialect, row["id"]


@pytest.mark.parametrize(
    ("value", "dialect", "kind", "message"),
    [
        ("nope", "tf1", "initializer", "initializer 'nope' is unknown in TensorFlow 1.15; expected one of: Constant, "),
        (
            "l1_l2",
            "keras3",
            "regularizer",
            "regularizer 'l1_l2' is unknown in Keras 3 (it belongs to the dialect 'tf1' and 'keras2')",
        ),
        (
            "maxnorm",
            "keras3",
            "constraint",
            "constraint 'maxnorm' is unknown in Keras 3 (it belongs to the dialect 'tf1' and",
        ),
        (
            "orthogonal_regularizer",
            "tf1",
            "regularizer",
            "regularizer 'orthogonal_regularizer' is unknown in TensorFlow",
        ),
        (
            "constant",
            "keras3",
            "initializer",
            "initializer 'constant' lacks its argument 'value', which Keras 3 requires",
        ),
        (3, "tf1", "initializer", "initializer is 3; expected a name, a configuration, a function or None"),
        (
            {"config": {}},
            "tf1",
            "initializer",
            "initializer is {'config': {}}; expected a configuration with class_name",
        ),
        (
            {"class_name": "Zeros", "config": 3},
            "tf1",
            "initializer",
            "config of initializer is 3; expected a mapping of",
        ),
        (
            {"class_name": "Zeros", "config": {"a": 1}},
            "tf1",
            "initializer",
            "initializer Zeros has the unknown argument 'a'",
        ),
        (
            {"class_name": "Zeros", "module": "os"},
            "tf1",
            "initializer",
            "initializer is of the module 'os'; expected one of",
        ),
        (
            {"class_name": "L1L2", "config": {"l1": "x"}},
            "tf1",
            "regularizer",
            "l1 of L1L2 is 'x'; expected a finite number",
        ),
        (
            {"class_name": "L1L2", "config": {"l1": True}},
            "tf1",
            "regularizer",
            "l1 of L1L2 is True; expected a finite number",
        ),
        (
            {
                "class_name": "Constant",
                "config": {"value": {"class_name": "__numpy__", "config": {"value": [1], "dtype": "O!"}}},
            },
            "keras2",
            "initializer",
            "dtype of an array in initializer is 'O!'; expected one of 'float32', 'float64'",
        ),
        (
            {"class_name": "Constant", "config": {"value": {"class_name": "__numpy__", "config": 1}}},
            "keras2",
            "initializer",
            "initializer holds {'class_name': '__numpy__', 'config': 1}; expected an array with its value and dtype",
        ),
        (
            regularizers.OrthogonalRegularizer(),
            "tf1",
            "regularizer",
            "regularizer 'OrthogonalRegularizer' is unknown in Tensor",
        ),
        (constraints.RadialConstraint(), "keras3", "constraint", "constraint 'RadialConstraint' is unknown in Keras 3"),
        (
            initializers.GlorotUniform(input_axes=[0], output_axes=[1]),
            "keras2",
            "initializer",
            "initializer has input_axes or output_axes, which TensorFlow 2.15 (Keras 2) lacks; use Keras 3's dialect",
        ),
    ],
)
def test_what_is_not_understood(
    value: Any, dialect: Dialect, kind: Any, message: str, one_line: Callable[[Any], str]
) -> None:
    with pytest.raises(ConfigError) as info:
        deserialize_object(value, dialect, kind)
    assert one_line(info).startswith(message)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_objects_classes_and_functions_are_taken(dialect: Dialect) -> None:
    def ramp(shape: tuple[int, ...], dtype: Any = None) -> Any:
        return np.arange(np.prod(shape)).reshape(shape)

    assert deserialize_object(initializers.Ones, dialect, "initializer") == initializers.Ones()
    assert deserialize_object(regularizers.L1L2(0.5), dialect, "regularizer") == regularizers.L1L2(0.5)
    assert deserialize_object(ramp, dialect, "initializer") is ramp
    assert deserialize_object(None, dialect, "initializer") is None and serialize_object(None, dialect) is None
    with pytest.raises(
        ConfigError, match=r"kernel_initializer is .*, which no configuration can hold; use one of Keras"
    ):
        LSTMCell(2, kernel_initializer=ramp, dialect=dialect).get_config()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_arguments_of_constant_are_written(dialect: Dialect) -> None:
    def written(value: Any) -> Any:
        entry = serialize_object(initializers.Constant(value), dialect)
        assert entry is not None
        again = deserialize_object(json.loads(json.dumps(entry)), dialect, "initializer")
        assert serialize_object(again, dialect) == entry
        return entry["config"]["value"]

    assert written(0.5) == 0.5 and written(np.float32(0.1)) == 0.10000000149011612
    assert written([1.0, 2.0]) == written((1.0, 2.0)) == [1.0, 2.0]
    array = {"class_name": "__numpy__", "config": {"value": [1.0, 2.0], "dtype": "float32"}}
    assert written(np.array([1, 2], np.float32)) == ([1.0, 2.0] if dialect == "tf1" else array)


def test_seed_generators_of_keras_3() -> None:
    seed = {
        "module": "keras.random",
        "class_name": "SeedGenerator",
        "config": {"seed": 3, "name": "s"},
        "registered_name": None,
    }
    config = {"class_name": "Orthogonal", "config": {"gain": 1.0, "seed": seed}}
    drawn = deserialize_object(config, "keras3", "initializer")
    assert (serialize_object(drawn, "keras3") or {})["config"]["seed"] == seed
    assert np.array_equal(drawn((4, 16)), initializers.Orthogonal(seed=3)((4, 16)))
    assert (serialize_object(drawn, "keras2") or {})["config"]["seed"] == 3
    with pytest.raises(ConfigError, match=r"expected None, an integer or a SeedGenerator's configuration"):
        initializers.Orthogonal(seed={"class_name": "Other"})


def test_keras_3_writes_the_gain_of_identity_only_where_it_matters() -> None:
    assert (serialize_object(initializers.Identity(), "keras3") or {})["config"] == {}
    assert (serialize_object(initializers.Identity(2.0), "keras3") or {})["config"] == {"gain": 2.0}


def test_activations_that_are_refused(one_line: Callable[[Any], str]) -> None:
    with pytest.raises(ConfigError) as info:
        LSTMCell(2, activation="gelu")
    assert one_line(info).startswith(
        "activation 'gelu' is unknown in TensorFlow 1.15 (it belongs to the dialect 'keras2' and 'keras3'); "
    )
    with pytest.raises(
        ConfigError, match=r"^activation is an object of the class 'LeakyReLU'; expected the name of a function$"
    ):
        LSTMCell(2, activation={"module": "keras.layers", "class_name": "LeakyReLU", "config": {}}, dialect="keras3")
    with pytest.raises(ConfigError, match=r"^recurrent_activation is 3; expected a name, an @njit function or None$"):
        LSTMCell(2, recurrent_activation=3)
    with pytest.raises(
        ConfigError, match=r"^activation is .*, which no configuration can hold; use one of Keras's own$"
    ):
        LSTMCell(2, activation=lambda x: x).get_config()


def test_dtypes() -> None:
    policy = serialize_dtype("float64", "keras3")
    assert deserialize_dtype(policy) == "float64" and serialize_dtype("float64", "tf1") == "float64"
    assert deserialize_dtype(None) == "float32"
    mixed = {"module": "keras.mixed_precision", "class_name": "Policy", "config": {"name": "mixed_float16"}}
    assert deserialize_dtype(mixed) == "float32"
    assert dtype_note(mixed) == "dtype mixed_float16 is computed in float32" and dtype_note(policy) is None
    for wrong in ("int8", 7, {"class_name": "QuantizedDTypePolicy", "config": {}}, {"class_name": "Policy"}):
        with pytest.raises(ConfigError, match=r"^dtype is .*; expected "):
            deserialize_dtype(wrong)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    class_name=st.sampled_from(
        sorted({name for tables in TABLES.values() for table in tables.values() for name in table})
    ),
    config=st.dictionaries(
        st.sampled_from(
            ["seed", "gain", "value", "l1", "l2", "l", "axis", "scale", "mode", "dtype", "rate", "max_value"]
        ),
        json_values,
        max_size=3,
    ),
    kind=st.sampled_from(["initializer", "regularizer", "constraint"]),
    dialect=st.sampled_from(DIALECTS),
)
def test_any_object_is_made_or_refused(class_name: str, config: Any, kind: Any, dialect: Dialect) -> None:
    try:
        value = deserialize_object({"class_name": class_name, "config": config}, dialect, kind)
    except ConfigError as error:
        assert "\n" not in str(error)
    else:
        assert serialize_object(value, dialect) is not None
