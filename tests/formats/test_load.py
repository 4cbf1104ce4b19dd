"""formats: which reader takes a file, and the errors for files that none takes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.keras_files import small_model, write_h5

import numba_lstm as nl
from numba_lstm.errors import ConfigError, FileFormatError
from numba_lstm.formats import from_config, open_stored
from numba_lstm.formats.atomic import AtomicFile


@pytest.fixture
def h5(tmp_path: Path) -> Path:
    return write_h5(tmp_path / "m.h5", small_model())


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    nl.save(small_model(), tmp_path / "m.npz")
    return tmp_path / "m.npz"


@pytest.mark.parametrize("name", ["m.h5", "m.hdf5", "M.H5", "m.keras", "m.weights", "m", "m.npz"])
def test_hdf5_is_known_by_its_first_bytes(h5: Path, name: str) -> None:
    if h5.name != name:
        shutil.move(h5, h5.with_name(name))
    assert nl.load(h5.with_name(name)).source.format == "Keras HDF5 model"


@pytest.mark.parametrize("name", ["m.npz", "M.NPZ", "m.zip", "m"])
def test_npz_is_known_by_its_first_bytes_or_its_name(npz: Path, name: str) -> None:
    if npz.name != name:
        shutil.move(npz, npz.with_name(name))
    assert nl.load(npz.with_name(name)).source.format == "numba_lstm npz"


def test_the_caller_may_say_the_format(npz: Path, h5: Path) -> None:
    assert nl.load(shutil.move(npz, npz.with_name("m.onnx")), format="npz").dialect == "keras2"
    with pytest.raises(FileFormatError, match="is not a whole zip file"):
        nl.load(h5, format="npz")
    names = "'h5', 'keras', 'npz', 'onnx', 'safetensors', 'torch'"
    with pytest.raises(ConfigError, match=f"format is 'ckpt'; expected one of: {names}"):
        nl.load(h5, format="ckpt")
    with pytest.raises(ConfigError, match="dialect is 'tf2'; expected one of 'tf1', 'keras2', 'keras3'"):
        nl.load(h5, dialect="tf2")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="dialect is 'tf2'"):
        from_config({"units": 3}, dialect="tf2")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "what", "remedy"),
    [
        ("m.pb", "a TensorFlow graph", "model.save('model.h5')"),
        ("m.index", "a TensorFlow checkpoint", "model.save('model.h5')"),
        ("m.json", "a configuration without weights", "give this one as config"),
        ("m.npy", "a single array, no model", "give it as input"),
    ],
)
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 something", b"\x08\x07\x12\x04"])
def test_formats_that_are_not_read(tmp_path: Path, name: str, what: str, remedy: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileFormatError) as caught:
        nl.load(tmp_path / name)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / name} is {what}, which this version does not read; readable: .keras ")
    assert remedy in message and "\n" not in message


def test_what_is_no_model_at_all(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_bytes(b"hello")
    with pytest.raises(FileFormatError, match=r"m.txt is not a model of a known format; readable: .keras "):
        nl.load(tmp_path / "m.txt")
    with pytest.raises(FileFormatError, match=r"is a folder; expected a file, .keras and .h5 .*; in Keras, write"):
        nl.load(tmp_path)
    for name, words in (("saved_model.pb", "SavedModel of TensorFlow"), ("checkpoint", "TensorFlow checkpoint")):
        (tmp_path / f"folder of {name}").mkdir()
        (tmp_path / f"folder of {name}" / name).write_bytes(b"")
        with pytest.raises(FileFormatError, match=rf"is a folder with a {words}; expected a file, .keras and"):
            nl.load(tmp_path / f"folder of {name}")
    with pytest.raises(FileNotFoundError):
        nl.load(tmp_path / "absent.h5")
    (tmp_path / "ckpt.index").write_bytes(b"")
    with pytest.raises(FileFormatError, match="ckpt is a TensorFlow checkpoint, which this version does not read"):
        nl.load(tmp_path / "ckpt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    for name in ("m.h5", "m.npz", "c.json"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(FileFormatError, match="is a pipe or a device"):
            if name == "c.json":
                from_config(tmp_path / name)
            else:
                nl.load(tmp_path / name)


def test_nothing_is_written_beside(h5: Path) -> None:
    before = sorted(os.listdir(h5.parent))
    nl.load(h5)
    assert sorted(os.listdir(h5.parent)) == before


def test_looking_at_a_file_without_a_configuration(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "w.h5", small_model(), whole=False)
    with open_stored(path) as stored:
        assert stored.config is None
        listed = [(array.name, array.shape, str(array.dtype)) for array in stored.arrays()]
    assert listed == [
        ("first/kernel:0", (3, 16), "float32"),
        ("first/recurrent_kernel:0", (4, 16), "float32"),
        ("first/bias:0", (16,), "float32"),
        ("out/kernel:0", (4, 2), "float32"),
        ("out/bias:0", (2,), "float32"),
    ]
    nl.save(small_model(), tmp_path / "m.npz")
    with open_stored(tmp_path / "m.npz") as stored:
        assert stored.arrays()[0].name == "0.kernel"
    np.savez(tmp_path / "w.npz", kernel=np.zeros((3, 16)), recurrent_kernel=np.zeros((4, 16)))
    with open_stored(tmp_path / "w.npz") as stored:
        assert [array.name for array in stored.arrays()] == ["kernel", "recurrent_kernel"]


def test_closing_fails_on_a_full_disk(tmp_path: Path) -> None:
    output = AtomicFile(tmp_path / "a")
    output.file.close()

    def full() -> Any:
        raise OSError(28, "No space left on device")

    output.file = type("Full", (), {"close": staticmethod(full), "flush": staticmethod(full)})()  # type: ignore[assignment]
    with pytest.raises(OSError, match="No space left"):
        output.commit()
    assert os.listdir(tmp_path) == []
