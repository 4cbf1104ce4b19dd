"""The format of a file, from its content; from its name only where the content does not tell.

`load`, `inspect`, `convert` and `run` all ask here, so that every message names a format alike. An unsupported
format is named, with a remedy.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

from numba_lstm.checks import shown
from numba_lstm.errors import Argument, FileFormatError, Message
from numba_lstm.formats.pickled import LEGACY_TORCH, what_is_pickled
from numba_lstm.formats.regular import open_regular, read_into
from numba_lstm.formats.zipped import ZipReader

READABLE = ".keras and .h5 (Keras 2 and 3, TensorFlow 1 and 2), .npz, .onnx, .safetensors, .pt and .pth (PyTorch)"

_SUFFIXES = {
    ".h5": "h5",
    ".hdf5": "h5",
    ".keras": "keras",
    ".npz": "npz",
    ".onnx": "onnx",
    ".safetensors": "safetensors",
    ".pt": "torch",
    ".pth": "torch",
}
_CALLED = {
    "h5": "an HDF5 file",
    "keras": "a .keras file",
    "npz": "a .npz file",
    "onnx": "an ONNX model",
    "safetensors": "a safetensors file",
    "torch": "a PyTorch file",
}
_TO_H5 = "in Keras, write model.save('model.h5') and load that"
_TO_STATE_DICT = "where the class is at hand, save it with torch.save(model.state_dict(), 'model.pt') and load that"
_AGAIN = "download or export the model again"
_AS_CONFIG = Message("load the file of the weights and give this one as ", Argument("config"))
_UNPACK = "unpack it and load what is in it"
_CHECKPOINT = ("a TensorFlow checkpoint", _TO_H5)
_SAVED_MODEL = "saved_model.pb"
# Other files that people keep beside models, by suffix, and the remedy.
_NOT_READ = {
    ".pb": ("a TensorFlow graph", _TO_H5),
    ".index": _CHECKPOINT,
    ".json": ("a configuration without weights", _AS_CONFIG),
    ".npy": ("a single array, no model", "give it as input, or make a .npz of the weights"),
}
_SHARD = re.compile(r".*\.data-\d{5}-of-\d{5}")
# The same by the first bytes, and their position.
_SIGNS = (
    (0, b"\x93NUMPY", _NOT_READ[".npy"]),
    (4, b"TFL3", ("a TensorFlow Lite model", "convert the Keras model that it was made from")),
    (0, b"model_checkpoint_path:", ("the list of TensorFlow checkpoints in its folder", _TO_H5)),
    (0, b"GGUF", ("a GGUF model", "convert the model that it was made from")),
    (0, b"\x1f\x8b", ("packed with gzip", _UNPACK)),
    (0, b"BZh", ("packed with bzip2", _UNPACK)),
    (0, b"\xfd7zXZ\x00", ("packed with xz", _UNPACK)),
    (0, b"\x28\xb5\x2f\xfd", ("packed with zstd", _UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", ("a 7z archive", _UNPACK)),
    (0, b"Rar!\x1a\x07", ("a rar archive", _UNPACK)),
    (257, b"ustar", ("a tar archive", _UNPACK)),
)
_TABLE_END = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"  # of the table of a TensorFlow checkpoint
_LFS = re.compile(
    rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/.*?(?:^size (\d{1,18})\r?$|\Z)", re.S | re.M
)
_CONFIGURATION = re.compile(rb'"(class_name|layers|cells?|units|keras_version)"\s*:')
_ONNX = re.compile(rb"\x08[\x03-\x14][\x12\x1a\x22\x3a\x42]")  # ir_version, and the field after it
_TEXT = re.compile(rb"[\t\n\r\x20-\x7e]+")
_LOOK = 4096  # bytes
_MOST_PICKLED = 2**24  # bytes of a pickle that are looked through


def detect_format(path: Path) -> str:
    """The format of a file or folder: a key of the readers.

    Raises `FileFormatError` for anything else, and for pipes; `OSError` for a missing file.
    """
    if path.is_dir():
        return _of_folder(path)
    if not path.exists() and path.with_name(f"{path.name}.index").exists():
        _refuse(path, _CHECKPOINT)
    start, end = _ends(path)
    _refuse_stand_ins(path, start)
    return _by_content(path, start, end) or _by_name(path)


def check_stand_in(path: Path) -> None:
    """Raise `FileFormatError` for a stand-in for the real file: an empty one, a Git LFS pointer, a web page."""
    if not path.is_dir():
        _refuse_stand_ins(path, _ends(path)[0])


def check_array(path: Path) -> None:
    """Raise `FileFormatError` for a file of a known other format than .npy: a stand-in or a model."""
    start, end = _ends(path)
    _refuse_stand_ins(path, start, "a .npy file")
    try:
        called = _CALLED.get(_by_content(path, start, end) or "")
    except FileFormatError:  # what else it is has no remedy for arrays
        return
    if called:
        raise FileFormatError(f"{path} is {called}, not a .npy file; give the array that was meant")


def _ends(path: Path) -> tuple[bytes, bytes]:
    file, size = open_regular(path)
    with file:
        start, end = bytearray(min(size, _LOOK)), bytearray(min(size, 8))
        read_into(file, 0, memoryview(start))
        read_into(file, size - len(end), memoryview(end))
    return bytes(start), bytes(end)


def _refuse_stand_ins(path: Path, start: bytes, wanted: str | None = None) -> None:
    suffix = path.suffix.lower()
    if not start and (wanted or suffix not in _NOT_READ):
        expected = wanted or _CALLED.get(_SUFFIXES.get(suffix, ""), "a model")
        raise FileFormatError(f"{path} is empty: it has 0 bytes; expected {expected}; copy or download it again")
    pointer = _LFS.match(start)
    if pointer:
        size = f" for a file of {int(pointer[1])} bytes" if pointer[1] else ""
        raise FileFormatError(
            f"{path} is a Git LFS pointer{size}, not the file itself; run 'git lfs pull' in its repository, or "
            "download the file that it stands for"
        )
    meant, again = (wanted, "export the array") if wanted else ("a model", "export the model")
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    page = b"<html" in text[:1024] and b"\0" not in start
    if page or text.startswith((b"<!doctype html", b"<head", b"<body")):
        raise FileFormatError(
            f"{path} is an HTML page, not {meant}: a web page was downloaded in its place; download the file itself"
        )
    if text.startswith((b"<?xml", b"<error", b"<!doctype")):
        raise FileFormatError(f"{path} is an XML text, not {meant}; download or {again} again")


def _by_content(path: Path, start: bytes, end: bytes) -> str | None:
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return "h5"
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _of_zip(path)
    for place, sign, what in _SIGNS:
        if start[place:].startswith(sign):
            _refuse(path, what)
    if end == _TABLE_END or _SHARD.fullmatch(path.name):
        _refuse(path, _CHECKPOINT)
    if re.match(rb"\x80[\x02-\x05]", start):
        return _of_pickle(path, start)
    if start[8:9] == b"{" and 0 < int.from_bytes(start[:8], "little") <= path.stat().st_size - 8:
        return "safetensors"
    if _ONNX.match(start) and path.suffix.lower() not in _NOT_READ:
        return "onnx"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] in (b"{", b"["):
        _refuse_json(path, text)
    named = _SUFFIXES.get(path.suffix.lower())
    if named is not None and _TEXT.fullmatch(text):
        _refuse(path, (f"text that begins with {shown(text[:40].decode('ascii', 'replace'))}", _AGAIN))
    if named == "torch":  # all that torch.save writes was found above
        raise FileFormatError(
            f"{path} is not a PyTorch file: it begins with {shown(start[:8])}; expected what torch.save wrote; {_AGAIN}"
        )
    return None


def _refuse_json(path: Path, text: bytes) -> NoReturn:
    if _CONFIGURATION.search(text):
        _refuse(path, _NOT_READ[".json"])
    _refuse(path, ("JSON text without a model in it", _AGAIN))


def _of_zip(path: Path) -> str | None:
    """The format of a zip, by the names of its members; a damaged one is left to the reader for its suffix."""
    module = None
    try:
        with ZipReader(path) as archive:
            names = [name.replace("\\", "/") for name in archive.members]
            bases = {name.rpartition("/")[2] for name in names}
            pickle = next((name for name in archive.members if name.endswith("data.pkl")), None)
            if pickle is not None:
                module = what_is_pickled(archive.read(pickle, _MOST_PICKLED))
    except FileFormatError:
        return None
    if "config.json" in bases and not bases.isdisjoint(("model.weights.h5", "metadata.json")):
        return "keras"
    if pickle is not None:
        if "constants.pkl" in bases:
            _refuse(path, ("a TorchScript program", _TO_STATE_DICT))
        _refuse_modules(path, module)
        return "torch"
    if any(name.endswith(".npy") for name in names) or not names:
        return "npz"
    if _SAVED_MODEL in bases:
        _refuse(path, ("a zip archive with a SavedModel of TensorFlow", _TO_H5))
    if not bases.isdisjoint(("serialized_exported_program.json", "archive_format")):
        _refuse(path, ("a program of torch.export", _TO_STATE_DICT))
    named = _SUFFIXES.get(path.suffix.lower())
    if named is not None and named not in ("h5", "onnx", "safetensors"):  # none of which is a zip
        return named
    _refuse(path, (f"a zip archive with {shown(names[0])} in it", _UNPACK))


def _of_pickle(path: Path, start: bytes) -> str:
    if not start.startswith(LEGACY_TORCH) and _SUFFIXES.get(path.suffix.lower()) != "torch":
        _refuse(path, ("a pickle, which may hold code", "nothing in it is run; save the model in a format of its own"))
    file, size = open_regular(path)
    with file:
        content = bytearray(min(size, _MOST_PICKLED))
        read_into(file, 0, memoryview(content))
    _refuse_modules(path, what_is_pickled(bytes(content)))
    return "torch"


def _refuse_modules(path: Path, module: str | None) -> None:
    if module is not None:
        _refuse(path, (f"a pickled PyTorch module, of the class {shown(module)}, which may hold code", _TO_STATE_DICT))


def _of_folder(path: Path) -> str:
    if (path / "config.json").is_file() and (path / "model.weights.h5").is_file():
        return "keras"
    what = "a folder"
    if (path / _SAVED_MODEL).exists():
        what = "a folder with a SavedModel of TensorFlow"
    elif (path / "checkpoint").exists() or any(path.glob("*.index")):
        what = "a folder with a TensorFlow checkpoint"
    elif (path / "config.json").is_file():
        what = "a folder with a config.json and no model.weights.h5 beside it"
    inner = next(
        (one.parent for one in path.glob("*/config.json") if (one.parent / "model.weights.h5").is_file()), None
    )
    if inner is not None:
        raise FileFormatError(f"{path} is a folder with an unpacked .keras file in {inner.name}; load {inner}")
    raise FileFormatError(f"{path} is {what}; expected a file, {READABLE}; {_TO_H5}")


def _by_name(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in _NOT_READ:
        _refuse(path, _NOT_READ[suffix])
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    raise FileFormatError(f"{path} is not a model of a known format; readable: {READABLE}")


def _refuse(path: Path, what: tuple[str, str]) -> NoReturn:
    text = f"{path} is {what[0]}, which this version does not read; readable: {READABLE}; "
    raise FileFormatError(Message(text, what[1]))
