"""ONNX attributes: what they say is done, or refused; a type that disagrees with what is there is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.onnx_files import entry, lstm_model, model, node, onnx_lstm, refused, tensor, value, varint, weights
from support.paths import DATA

import numba_lstm as nl
from numba_lstm.formats.onnx_attributes import ATTRIBUTES

Array = NDArray[Any]
TOLERANCE = 2e-6
VARIANTS = np.load(DATA / "onnx_variants.npz", allow_pickle=False)


@pytest.mark.parametrize("name", sorted({key.partition("/")[0] for key in VARIANTS.files}))
def test_beside_onnxruntime(name: str, tmp_path: Path) -> None:
    path, word = tmp_path / "m.onnx", str(VARIANTS[f"{name}/word"])
    path.write_bytes(VARIANTS[f"{name}/file"].tobytes())
    if word != "right":
        refused(path, word)
        return
    assert np.abs(nl.load(path)(VARIANTS[f"{name}/x"]) - VARIANTS[f"{name}/y"]).max() < TOLERANCE


# -- whose HardSigmoid it is --


# -- types of attributes --


def attribute(name: str, declared: int | None, *fields: bytes) -> bytes:
    kind = b"" if declared is None else entry(20, declared)
    return entry(5, entry(1, name) + b"".join(fields) + kind)


def constant(*attributes: bytes) -> bytes:
    return entry(2, "k") + entry(4, "Constant") + b"".join(attributes)


FLOAT, INT, TEXT, TENSOR = entry(2, 2.0), entry(3, 2), entry(4, "2"), entry(5, tensor("", np.array([2])))
FLOATS, INTS, TEXTS = entry(7, 2.0), entry(8, 2), entry(9, "2")


def with_constant(path: Path, rng: np.random.Generator, made: bytes, opset: int = 20) -> Path:
    """An LSTM whose output's axis "k" - one that there is - is taken out, k being what `made` makes."""
    arrays = weights(rng)
    lstm = node("LSTM", ["X", *arrays], ["Y"], hidden_size=4)
    nodes = [made, lstm, node("Transpose", ["Y"], ["t"], perm=[0, 2, 1, 3]), node("Squeeze", ["t", "k"], ["out"])]
    stored = [tensor(key, array) for key, array in arrays.items()]
    path.write_bytes(model(nodes, stored, [value("X", ["time", "batch", 3])], ["out"], opset))
    return path


@pytest.mark.parametrize(
    "made",
    [
        attribute("value", 4, TENSOR),
        attribute("value_ints", 7, INTS),
        attribute("value_ints", 7, entry(8, varint(2))),  # packed
        attribute("value_int", 2, INT),
        attribute("value_ints", None, INTS),  # the oldest files declare no types
    ],
)
def test_constants(rng: np.random.Generator, tmp_path: Path, made: bytes) -> None:
    assert len(nl.load(with_constant(tmp_path / "m.onnx", rng, constant(made))).layers) == 1


def test_what_proto3_leaves_out_is_0(rng: np.random.Generator, tmp_path: Path) -> None:
    """An axis of 0, and lists without entries, have no field in files of proto3."""
    arrays = weights(rng)
    squeeze = entry(1, "Y_h") + entry(1, "zero") + entry(2, "s") + entry(4, "Squeeze")
    concat = entry(1, "s") + entry(2, "out") + entry(4, "Concat") + attribute("axis", 2)
    lstm = node("LSTM", ["X", *arrays], ["Y", "Y_h"]) + attribute("activations", 8) + attribute("layout", 2)
    stored = [tensor(key, array) for key, array in [*arrays.items(), ("zero", np.array([0]))]]
    path, x = tmp_path / "m.onnx", rng.standard_normal((6, 5, 3)).astype(np.float32)
    path.write_bytes(model([lstm, squeeze, concat], stored, [value("X", ["time", "batch", 3])], ["out"]))
    assert np.abs(nl.load(path)(x) - onnx_lstm(x, arrays)[1][0]).max() < TOLERANCE


