"""formats/keras_archive.py: zips of configuration, version and weights."""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.keras_files import small_model, write_keras

import numba_lstm as nl
from numba_lstm.errors import FileFormatError
from numba_lstm.formats import open_stored


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_with_its_weights(tmp_path: Path, method: int, dtype: str) -> None:
    model = small_model("keras3", dtype)
    path = write_keras(tmp_path / "m.keras", model, method=method)
    loaded = nl.load(path)
    assert loaded.dialect == "keras3" and loaded.dtype == dtype and loaded.get_config() == model.get_config()
    assert all(np.array_equal(one, other) for one, other in zip(loaded.get_weights(), model.get_weights(), strict=True))
    source = loaded.source
    assert (source.format, source.producer) == ("Keras archive", "Keras 3.15.1")
    assert source.dialect_from == "keras_version 3.15.1 in the file" and source.notes == []
    assert source.weights[0].where == "/layers/lstm/cell/vars/0"
    assert os.listdir(tmp_path) == ["m.keras"]


@pytest.mark.parametrize(("version", "dialect"), [("2.15.0", "keras2"), ("3.0.0", "keras3"), (None, "keras2")])
def test_the_dialect_comes_from_the_metadata(tmp_path: Path, version: str | None, dialect: str) -> None:
    path = write_keras(tmp_path / "m.keras", small_model("keras2"), version=version)
    model = nl.load(path)
    assert model.dialect == dialect and ("format of the configuration" in model.source.dialect_from) == (not version)
    assert nl.load(path, dialect="tf1").source.dialect_from == "as given"


def test_another_configuration(tmp_path: Path) -> None:
    config = small_model("keras3").get_config()
    config["layers"][1]["config"]["activation"] = "relu"
    model = nl.load(write_keras(tmp_path / "m.keras", small_model("keras3")), config=config)
    assert model.recurrent_layers[0].cells[0].activation == "relu"


def test_looking_at_the_arrays(tmp_path: Path) -> None:
    with open_stored(write_keras(tmp_path / "m.keras", small_model("keras3"))) as stored:
        assert [array.shape for array in stored.arrays()] == [(4, 2), (2,), (3, 16), (4, 16), (16,)]


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"config.json": None}, "has no member config.json; expected a file that model.save wrote"),
        ({"model.weights.h5": None}, "has no member model.weights.h5; expected all weights in one file, as model.save"),
        ({"model.weights.h5": b""}, ": model.weights.h5 is not an HDF5 file"),
        ({"model.weights.h5": b"PK"}, ": model.weights.h5 is not an HDF5 file"),
        ({"config.json": b"{"}, ": config.json is not JSON"),
        ({"config.json": b"{" + b" " * 2**21 + b"}"}, "'config.json' has 2097154 bytes; expected at most 2097152"),
        ({"metadata.json": b"[]"}, ": metadata.json has None as its keras_version; expected a text such as '3.15.1'"),
        ({"metadata.json": b'{"keras_version": 3}'}, "metadata.json has 3 as its keras_version"),
        ({"metadata.json": b'{"keras_version": "1.2"}'}, "keras_version is '1.2'; expected 2 or 3"),
        ({"config.json": b'{"class_name": "Lambda", "config": {}}'}, "Lambda holds code, which is never run"),
        (
            {"config.json": b'{"module": "os", "class_name": "system", "config": {"command": "true"}}'},
            "needs the class 'os.system', which is not Keras's own; nothing is imported from a file",
        ),
        ({"../x": b"1"}, "member '../x' points out of the file; refused"),
    ],
)  # fmt: skip
def test_damaged_and_hostile_archives(tmp_path: Path, replaced: Any, message: str) -> None:
    path = write_keras(tmp_path / "m.keras", small_model("keras3"), replaced=replaced)
    with pytest.raises(nl.NumbaLSTMError) as caught:
        nl.load(path)
    assert message in str(caught.value) and str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["m.keras"]


def test_a_checksum_that_does_not_fit(tmp_path: Path) -> None:
    path = write_keras(tmp_path / "m.keras", small_model("keras3"))
    content = bytearray(path.read_bytes())
    kernel = small_model("keras3").get_weights()[0].tobytes()
    content[content.find(kernel)] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"'model.weights.h5' is damaged: its checksum does not fit; copy or"):
        nl.load(path)


def test_weights_that_swell(tmp_path: Path) -> None:
    path = write_keras(
        tmp_path / "m.keras",
        small_model("keras3"),
        replaced={"model.weights.h5": bytes(40 * 2**20)},
        method=zipfile.ZIP_DEFLATED,
    )
    with pytest.raises(FileFormatError, match=r"'model.weights.h5' would grow from \d+ to 41943040 bytes; expected"):
        nl.load(path)


def test_a_member_that_reaches_beyond_the_file(tmp_path: Path) -> None:
    path = write_keras(tmp_path / "m.keras", small_model("keras3"))
    content = bytearray(path.read_bytes())
    place = content.rfind(b"PK\x03\x04")
    struct.pack_into("<H", content, place + 28, 60_000)  # a longer extra field in the local header of the weights
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"'model.weights.h5' is damaged"):
        nl.load(path)


def test_weights_do_not_pass_through_memory_twice(tmp_path: Path) -> None:
    """The HDF5 file inside is read in place: no array as large as the member exists beside the weights."""
    import tracemalloc

    model = nl.Sequential([nl.LSTM(512, batch_input_shape=(None, None, 512), dialect="keras3")])
    model.build()
    size = 4 * model.count_params()
    path = write_keras(tmp_path / "m.keras", model)
    nl.load(path)
    tracemalloc.start()
    loaded = nl.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert loaded.count_params() == model.count_params()
    assert peak < 2.2 * size + 3 * 2**20
