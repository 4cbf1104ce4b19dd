"""The readers as a fuzzer sees them: for each way into one a good file, and what is done with a damaged one.

A new reader is a new row of `TARGETS`. A row with `wrap` mutates a part of a file, which is then put back whole - with
its checksum, its length - so that mutants get past the outermost checks.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from support.keras_files import small_model, write_h5, write_keras, write_weights_h5
from support.npz_files import bare_members, npy, zip_of
from support.onnx_files import lstm_model, value
from support.onnx_files import weights as node_weights
from support.paths import DATA
from support.torch_files import linear_arrays, lstm_arrays, safetensors_bytes, write_tensors

import numba_lstm as nl
from numba_lstm.formats import from_config
from numba_lstm.formats.npy import open_npy
from numba_lstm.formats.own import document_of, weights_by_key

EXPORTS = DATA / "onnx_exports.npz"


@dataclass(frozen=True)
class Target:
    """One way into a reader: `seed` makes what is mutated, `use` is what people do with the file."""

    suffix: str
    seed: Callable[[Path], bytes]
    use: Callable[[Path], Any] = nl.load
    wrap: Callable[[bytes], bytes] = bytes


def _h5(libver: str | None, whole: bool = True, **options: Any) -> Callable[[Path], bytes]:
    return lambda folder: write_h5(folder / "m.h5", small_model(), libver=libver, whole=whole, **options).read_bytes()


def _weights_h5(folder: Path) -> bytes:
    write_weights_h5(folder / "m.weights.h5", small_model("keras3"))
    return (folder / "m.weights.h5").read_bytes()


def _keras(method: int) -> Callable[[Path], bytes]:
    return lambda folder: write_keras(folder / "m.keras", small_model("keras3"), method=method).read_bytes()


def _keras_config(_: Path) -> bytes:
    config = {"class_name": "Sequential", "config": small_model("keras3").get_config()}
    return json.dumps({**config, "keras_version": "3.15.1"}).encode()


def _archive(member: str) -> Callable[[bytes], bytes]:
    """A .keras whose `member` has other bytes."""
    with tempfile.TemporaryDirectory() as folder:
        content = write_keras(Path(folder) / "m.keras", small_model("keras3")).read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return lambda content: _zip({**members, member: content})


def _zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def _saved(name: str, **options: Any) -> Callable[[Path], bytes]:
    def make(folder: Path) -> bytes:
        model = small_model("keras3")
        if options:
            model = nl.Sequential([nl.LSTM(4, recurrent_activation="sigmoid")])
            model.build((None, None, 3))
        nl.save(model, folder / name, **options)
        return (folder / name).read_bytes()

    return make


def _document(_: Path) -> bytes:
    return document_of(small_model("keras3"))


@cache
def _weights() -> dict[str, NDArray[Any]]:
    return weights_by_key(small_model("keras3"))


def _npz_config(content: bytes) -> bytes:
    members = {f"{key}.npy": npy(value) for key, value in _weights().items()}
    return _zip({**members, "config.npy": npy(np.frombuffer(content, np.uint8))})


def _npz_member(content: bytes) -> bytes:
    return _zip({**dict(bare_members()), "kernel.npy": content})


def _packed_npz(folder: Path) -> bytes:
    return zip_of(folder / "m.npz", bare_members(), zipfile.ZIP_DEFLATED).read_bytes()


def _state_dict(folder: Path) -> bytes:
    arrays = lstm_arrays("a.", 2, True) | linear_arrays("b", 8)
    return write_tensors(folder / "m.safetensors", arrays, {"format": "pt"}).read_bytes()


def _header(folder: Path) -> bytes:
    content = _state_dict(folder)
    return content[8 : 8 + int.from_bytes(content[:8], "little")]


def _with_data(header: bytes) -> bytes:
    arrays = lstm_arrays("a.", 2, True) | linear_arrays("b", 8)
    return safetensors_bytes(header, bytes(sum(array.nbytes for array in arrays.values())))


def _safetensors_document(content: bytes) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"numba_lstm": content.decode("latin-1")}}
    position = 0
    for key, weight in _weights().items():
        offsets = [position, position + weight.nbytes]
        header[key] = {"dtype": "F32", "shape": list(weight.shape), "data_offsets": offsets}
        position += weight.nbytes
    return safetensors_bytes(header, bytes(position))


def _onnx(folder: Path) -> bytes:
    both: dict[str, Any] = {"direction": "bidirectional", "inputs": [value("lens", ["batch"], 6)], "extra": ["lens"]}
    return lstm_model(folder / "m.onnx", node_weights(np.random.default_rng(4), 2), **both).read_bytes()


def _exported(name: str) -> Callable[[Path], bytes]:
    return lambda _: np.load(EXPORTS, allow_pickle=False)[f"{name}/file"].tobytes()


def _npy(folder: Path) -> bytes:
    np.save(folder / "x.npy", np.arange(24, dtype="f").reshape(2, 4, 3))
    return (folder / "x.npy").read_bytes()


def read_npy(path: Path) -> None:
    with open_npy(path) as reader:
        reader.read("float32")


@cache
def _config() -> dict[str, Any]:
    return small_model().get_config()


def load_cell(path: Path) -> None:
    nl.load(path, config=_config(), format="h5")


CHUNKED: dict[str, Any] = {"options": {"chunks": True, "compression": "gzip"}}

TARGETS: dict[str, Target] = {
    "h5-old": Target(".h5", _h5("earliest")),
    "h5-new": Target(".h5", _h5("latest")),
    "h5-packed": Target(".h5", _h5("earliest", **CHUNKED)),
    "h5-own": Target(".h5", _saved("m.h5")),
    "h5-weights": Target(".h5", _h5("v108", whole=False, fixed_strings=True), load_cell),
    "h5-weights-3": Target(".h5", _weights_h5, load_cell),
    "keras": Target(".keras", _keras(zipfile.ZIP_STORED)),
    "keras-packed": Target(".keras", _keras(zipfile.ZIP_DEFLATED)),
    "keras-config": Target(".keras", _keras_config, wrap=_archive("config.json")),
    "keras-weights": Target(".keras", _weights_h5, wrap=_archive("model.weights.h5")),
    "npz-own": Target(".npz", _saved("m.npz")),
    "npz-packed": Target(".npz", _packed_npz),
    "npz-config": Target(".npz", _document, wrap=_npz_config),
    "npz-member": Target(".npz", lambda _: dict(bare_members())["kernel.npy"], wrap=_npz_member),
    "onnx-node": Target(".onnx", _onnx),
    "onnx-torch": Target(".onnx", _exported("torch_script_states")),
    "onnx-tf2onnx": Target(".onnx", _exported("tf2onnx_both")),
    "safetensors-own": Target(".safetensors", _saved("m.safetensors")),
    "safetensors-written": Target(".safetensors", _saved("m.safetensors", format="torch")),
    "safetensors-torch": Target(".safetensors", _state_dict),
    "safetensors-header": Target(".safetensors", _header, wrap=_with_data),
    "safetensors-config": Target(".safetensors", _document, wrap=_safetensors_document),
    "npy": Target(".npy", _npy, read_npy),
    "json": Target(".json", _keras_config, from_config),
}