@pytest.mark.parametrize(
    ("made", "words"),
    [
        # Declared as one thing, and another is there.
        (attribute("value_float", 1, INTS), ["'value_float' is declared as FLOAT and holds INTS; expected one value"]),
        (attribute("value_float", 1, INT), ["declared as FLOAT and holds INT;"]),
        (attribute("value_float", 6, FLOAT), ["declared as FLOATS and holds FLOAT;"]),
        (attribute("value_floats", 6, INTS), ["declared as FLOATS and holds INTS;"]),
        (attribute("value_int", 2, FLOAT), ["declared as INT and holds FLOAT;"]),
        (attribute("value_int", 2, INTS), ["declared as INT and holds INTS;"]),
        (attribute("value_ints", 7, INT), ["declared as INTS and holds INT;"]),
        (attribute("value_ints", 7, FLOATS), ["declared as INTS and holds FLOATS;"]),
        (attribute("value_ints", 7, TENSOR), ["declared as INTS and holds TENSOR;"]),
        (attribute("value", 4, INTS), ["declared as TENSOR and holds INTS;"]),
        (attribute("value_string", 3, TEXTS), ["declared as STRING and holds STRINGS;"]),
        (attribute("value_strings", 8, TEXT), ["declared as STRINGS and holds STRING;"]),
        # More than one, or none.
        (attribute("value_ints", 7, INTS, FLOAT), ["declared as INTS and holds INTS, FLOAT;"]),
        (attribute("value_ints", 7, INT, INTS), ["declared as INTS and holds INT, INTS;"]),
        (attribute("value_int", 2, INT, INT), ["declared as INT and holds INT, INT;"]),
        (attribute("value", 4, TENSOR, TENSOR), ["declared as TENSOR and holds TENSOR, TENSOR;"]),
        (attribute("value", 4), ["declared as TENSOR and holds nothing;"]),
        (attribute("value_int", None), ["declared as 0 and holds nothing;"]),
        (attribute("value_ints", None, INTS, INT), ["declared as INTS and holds INTS, INT;"]),
        (attribute("value_ints", 99, INTS), ["declared as 99 and holds INTS;"]),
        # In agreement with itself, but not with the name.
        (attribute("value_float", 7, INTS), ["'value_float' is of the type INTS; expected FLOAT; export it again"]),
        (attribute("value_ints", 6, FLOATS), ["'value_ints' is of the type FLOATS; expected INTS"]),
        (attribute("value_int", 7, INTS), ["'value_int' is of the type INTS; expected INT"]),
        (attribute("value_ints", 2, INT), ["'value_ints' is of the type INT; expected INTS"]),
        (attribute("value", 7, INTS), ["'value' is of the type INTS; expected TENSOR"]),
        (attribute("value_ints", 4, TENSOR), ["'value_ints' is of the type TENSOR; expected INTS"]),
        (attribute("value_ints", None, FLOATS), ["'value_ints' is of the type FLOATS; expected INTS"]),
        (attribute("axes", 7, INTS), ["has the attribute 'axes', which the operation Constant does not have"]),
        # Two, or none.
        (attribute("value_ints", 7, INTS) * 2, ["has the attribute 'value_ints' twice"]),
        (attribute("value_ints", 7, INTS) + attribute("value_int", 2, INT), ["a Constant with the attributes"]),
        (b"", ["is a Constant with the attributes []; expected one"]),
        (attribute("value_ints", 7, INTS, entry(21, "other")), ["'value_ints' is that of a function"]),
        # Written as another kind of number.
        (attribute("value_int", 2, entry(3, b"\x02")), ["a field 3 that is written as another kind of value"]),
        (attribute("value_float", 1, entry(2, 2)), ["a field 2 that is written as another kind of value"]),
        (attribute("value_ints", 7, entry(8, 2.0)), ["a field 8 that is written as another kind of value"]),
        # Of the right type, and of no use here.
        (attribute("value_strings", 8, TEXTS), ["is the operation 'Constant', which is not supported"]),
        (attribute("value_ints", None, INTS, entry(20, 7.0)), ["a field 20 that is written as another kind"]),
    ],
)
def test_constants_that_disagree(rng: np.random.Generator, tmp_path: Path, made: bytes, words: list[str]) -> None:
    refused(with_constant(tmp_path / "m.onnx", rng, constant(made)), *words)


