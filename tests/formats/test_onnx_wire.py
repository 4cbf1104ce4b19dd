"""The wire format of ONNX files: numbers in every field that a tensor has for them, and in none that it has not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.onnx_bytes import FITTING
from support.onnx_files import entry, lstm_model, model, node, onnx_lstm, refused, tensor, value, varint, weights

import numba_lstm as nl

Array = NDArray[Any]


TOLERANCE = 2e-6


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats(rng: np.random.Generator, tmp_path: Path, dtype: str) -> None:
    arrays = {key: array.astype(dtype) for key, array in weights(rng).items()}
    loaded = nl.load(lstm_model(tmp_path / "m.onnx", arrays))
    x = rng.standard_normal((6, 5, 3))
    assert loaded.dtype == ("float64" if dtype == "float64" else "float32")
    assert np.abs(loaded(x) - onnx_lstm(x, arrays)[0][:, 0]).max() < (1e-14 if dtype == "float64" else 1e-3)
    assert ("weights stored as float16 were converted to float32" in loaded.source.notes) == (dtype == "float16")


def test_numbers_in_typed_fields(rng: np.random.Generator, tmp_path: Path) -> None:
    """float_data instead of raw_data, and shapes as lists of integers."""
    arrays = weights(rng)
    stored = [tensor(key, array, raw=None, more=entry(4, array.tobytes())) for key, array in arrays.items()]
    shape = tensor("shape", np.zeros(0, np.int64), dims=[3], raw=None, more=entry(7, bytes([0, 0, 4])))
    nodes = [node("LSTM", ["X", "W", "R", "B"], ["Y"], hidden_size=4), node("Squeeze", ["Y"], ["s"], axes=[1])]
    nodes.append(node("Reshape", ["s", "shape"], ["out"]))
    path = tmp_path / "m.onnx"
    path.write_bytes(model(nodes, [*stored, shape], [value("X", ["time", "batch", 3])], ["out"], opset=12))
    x = rng.standard_normal((6, 5, 3)).astype(np.float32)
    assert np.abs(nl.load(path)(x) - onnx_lstm(x, arrays)[0][:, 0]).max() < TOLERANCE


def numbers(shape: tuple[int, ...], code: int, field: int, content: bytes) -> bytes:
    dims = b"".join(entry(1, n) for n in shape)
    return dims + entry(2, code) + entry(8, "W") + entry(field, content)


@pytest.mark.parametrize(
    ("code", "field", "words"),
    [
        (1, 5, ["tensor 'W' of float32 has its numbers in [5] of the fields of a tensor; expected one of them, for"]),
        (1, 7, ["of float32 has its numbers in [7]"]),
        (11, 5, ["of float64 has its numbers in [5]"]),
        (10, 7, ["of float16 has its numbers in [7]"]),
        (7, 5, ["of int64 has its numbers in [5]"]),
        (6, 7, ["of int32 has its numbers in [7]"]),
        (7, 11, ["of int64 has its numbers in [11]"]),
        (2, 5, ["'W' has numbers that no uint8 holds"]),
        (6, 5, ["weights W of type int32; expected floats"]),
    ],
)
def test_tensors_in_fields_of_another_type(
    rng: np.random.Generator, tmp_path: Path, code: int, field: int, words: list[str]
) -> None:
    arrays = weights(rng)
    stored = [numbers((1, 16, 3), code, field, varint(300) * 48), *(tensor(key, arrays[key]) for key in "RB")]
    lstm = node("LSTM", ["X", "W", "R", "B"], ["Y"], hidden_size=4)
    (tmp_path / "m.onnx").write_bytes(model([lstm], stored, [value("X", ["time", "batch", 3])], ["Y"]))
    refused(tmp_path / "m.onnx", *words)


def test_listed_float16_are_bits(rng: np.random.Generator, tmp_path: Path) -> None:
    arrays = {key: array.astype(np.float16) for key, array in weights(rng).items()}
    stored = [
        *(entry(1, n) for n in arrays["W"].shape),
        entry(2, 10) + entry(8, "W"),
        entry(5, b"".join(varint(int(bits)) for bits in arrays["W"].view(np.uint16).ravel())),
    ]
    lstm = node("LSTM", ["X", "W", "R", "B"], ["Y"], hidden_size=4)
    content = [b"".join(stored), *(tensor(key, arrays[key]) for key in "RB")]
    (tmp_path / "m.onnx").write_bytes(model([lstm], content, [value("X", ["time", "batch", 3])], ["Y"]))
    x = rng.standard_normal((6, 5, 3)).astype(np.float32)
    assert np.abs(nl.load(tmp_path / "m.onnx")(x) - onnx_lstm(x, arrays)[0][:, 0]).max() < TOLERANCE


@pytest.mark.parametrize("name", FITTING)
def test_what_is_just_not_too_much(tmp_path: Path, name: str) -> None:
    (tmp_path / "m.onnx").write_bytes(FITTING[name])
    assert nl.load(tmp_path / "m.onnx").count_params() == 128
