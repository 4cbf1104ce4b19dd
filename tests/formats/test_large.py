"""A model of 100 MB: how long it takes to load beside a plain read of its file, and how much memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.keras_files import write_keras
from support.onnx_files import lstm_model, weights

import numba_lstm as nl

KINDS = {"npz": "m.npz", "safetensors": "m.safetensors", "torch": "t.safetensors", "h5": "m.h5"}
READ_ONLY = ("keras", "onnx")  # written by the tests
REPEATS = 4
MEMORY = """
import sys, numba_lstm as nl
def highest():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
nl.load(sys.argv[1])
before = highest()
nl.load(sys.argv[2])
print(highest() - before)
"""


def written(folder: Path, kind: str, units: int) -> Path:
    if kind == "onnx":
        return lstm_model(folder / "m.onnx", weights(np.random.default_rng(1), 1, units // 2, units))
    arguments: dict[str, Any] = {"recurrent_activation": "sigmoid", "recurrent_initializer": "glorot_uniform"}
    model = nl.Sequential([nl.LSTM(units, dialect="keras3" if kind == "keras" else "tf1", **arguments)])
    model.reseed(1)
    model.build((None, None, units // 2))
    if kind == "keras":
        return write_keras(folder / "m.keras", model)
    nl.save(model, folder / KINDS[kind], format=kind)
    return folder / KINDS[kind]


def plain_read(path: Path) -> None:
    with open(path, "rb", buffering=0) as file:
        file.readinto(np.empty(os.path.getsize(path), np.uint8).data)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KINDS, *READ_ONLY])
def test_time_and_memory(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind, 2048)
    size = os.path.getsize(path)
    assert 100e6 < size < 102e6
    plain, load = [], []
    for _ in range(REPEATS):
        for work, times in ((plain_read, plain), (nl.load, load)):
            start = time.perf_counter()
            work(path)
            times.append(time.perf_counter() - start)
    assert min(load) < 1.5 * min(plain) + 0.4, (plain, load)
    (tmp_path / "small").mkdir()
    small = written(tmp_path / "small", kind, 8)
    command = [sys.executable, "-c", MEMORY, str(small), str(path)]
    taken = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert taken < 1.1 * size, "the weights are in memory twice"
