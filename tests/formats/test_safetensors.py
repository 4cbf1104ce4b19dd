"""formats/safetensors.py: the layout, the project's own files, and what is refused."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.keras_files import small_model
from support.models import rich_model
from support.torch_files import lstm_arrays, safetensors_bytes, write_tensors

import numba_lstm as nl
from numba_lstm.errors import ConfigError, DTypeError, FileFormatError, NumbaLSTMError
from numba_lstm.formats import open_stored
from numba_lstm.formats.safetensors import check_header, write_safetensors


@pytest.mark.parametrize("dialect", ["tf1", "keras2", "keras3"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_own_files_come_back_to_the_bit(tmp_path: Path, dialect: Any, dtype: str) -> None:
    model = rich_model(dialect, dtype)
    nl.save(model, tmp_path / "m.safetensors")
    again = nl.load(tmp_path / "m.safetensors")
    assert again.get_config() == model.get_config()
    assert (again.dialect, again.dtype) == (dialect, dtype)
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    x = np.array([[1, 2, 3], [4, 5, 6]])
    assert model.predict(x).tobytes() == again.predict(x).tobytes()
    assert again.source.format == "numba_lstm safetensors"
    assert again.source.weights[0].where == "0.embeddings"
    nl.save(again, tmp_path / "n.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == (tmp_path / "n.safetensors").read_bytes()


def test_the_layout_is_that_of_the_format(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "a", {"x": np.ones((2, 3), "f"), "y": np.arange(4.0), "z": np.zeros((0, 2))}, {})
    content = (tmp_path / "a").read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    assert (8 + length) % 64 == 0 and content[8:9] == b"{"
    assert header["y"] == {"dtype": "F64", "shape": [4], "data_offsets": [0, 32]}
    assert header["x"] == {"dtype": "F32", "shape": [2, 3], "data_offsets": [32, 56]}
    assert header["z"] == {"dtype": "F64", "shape": [0, 2], "data_offsets": [32, 32]}
    assert content[8 + length :] == np.arange(4.0).tobytes() + np.ones(6, "f").tobytes()
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("dtype", "kind"), [("F16", "float16"), ("BF16", "bfloat16"), ("F64", "float64"), ("I8", "int8")]
)
def test_other_element_types(tmp_path: Path, dtype: str, kind: str) -> None:
    arrays = lstm_arrays()
    header, data, values = {}, b"", {}
    for name, array in arrays.items():
        rounded = (array * 8).round()
        values[name] = rounded
        stored = (rounded.view("<u4") >> 16).astype("<u2") if dtype == "BF16" else rounded.astype(kind)
        end = len(data) + stored.nbytes
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [len(data), end]}
        data += stored.tobytes()
    (tmp_path / "m.safetensors").write_bytes(safetensors_bytes(header, data))
    model = nl.load(tmp_path / "m.safetensors")
    assert model.dtype == ("float64" if kind == "float64" else "float32")
    note = f"weights stored as {kind} were converted to float32"
    assert (note in model.source.notes) == (kind != "float64")
    kernel, _, bias = model.get_weights()
    assert np.array_equal(kernel, values["weight_ih_l0"].T)
    assert np.array_equal(bias, values["bias_ih_l0"] + values["bias_hh_l0"])
    assert {weight.dtype for weight in model.source.weights} == {kind}


def test_large_matrices_are_transposed_in_parts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "weight_ih_l0": rng.standard_normal((4 * 150, 700)).astype("f"),
        "weight_hh_l0": rng.standard_normal((4 * 150, 150)).astype("f"),
    }
    model = nl.load(write_tensors(tmp_path / "m.safetensors", arrays))
    kernel, recurrent_kernel = model.get_weights()
    assert np.array_equal(kernel, arrays["weight_ih_l0"].T)
    assert np.array_equal(recurrent_kernel, arrays["weight_hh_l0"].T)


def entry(**changed: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24], **changed}


@pytest.mark.parametrize(
    ("header", "stored", "message"),
    [
        ({"a": entry()}, 20, "has 20 bytes of numbers; expected 24; it was cut short"),
        ({"a": entry()}, 28, "has 28 bytes of numbers; expected 24"),
        ({"a": entry(), "b": entry()}, 24, "'b' begins at 0; expected 24, where the one before it ends"),
        ({"a": entry(), "b": entry(data_offsets=[28, 52])}, 52, "'b' begins at 28; expected 24"),
        ({"a": entry(data_offsets=[24, 0])}, 24, "'a' has -24 bytes; expected 24"),
        ({"a": entry(shape=[2, -3])}, 24, r"'a' has shape \[2, -3\]"),
        ({"a": entry(shape=[2, 3.0])}, 24, r"has shape \[2, 3.0\]"),
        ({"a": entry(shape=[True, 6])}, 24, r"has shape \[True, 6\]"),
        ({"a": entry(shape=[0, 10**17, 10**17], data_offsets=[0, 0])}, 0, "larger than any array can be"),
        ({"a": entry(shape=[1] * 33)}, 4, "has shape"),
        ({"a": entry(data_offsets=[0, 24, 24])}, 24, "data_offsets"),
        ({"a": {"dtype": "F32"}}, 0, "'a' is {'dtype': 'F32'}; expected dtype, shape and data_offsets"),
        ({"a": entry(more=1)}, 24, "expected dtype, shape and data_offsets"),
        ({"a": 3}, 0, "'a' is 3"),
        ({"__metadata__": {"a": 1}}, 0, "__metadata__ is {'a': 1}; expected an object of texts"),
        ({"__metadata__": []}, 0, "__metadata__ is"),
        ([1], 0, r"header is \[1\]; expected an object"),
    ],
)
def test_headers_that_lie(header: Any, stored: int, message: str) -> None:
    with pytest.raises(FileFormatError, match=rf"^m(: |)[\s\S]*{message}"):
        check_header(json.dumps(header).encode(), stored, "m")


def test_element_types_that_are_not_read() -> None:
    with pytest.raises(DTypeError, match=r"'a' has dtype 'F8_E4M3'; expected one of: F64, .*; convert it with .float"):
        check_header(json.dumps({"a": entry(dtype="F8_E4M3", data_offsets=[0, 6])}).encode(), 6, "m")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has 0 bytes; expected a safetensors file"),
        (b"\x01\x02", "has 2 bytes"),
        (b"\xff" * 8, "claims a header of 18446744073709551615 bytes in a file of 8"),
        (struct.pack("<Q", 3 * 2**20) + b" " * (3 * 2**20), "has a header of 3145728 bytes; expected at most 2097152"),
        (safetensors_bytes(b"\xff{}", b""), "header is not text in UTF-8"),
        (safetensors_bytes(b"[" * 70 + b"]" * 70, b""), "header is nested beyond 64 levels"),
        (safetensors_bytes(b'{"a":1,"a":2}', b""), "header gives 'a' twice"),
        (safetensors_bytes(b"{}", b""), r"holds \[\]; expected weight_ih_l0"),
        (safetensors_bytes({"__metadata__": {"numba_lstm": "{}"}}, b""), "is not that of format 'numba_lstm 1'"),
        (safetensors_bytes({"__metadata__": {"numba_lstm": "{"}}, b""), "__metadata__: numba_lstm is not JSON"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(FileFormatError, match=message) as caught:
        nl.load(tmp_path / "m.safetensors")
    assert "\n" not in str(caught.value) and str(tmp_path / "m.safetensors") in str(caught.value)


def test_own_files_with_other_arrays(tmp_path: Path) -> None:
    nl.save(small_model(), tmp_path / "m.safetensors")
    content = (tmp_path / "m.safetensors").read_bytes()
    (tmp_path / "n.safetensors").write_bytes(content.replace(b'"0.bias"', b'"9.bias"'))
    with pytest.raises(FileFormatError, match=r"n.safetensors lacks \['0.bias'\]; expected \['0.kernel'"):
        nl.load(tmp_path / "n.safetensors")
    with open_stored(tmp_path / "n.safetensors") as stored:
        assert "9.bias" in {array.name for array in stored.arrays()}


def test_models_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no weights yet; expected a built model"):
        nl.save(nl.Sequential([nl.LSTM(3)]), tmp_path / "m.safetensors")
    assert os.listdir(tmp_path) == []


@given(st.binary(max_size=300), st.integers(0, 400), st.booleans())
def test_any_bytes_end_in_our_own_errors(tmp_path_factory: Any, content: bytes, length: int, framed: bool) -> None:
    path = tmp_path_factory.mktemp("any") / "m.safetensors"
    path.write_bytes(struct.pack("<Q", length) + content if framed else content)
    with pytest.raises(NumbaLSTMError):
        nl.load(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
tensor_entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "BF16", "F64", "BOOL", "F4"]) | json_values,
        "shape": st.lists(st.integers(-2, 20), max_size=3) | json_values,
        "data_offsets": st.lists(st.integers(-8, 600), min_size=2, max_size=2) | json_values,
    }
)
names = st.sampled_from([*lstm_arrays("a.", 2, True), "__metadata__", "fc.weight", "fc.bias", "0.kernel"])


@given(st.dictionaries(names, tensor_entries | json_values, max_size=6), st.binary(max_size=600))
def test_any_header_ends_in_our_own_errors(tmp_path_factory: Any, header: Any, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "m.safetensors"
    path.write_bytes(safetensors_bytes(header, data))
    with pytest.raises(NumbaLSTMError) as caught:
        nl.load(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1200
