"""serialization.py beside the real Keras: what it writes for every object, to the last key."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from support.keras_objects import KERAS, OBJECTS

from numba_lstm.errors import ConfigError
from numba_lstm.semantics import constraints, initializers, regularizers
from numba_lstm.semantics.dialects import ACTIVATIONS, DIALECTS, Dialect
from numba_lstm.semantics.foreign import Foreign
from numba_lstm.semantics.names import TABLES
from numba_lstm.semantics.serialization import (
    check_activation,
    deserialize_object,
    foreign_kind,
    keep_foreign,
    serialize_object,
)

KEYS = list(OBJECTS["tf1"])
MODULES: Mapping[str, Any] = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}
# Keras 3 loses the gain of an Identity when it writes one, which it reads; it is written here.
NO_NAMES = (*MODULES, "stft", "stftinitializer")  # base classes, and what is of no use here
LOST = ("initializer", "Identity", '{"gain": 2.0}')


def text(value: Any) -> str:
    """JSON, in which the order of keys and the kind of each number are seen."""
    return json.dumps(value)


def of_package(key: tuple[str, str, str]) -> Any:
    kind, cls, args = key
    return getattr(MODULES[kind], cls)(**json.loads(args))


def expected(key: tuple[str, str, str], dialect: Dialect) -> Any:
    written = OBJECTS[dialect][key]
    return {**written, "config": {"gain": 2.0}} if dialect == "keras3" and key == LOST else written


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("key", KEYS, ids=lambda key: f"{key[1]}{key[2]}")
def test_objects_are_written_and_read(key: tuple[str, str, str], dialect: Dialect) -> None:
    kind: Any = key[0]
    made, written = of_package(key), expected(key, dialect)
    if written is None:
        with pytest.raises(ConfigError, match=r"is unknown in|has input_axes or output_axes, which"):
            serialize_object(made, dialect)
        with pytest.raises(ConfigError, match=r"is unknown in|has input_axes or output_axes, which"):
            deserialize_object(made, dialect, kind)
        return
    assert text(serialize_object(made, dialect)) == text(written)
    again = deserialize_object(json.loads(text(written)), dialect, kind)
    assert type(again).__name__ == written["class_name"]
    assert text(serialize_object(again, dialect)) == text(written)
    if dialect == "keras2":  # which has every class: what was read is what was made, number by number
        for argument, value in {**json.loads(key[2]), **written["config"]}.items():
            assert getattr(again, argument) == (pytest.approx(value) if isinstance(value, float) else value)


@pytest.mark.parametrize("target", DIALECTS)
@pytest.mark.parametrize("source", DIALECTS)
def test_formats_are_read_in_every_dialect(source: Dialect, target: Dialect) -> None:
    for key in KEYS:
        kind: Any = key[0]
        written, other = expected(key, source), expected(key, target)
        if written is None or written["class_name"] != key[1] or '"normal"' in key[2]:
            continue  # rewritten, by TensorFlow 1 or, the distribution, by its successors
        if target != "keras3" and "input_axes" in written["config"]:
            with pytest.raises(ConfigError, match=r"has the unknown argument 'input_axes'|is unknown in"):
                deserialize_object(written, target, kind)
        elif other is None or key[1] not in TABLES[kind][target]:
            with pytest.raises(ConfigError, match=f"^{kind} '{key[1]}' is unknown in "):
                deserialize_object(written, target, kind)
        else:
            found = serialize_object(deserialize_object(written, target, kind), target)
            assert found is not None and list(found["config"]) == list(other["config"])
            # A coefficient that was rounded stays so.
            values = zip(found["config"].values(), other["config"].values(), strict=True)
            assert all(a == (pytest.approx(b, rel=1e-7) if isinstance(b, float) else b) for a, b in values)
            assert {**found, "config": 0} == {**other, "config": 0}


OLD_ARGUMENTS: list[tuple[Dialect, str, dict[str, float], regularizers.Regularizer]] = [
    ("tf1", "l1", {"l": 0.5}, regularizers.L1L2(l1=0.5)),
    ("tf1", "l2", {"l": 0.5}, regularizers.L1L2(l2=0.5)),
    ("keras2", "l1", {"l": 0.5}, regularizers.L1(0.5)),
    ("keras2", "L2", {"l": 0.5}, regularizers.L2(0.5)),
    ("keras2", "l2", {"l2": 0.5}, regularizers.L2(0.5)),
    ("tf1", "l1_l2", {"l1": 0.25, "l2": 0.5}, regularizers.L1L2(0.25, 0.5)),
]


@pytest.mark.parametrize(("dialect", "name", "config", "made"), OLD_ARGUMENTS)
def test_arguments_of_functions(dialect: Dialect, name: str, config: Any, made: Any) -> None:
    assert deserialize_object({"class_name": name, "config": config}, dialect, "regularizer") == made


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_dtype_of_an_initializer_is_tensorflow_1s(dialect: Dialect) -> None:
    """Its successors drop it on reading; it is no argument of a regularizer in any of them."""
    config = {"class_name": "Ones", "config": {"dtype": "float64"}}
    assert deserialize_object(config, dialect, "initializer").dtype == ("float64" if dialect == "tf1" else "float32")
    if dialect == "tf1":
        with pytest.raises(ConfigError, match="has the unknown argument 'dtype'"):
            deserialize_object({"class_name": "L1L2", "config": {"dtype": "float64"}}, dialect, "regularizer")


@pytest.mark.parametrize("dialect", ["tf1", "keras2"])
@pytest.mark.parametrize("axes", [{"input_axes": [1]}, {"output_axes": [0]}])
def test_axes_of_either_kind_are_keras_3s(dialect: Dialect, axes: Any) -> None:
    for make in (initializers.GlorotUniform, initializers.VarianceScaling, initializers.LecunNormal):
        with pytest.raises(ConfigError, match=r"has input_axes or output_axes, which .* lacks; use Keras 3's dialect"):
            serialize_object(make(**axes), dialect)
        with pytest.raises(ConfigError, match="has the unknown argument"):
            deserialize_object({"class_name": "GlorotUniform", "config": axes}, dialect, "initializer")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_activations(dialect: Dialect) -> None:
    rows = dict(KERAS["keras2" if dialect == "tf1" else dialect]["activations"])
    if dialect == "tf1":
        later = {"gelu", "leaky_relu", "log_softmax", "mish", "relu6", "silu", "swish"}
        rows = {name: written for name, written in rows.items() if name not in later}
    for name in {name for stored in KERAS.values() for name, _ in stored.get("activations", ())}:
        if name in rows and name not in ("glu", "threshold"):
            assert check_activation(name, "activation", dialect) == rows[name]
            entry = {"class_name": "function", "config": name, "module": "builtins", "registered_name": "function"}
            assert check_activation(entry, "activation", dialect) == rows[name]
        else:
            with pytest.raises(ConfigError, match=f"^gate '{name}' is unknown in "):
                check_activation(name, "gate", dialect)
    assert set(ACTIVATIONS[dialect]) - {"hard_sigmoid_keras3"} == set(rows) - {"glu", "threshold"}
    assert check_activation(None, "activation", dialect) == "linear"
    for wrong in ({"class_name": "tanh", "config": "tanh"}, {"class_name": "function", "config": {"name": "tanh"}}):
        with pytest.raises(ConfigError, match=r"is an object of the class '.*'; expected the name of a function$"):
            check_activation(wrong, "activation", dialect)
    with pytest.raises(ConfigError, match=r"is of the module 'os'; expected one of Keras's own"):
        check_activation({"class_name": "function", "config": "tanh", "module": "os"}, "activation", dialect)


# -- what is not Keras's own --


@pytest.mark.parametrize(
    ("module", "own"),
    [
        *[(name, True) for name in (None, "keras", "keras.initializers", "tf_keras.x", "builtins", "tensorflow.keras")],
        *[(name, False) for name in ("kerasx", "my.keras", "keras.", "os", 3, "keras.x y", "")],
    ],
)
def test_modules(module: Any, own: bool) -> None:
    entry = {"class_name": "Zeros", "config": {}, "module": module}
    if own:
        assert deserialize_object(entry, "keras3", "initializer") == initializers.Zeros()
    else:
        with pytest.raises(ConfigError, match=r"is of the module .*; expected one of Keras's own; nothing is imported"):
            deserialize_object(entry, "keras3", "initializer")


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        ("kernel_initializer", "mine", "initializer"),
        ("kernel_initializer", "he_normal", None),
        ("bias_regularizer", {"class_name": "L2", "module": "mine"}, "regularizer"),
        ("bias_regularizer", {"class_name": "L2", "module": "keras.regularizers"}, None),
        ("bias_regularizer", {"class_name": "L2", "registered_name": "L2"}, None),
        ("bias_regularizer", {"class_name": "L2", "registered_name": "mine>L2"}, "regularizer"),
        ("kernel_constraint", {"class_name": "Mine", "module": "keras"}, "constraint"),
        ("kernel_constraint", {"class_name": 3, "module": "mine"}, None),
        ("kernel_constraint", None, None),
        ("kernel_constraint", 3, None),
        ("activation", "mine", None),
    ],
)
def test_objects_of_somebodys_own(key: str, value: Any, kind: Any) -> None:
    assert foreign_kind(key, value) == kind
    kept = keep_foreign({key: value})[key]
    assert isinstance(kept, Foreign) == (kind is not None)
    assert (serialize_object(kept, "keras3") if kind else kept) == value


@pytest.mark.parametrize(
    ("value", "made"),
    [
        ({"class_name": "__numpy__", "config": {"value": [1, 2], "dtype": "int8"}}, np.array([1, 2], np.int8)),
        ({"class_name": "__tuple__", "config": {"value": [1, 2]}}, [1, 2]),
        ({"class_name": "__tuple__", "config": {}}, "expected an array with its value and dtype"),
        ({"class_name": "__numpy__", "config": {"dtype": "int8"}}, "expected an array with its value and dtype"),
        ({"class_name": "__numpy__", "config": {"value": [[1], [1, 2]], "dtype": "int8"}}, "expected an array of int8"),
        ({"class_name": "__numpy__", "config": {"value": [300], "dtype": "int8"}}, "expected an array of int8"),
        ({"class_name": "__other__", "config": {"value": [1], "dtype": "int8"}}, "expected a number or an array"),
    ],
)
def test_arrays_in_configurations(value: Any, made: Any, one_line: Callable[[Any], str]) -> None:
    config = {"class_name": "Constant", "config": {"value": value}}
    if isinstance(made, str):
        with pytest.raises(ConfigError) as info:
            deserialize_object(config, "keras2", "initializer")
        assert made in one_line(info)
    else:
        found = deserialize_object(config, "keras2", "initializer").value
        assert type(found) is type(made) and np.array_equal(found, made)
        assert getattr(found, "dtype", None) == getattr(made, "dtype", None)
