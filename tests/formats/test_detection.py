"""formats/detection.py: a file is what it holds; what is no model is named as what it is."""

from __future__ import annotations

import gzip
import io
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
from support.keras_files import small_model, write_h5, write_keras

import numba_lstm as nl
from numba_lstm.errors import FileFormatError

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 12345\n" % (b"0" * 64)
PAGE = b"\n<!DOCTYPE html>\n<html>\x1b[1m<body>404</body></html>"


def tar() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.h5"))
    return content.getvalue()


def zipped(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return content.getvalue()


@pytest.mark.parametrize("name", ["m.h5", "m.keras", "m.npz", "m.zip", "m"])
def test_keras_archives_under_any_name(tmp_path: Path, name: str) -> None:
    path = write_keras(tmp_path / name, small_model("keras3"))
    assert nl.load(path).source.format == "Keras archive"
    with pytest.raises(FileFormatError, match="is not an HDF5 file"):
        nl.load(path, format="h5")  # the caller's word goes first


@pytest.mark.parametrize("name", ["m.h5", "m.keras", "m.onnx", "m.npz", "m.pt", "m.safetensors", "m.bin", "m.json"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (LFS, "is a Git LFS pointer for a file of 12345 bytes, not the file itself; run 'git lfs pull'"),
        (PAGE, "is an HTML page, not a model: a web page was downloaded in its place; download the file itself"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>", "is an XML text, not a model"),
        (b'{"message": "Not Found"}', "is JSON text without a model in it"),
        (b'{"class_name": "Sequential", "config": {}}', "is a configuration without weights, which this version does"),
        (gzip.compress(b"model"), "is packed with gzip, which this version does not read"),
        (b"BZh91AY", "is packed with bzip2"),
        (tar(), "is a tar archive"),
        (zipped("a/saved_model.pb"), "is a zip archive with a SavedModel of TensorFlow"),
        (b"\x1c\0\0\0TFL3" + bytes(40), "is a TensorFlow Lite model"),
        (b"x" * 50 + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb", "is a TensorFlow checkpoint"),
        (b"model_checkpoint_path: 'x'\n", "is the list of TensorFlow checkpoints in its folder"),
    ],
)
def test_what_is_no_model(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FileFormatError) as caught:
        nl.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path} {words}") and message.isprintable() and len(message) < 500


def test_pickles(tmp_path: Path) -> None:
    for name in ("m.pkl", "m.h5", "m"):
        (tmp_path / name).write_bytes(pickle.dumps({"a": 1}))
        with pytest.raises(
            FileFormatError, match=r"is a pickle, which may hold code, which this version does not read"
        ):
            nl.load(tmp_path / name)
    # GLOBAL torch.nn.modules.rnn LSTM, and what is left of the pickle is damaged.
    (tmp_path / "m.pth").write_bytes(b"\x80\x02c__main__\nNet\nctorch.nn.modules.rnn\nLSTM\n\xff")
    with pytest.raises(FileFormatError, match=r"is a pickled PyTorch module, of the class '__main__.Net'"):
        nl.load(tmp_path / "m.pth")


def test_zips_with_other_things(tmp_path: Path) -> None:
    for name in ("m.zip", "m.h5", "m.hdf5", "m.onnx", "m.safetensors"):
        (tmp_path / name).write_bytes(zipped("a/model.h5"))
        with pytest.raises(FileFormatError, match=r"is a zip archive with 'a/model.h5' in it, .*; unpack it and load"):
            nl.load(tmp_path / name)
    (tmp_path / "m.pt2").write_bytes(zipped("m/archive_format", "m/data/x"))
    with pytest.raises(FileFormatError, match=r"is a program of torch.export"):
        nl.load(tmp_path / "m.pt2")


def test_text_under_a_model_s_name(tmp_path: Path) -> None:
    (tmp_path / "m.keras").write_bytes(b"404: Not Found\x1b"[:-1])
    with pytest.raises(FileFormatError, match=r"m.keras is text that begins with '404: Not Found', which this version"):
        nl.load(tmp_path / "m.keras")


def test_stand_ins_for_configurations(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "w.h5", small_model(), whole=False)
    for content, words in ((LFS, "is a Git LFS pointer"), (PAGE, "is an HTML page")):
        (tmp_path / "c.json").write_bytes(content)
        with pytest.raises(FileFormatError, match=words):
            nl.load(path, config=tmp_path / "c.json")
        with pytest.raises(FileFormatError, match=words):
            nl.load(shutil.copy(tmp_path / "c.json", tmp_path / "m.h5"), format="h5")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"epoch 1: loss 0.5\n", "is text that begins with 'epoch 1: loss 0.5"),
        ("Modell für später\n".encode(), "is not a PyTorch file: it begins with b'Modell f'; expected what torch.save"),
        (bytes(300), "is not a PyTorch file: it begins with b'"),
    ],
)
def test_what_is_no_pytorch_file_needs_no_torch_to_tell(tmp_path: Path, content: bytes, words: str) -> None:
    for name in ("m.pt", "m.PTH"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FileFormatError) as caught:
            nl.load(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name} {words}")