@pytest.mark.parametrize(
    ("op", "options", "words"),
    [
        ("LSTM", {"hidden_size": 4.0}, ["'hidden_size' is of the type FLOAT; expected INT"]),
        ("LSTM", {"clip": 3}, ["'clip' is of the type INT; expected FLOAT"]),
        ("LSTM", {"activations": "Tanh"}, ["'activations' is of the type STRING; expected STRINGS"]),
        ("LSTM", {"activation_alpha": [1]}, ["'activation_alpha' is of the type INTS; expected FLOATS"]),
        ("LSTM", {"direction": ["reverse"]}, ["'direction' is of the type STRINGS; expected STRING"]),
        ("LSTM", {"layout": 1.0}, ["'layout' is of the type FLOAT; expected INT"]),
        ("LSTM", {"linear_before_reset": 1}, ["'linear_before_reset', which the operation LSTM does not have"]),
        ("HardSigmoid", {"alpha": 1}, ["'alpha' is of the type INT; expected FLOAT"]),
        ("Tanh", {"alpha": 1.0}, ["'alpha', which the operation Tanh does not have; expected some of: consumed"]),
        ("Softplus", {"beta": 1.0}, ["'beta', which the operation Softplus does not have; expected none"]),
        ("Gemm", {"transB": 1.0}, ["'transB' is of the type FLOAT; expected INT"]),
        ("Transpose", {"perm": 1}, ["'perm' is of the type INT; expected INTS"]),
    ],
)
def test_attributes_of_other_operations(
    rng: np.random.Generator, tmp_path: Path, op: str, options: dict[str, Any], words: list[str]
) -> None:
    if op == "LSTM":
        refused(lstm_model(tmp_path / "m.onnx", weights(rng), **options), *words)
    else:
        last = node(op, ["Y"], ["z"], **options)
        refused(lstm_model(tmp_path / "m.onnx", weights(rng), nodes=[last], outputs=["z"]), *words)


def test_operations_of_others_may_have_any_attributes(rng: np.random.Generator, tmp_path: Path) -> None:
    unused = [node("Tanh", ["Y"], ["a"], domain="my.own", alpha=[1, 2]), node("Foo", ["Y"], ["b"], bar="x")]
    assert nl.load(lstm_model(tmp_path / "m.onnx", weights(rng), nodes=unused)).count_params() == 128


def test_operations_that_are_known_have_their_attributes_named() -> None:
    from numba_lstm.formats.onnx_ops import MOVES, SHAPES
    from numba_lstm.formats.onnx_trace import _ACTIVATIONS

    others = {"Constant", "Dropout", "Gemm", "LSTM", "MatMul"}
    assert ATTRIBUTES.keys() == {*MOVES, *SHAPES, *_ACTIVATIONS, *others}


# -- numbers of tensors --


# -- operations that move numbers, and what may not be taken for one --


def moved(path: Path, rng: np.random.Generator, nodes: list[bytes], arrays: dict[str, Array]) -> Array:
    """The outputs of an LSTM of 4 units for inputs of ones (6, 5, 3), with `nodes` behind its Y (6, 1, 5, 4)."""
    stored = [tensor(key, array) for key, array in arrays.items()]
    lstm_model(path, weights(rng), shape=[6, 5, 3], nodes=nodes, tensors=stored, outputs=["out"])
    return np.asarray(nl.load(path)(np.ones((6, 5, 3), np.float32)))


def test_halves_that_are_not_equal(rng: np.random.Generator, tmp_path: Path) -> None:
    """Split into as many parts as there are outputs: the last one is smaller, as in ONNX, not the last ones."""
    split = node("Split", ["Y"], ["a", "b", "c", "d"], axis=0, num_outputs=4)  # 2, 2, 2 and 0 of 6
    joined = [node("Concat", ["a", "b", "c"], ["all"], axis=0), node("Squeeze", ["all", "one"], ["out"])]
    found = moved(tmp_path / "m.onnx", rng, [split, *joined], {"one": np.array([1])})
    assert found.shape == (6, 5, 4)
