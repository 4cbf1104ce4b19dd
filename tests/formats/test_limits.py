"""The costliest files that a reader must take or refuse, in a process that may grow by 200 MB and take 2 s for each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.npz_files import npy
from support.onnx_files import entry, explosion
from support.paths import TESTS
from support.torch_files import safetensors_bytes, write_tensors

FULL = 2 * 2**20 - 100  # bytes of JSON, just below what is read

CHILD = """
import sys
from pathlib import Path
from fuzz.limits import execute, limit_memory
from fuzz.readers import Target
import numba_lstm as nl
import numba_lstm.formats.assemble, numba_lstm.formats.npz, numba_lstm.formats.safetensors, numba_lstm.formats.onnx
from numba_lstm.formats import from_config
limit_memory()
for path in map(Path, sys.argv[1:]):
    use = from_config if path.suffix == ".json" else nl.load
    print(path.name, *execute(Target(path.suffix, None, use), path), flush=True)
"""


def header(entry: str, name: str) -> bytes:
    """A header of many such entries."""
    parts = []
    size = 2
    while size < FULL:
        parts.append(entry.replace("NAME", name.replace("*", str(len(parts)))))
        size += len(parts[-1]) + 1
    return ("{" + ",".join(parts) + "}").encode()


EMPTY = '"NAME":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'


def config(*layers: Any) -> bytes:
    return json.dumps({"class_name": "Sequential", "config": {"layers": layers}}, separators=(",", ":")).encode()


def many_members(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for number in range(9000):
            file.writestr(zipfile.ZipInfo(f"{number}.a.npy"), npy(np.zeros(0)))


def inflating(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, shape in (("kernel", (6000, 4000)), ("recurrent_kernel", (1000, 4000)), ("bias", (4000,))):
            file.writestr(f"{name}.npy", npy(np.zeros(shape, "f")))


def state_dict(layers: int, directions: int) -> Callable[[Path], object]:
    one = np.zeros((4, 1), "f")
    wide = np.zeros((4, directions), "f")
    arrays = {
        f"weight_{kind}_l{layer}{'_reverse' * reverse}": wide if kind == "ih" and layer else one
        for layer in range(layers)
        for reverse in range(directions)
        for kind in ("ih", "hh")
    }
    return lambda path: write_tensors(path, arrays)


def exploding(kind: str) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(explosion(kind))


LSTM = {"class_name": "LSTM", "config": {"units": 4}}
CELL = {"class_name": "LSTMCell", "config": {"units": 4}}
FILES: dict[str, Callable[[Path], object]] = {
    "names.safetensors": lambda path: path.write_bytes(safetensors_bytes(header(EMPTY, "*"), b"")),
    "layers.safetensors": lambda path: path.write_bytes(safetensors_bytes(header(EMPTY, "weight_ih_l*"), b"")),
    "deep.safetensors": lambda path: path.write_bytes(safetensors_bytes(b'{"a":' * (FULL // 6) + b"0", b"")),
    "digits.safetensors": lambda path: path.write_bytes(safetensors_bytes(b'{"a":' + b"9" * FULL + b"}", b"")),
    "endless.safetensors": lambda path: path.write_bytes(b"\xff\xff\x1f\0\0\0\0\0" + b"{" * 2**21),
    "stack.safetensors": state_dict(999, 1),
    "both.safetensors": state_dict(999, 2),
    **{f"{kind}.onnx": exploding(kind) for kind in ("expand", "gather", "long", "add")},
    "nodes.onnx": lambda path: path.write_bytes(entry(7, entry(1, b"") * 8_000_000)),
    "tensors.onnx": lambda path: path.write_bytes(entry(7, entry(5, entry(7, bytes(30_000)) * 1000))),
    "names.onnx": lambda path: path.write_bytes(entry(7, entry(1, entry(1, "n" * 4000) * 10_000))),
    "members.npz": many_members,
    "inflating.npz": inflating,
    "layers.json": lambda path: path.write_bytes(config(*[LSTM] * 1999)),
    "more.json": lambda path: path.write_bytes(config(*[LSTM] * 40_000)),
    "cells.json": lambda path: path.write_bytes(config({"class_name": "RNN", "config": {"cell": [CELL] * 40_000}})),
    "numbers.json": lambda path: path.write_bytes(config(*[1] * 900_000)),
}


@pytest.mark.skipif(sys.platform != "linux", reason="limits on address space as Linux has them")
def test_the_costliest_files(tmp_path: Path) -> None:
    for name, make in FILES.items():
        make(tmp_path / name)
    before = sorted(os.listdir(tmp_path))
    command = [sys.executable, "-c", CHILD, *(str(tmp_path / name) for name in FILES)]
    beside = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, capture_output=True, text=True, env=beside, timeout=300)
    accepted = {"stack.safetensors", "both.safetensors", "layers.json"}
    assert done.stdout.splitlines() == [f"{name} {name in accepted} None" for name in FILES], done.stderr[-2000:]
    assert sorted(os.listdir(tmp_path)) == before
