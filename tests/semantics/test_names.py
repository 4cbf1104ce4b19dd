"""The names of Keras's objects: every class is there, and each name means what it means in Keras."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from support.keras_objects import KERAS, OBJECTS

from numba_lstm.errors import ConfigError
from numba_lstm.semantics import constraints, initializers, regularizers
from numba_lstm.semantics.dialects import Dialect
from numba_lstm.semantics.names import BASES, TABLES
from numba_lstm.semantics.serialization import (
    deserialize_object,
    serialize_object,
)

KEYS = list(OBJECTS["tf1"])


MODULES: Mapping[str, Any] = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}


# Keras 3 loses the gain of an Identity when it writes one, which it reads; it is written here.
NO_NAMES = (*MODULES, "stft", "stftinitializer")  # base classes, and what is of no use here


DEFAULT = 0.009999999776482582  # 0.01 as a float32


def text(value: Any) -> str:
    """JSON, in which the order of keys and the kind of each number are seen."""
    return json.dumps(value)


def test_all_classes_are_there() -> None:
    classes = {
        (kind, name)
        for kind, module in MODULES.items()
        for name, cls in vars(module).items()
        if isinstance(cls, type) and issubclass(cls, BASES[kind]) and name[0] != "_"  # type: ignore[index]
    }
    assert classes - {(kind, base.__name__) for kind, base in BASES.items()} == {key[:2] for key in KEYS}
    assert KEYS == list(OBJECTS["keras2"]) == list(OBJECTS["keras3"])


@pytest.mark.parametrize("dialect", ["keras2", "keras3"])
def test_names_mean_what_they_mean_in_keras(dialect: Dialect) -> None:
    rows = [row for row in KERAS[dialect]["names"] if row[1].lower() not in NO_NAMES]
    for kind, name, written in rows:
        if written is None:
            with pytest.raises(ConfigError, match="lacks its argument 'value', which Keras 3 requires"):
                deserialize_object(name, dialect, kind)
        else:
            assert text(serialize_object(deserialize_object(name, dialect, kind), dialect)) == text(written)
    for kind, tables in TABLES.items():
        assert set(tables[dialect]) == {row[1] for row in rows if row[0] == kind}


def test_names_of_tensorflow_1() -> None:
    later = {"L1", "L2", "OrthogonalRegularizer", "orthogonal_regularizer", "variance_scaling"}
    later |= {f"{who}{how}" for who in ("He", "Lecun") for how in ("Uniform", "Normal")}
    pairs = {"L1L2": (0.0, 0.0), "l1": (DEFAULT, 0.0), "l2": (0.0, DEFAULT), "l1_l2": (DEFAULT, DEFAULT)}
    penalties = {name: dict(zip(("l1", "l2"), pair, strict=True)) for name, pair in pairs.items()}
    names = [row for row in KERAS["keras2"]["names"] if row[1] not in later and not row[1].endswith("V2")]
    names = [row for row in names if row[1].lower() not in NO_NAMES]
    for kind, name, written in names:
        found = serialize_object(deserialize_object(name, "tf1", kind), "tf1")
        key = (kind, written["class_name"], "{}")
        if kind == "regularizer":
            assert text(found) == text({"class_name": "L1L2", "config": penalties[name]})
        elif key[1] == "Constant":
            assert text(found) == text({"class_name": "Constant", "config": {"value": 0, "dtype": "float32"}})
        else:
            assert text(found) == text(OBJECTS["tf1"][key])
    for kind, tables in TABLES.items():
        assert set(tables["tf1"]) == {row[1] for row in names if row[0] == kind}
