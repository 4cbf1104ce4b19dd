"""config.py: dtypes and policies beside the real Keras, and each sign by which a dialect is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.keras_objects import KERAS, OBJECTS

from numba_lstm.errors import ConfigError
from numba_lstm.semantics.config import (
    deserialize_dtype,
    detect_dialect,
    dtype_note,
    from_older_keras,
    is_index_dtype,
    serialize_dtype,
)
from numba_lstm.semantics.dialects import Dialect


def text(value: Any) -> str:
    """JSON, in which the order of keys and the kind of each number are seen."""
    return json.dumps(value)


@pytest.mark.parametrize("dialect", ["keras2", "keras3"])
def test_dtypes_and_policies(dialect: Dialect) -> None:
    for name, written in KERAS[dialect]["dtypes"]:
        plain = name in ("float32", "float64")
        for value in (written, name):
            assert deserialize_dtype(value) == (name if plain else "float32")
            assert dtype_note(value, "it") == (None if plain else f"it {name} is computed in float32")
        if plain:
            assert text(serialize_dtype(name, dialect)) == text(written)
            assert serialize_dtype(name, "tf1") == name


@pytest.mark.parametrize("policy", ["DTypePolicy", "FloatDTypePolicy", "Policy", "PolicyV1"])
def test_policies_of_all_ages(policy: str) -> None:
    assert deserialize_dtype({"class_name": policy, "config": {"name": "float64"}}) == "float64"
    for name in ("half", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16"):
        assert deserialize_dtype({"class_name": policy, "config": {"name": name}}) == "float32"
        assert dtype_note(name) == f"dtype {name} is computed in float32"
    for wrong in ({"class_name": policy, "config": "float32"}, {"class_name": policy}, {"class_name": policy + "2"}):
        with pytest.raises(ConfigError, match="expected the name of a dtype or a policy of one"):
            deserialize_dtype(wrong)


def test_dtypes_of_whole_numbers() -> None:
    assert all(map(is_index_dtype, ("int", "int32", "int64", "uint8", "uint")))
    assert not any(map(is_index_dtype, ("float32", "interval", "xint8", None, 32, "int32x")))


def test_implementation_0_is_1() -> None:
    for value, read in ((0, 1), (1, 1), (2, 2), (3, 3)):
        assert from_older_keras({"implementation": value, "units": 4}) == {"implementation": read, "units": 4}
    assert from_older_keras({"units": 4}) == {"units": 4}


# -- by which signs a dialect is told: each alone --

PLAIN = {"class_name": "Zeros", "config": {}}


@pytest.mark.parametrize(
    ("config", "dialect"),
    [
        (None, None),
        ([], None),
        ({"units": 4}, None),
        ({"class_name": "DTypePolicy"}, "keras3"),
        ({"class_name": "__keras_tensor__"}, "keras3"),
        ({"input_axes": None}, "keras3"),
        ({"batch_shape": [None, 3]}, "keras3"),
        ({"batch_input_shape": [None, 3]}, None),
        ({"recurrent_activation": "sigmoid", "seed": None}, "keras3"),
        ({"recurrent_activation": "sigmoid", "seed": None, "implementation": 2}, None),
        ({"recurrent_activation": "sigmoid"}, None),
        ({"activation": "sigmoid", "seed": None}, None),
        ({**PLAIN, "module": "keras.initializers", "registered_name": None}, "keras2"),
        ({**PLAIN, "module": "keras", "registered_name": "Zeros"}, "keras2"),
        ({**PLAIN, "module": "builtins", "registered_name": None}, None),
        ({**PLAIN, "module": None, "registered_name": None}, None),
        ({**PLAIN, "registered_name": None}, None),
        ({**PLAIN, "module": "keras.initializers"}, None),
        ({"class_name": 3, "config": {}, "module": "keras", "registered_name": None}, None),
        ({"class_name": "Zeros", "config": None, "module": "keras", "registered_name": None}, None),
        (PLAIN, None),
        ({"class_name": "Zeros", "config": {"dtype": "float32"}}, "tf1"),
        ({"class_name": "GlorotUniform", "config": {"dtype": "float32"}}, "tf1"),
        ({"class_name": "Zeros", "config": {"dtype": "float32"}, "module": "m"}, None),
        ({"class_name": "Dense", "config": {"dtype": "float32", "units": 3}}, None),
        ({"class_name": "Flatten", "config": {"dtype": "float32", "name": "f"}}, None),
        *[
            ({"class_name": f"{who}{how}", "config": {"seed": None}}, "keras2")
            for who in ("Glorot", "He", "Lecun")
            for how in ("Uniform", "Normal")
        ],
        ({"class_name": "VarianceScaling", "config": {"seed": None}}, None),
        ([{"class_name": "Zeros", "config": {"dtype": 0}}, {"class_name": "HeNormal", "config": {}}], "keras2"),
        (({"class_name": "HeNormal", "config": {}}, {"a": [{"input_axes": 0}]}), "keras3"),
    ],
)
def test_every_sign_of_a_dialect_alone(config: Any, dialect: Dialect | None) -> None:
    assert detect_dialect(config) == dialect
    assert detect_dialect({"layers": [{"config": config}]}) == dialect


def test_written_objects_tell_their_dialect() -> None:
    for dialect, objects in OBJECTS.items():
        for (kind, *_), written in objects.items():
            if written is None:
                continue
            found = detect_dialect(written)
            if dialect == "tf1":
                assert found == ("tf1" if kind == "initializer" else None)
            else:
                assert found == ("keras3" if "input_axes" in written["config"] else "keras2")
