"""Damaged copies of good files: whatever the bytes, a model or one of our errors, in bounded time."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_files import small_model, write_h5, write_keras, write_weights_h5

import numba_lstm as nl
from numba_lstm.errors import NumbaLSTMError
from numba_lstm.formats import from_config
from numba_lstm.formats.npy import open_npy

QUICK, LONG = 150, 20_000
LIMIT_S = 2.0  # of the thread's processor time, for one file

# Bytes with a meaning in the formats, put in besides random ones.
SPICE = [b"\x00" * 8, b"\xff" * 8, b"\xff", b"\x7f", b"\x80", b"\x01\x00\x00\x00", b"TREE", b"SNOD", b"HEAP", b"GCOL"]
SPICE += [b"OHDR", b"FRHP", b"PK\x01\x02", b"PK\x05\x06", b"null", b"{", b"[", b'"', b"-1", b"1e5", b"\\ud800"]


def mutant(content: bytes, rng: np.random.Generator) -> bytes:
    """One to eight changes: bytes replaced, pieces copied over others, left out, or the end cut off."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 9)):
        if not changed:
            break
        place, other = (int(i) for i in rng.integers(0, len(changed), 2))
        length = int(rng.integers(1, 33))
        kind = rng.integers(0, 10)
        if kind < 4:
            changed[place] = rng.integers(0, 256)
        elif kind < 6:
            spice = SPICE[rng.integers(0, len(SPICE))]
            changed[place : place + len(spice)] = spice
        elif kind < 8:
            changed[place : place + length] = changed[other : other + length]
        elif kind < 9:
            del changed[place : place + length]
        else:
            del changed[max(place, len(changed) // 2) :]
    return bytes(changed)


def h5_file(libver: str | None, whole: bool = True, **options: Any) -> Callable[[Path], bytes]:
    return lambda folder: write_h5(folder / "m.h5", small_model(), libver=libver, whole=whole, **options).read_bytes()


def own_npz(folder: Path) -> bytes:
    nl.save(small_model(), folder / "m.npz")
    return (folder / "m.npz").read_bytes()


def packed_npz(folder: Path) -> bytes:
    with zipfile.ZipFile(folder / "m.npz", "w", zipfile.ZIP_DEFLATED) as file:
        for name, shape in (("kernel", (3, 16)), ("recurrent_kernel", (4, 16)), ("bias", (16,))):
            np.save(folder / "x.npy", np.ones(shape, "f"))
            file.write(folder / "x.npy", f"{name}.npy")
    return (folder / "m.npz").read_bytes()


def npy_file(folder: Path) -> bytes:
    np.save(folder / "x.npy", np.arange(24, dtype="f").reshape(2, 4, 3))
    return (folder / "x.npy").read_bytes()


def keras_file(method: int) -> Callable[[Path], bytes]:
    return lambda folder: write_keras(folder / "m.keras", small_model("keras3"), method=method).read_bytes()


def weights_h5_file(folder: Path) -> bytes:
    write_weights_h5(folder / "m.weights.h5", small_model())
    return (folder / "m.weights.h5").read_bytes()


def json_file(folder: Path) -> bytes:
    config = {"class_name": "Sequential", "config": small_model("keras3").get_config(), "keras_version": "3.15.1"}
    return json.dumps(config).encode()


def read_npy(path: Path) -> None:
    with open_npy(path) as reader:
        reader.read("float32")


def load_cell(path: Path) -> None:
    nl.load(path, config=small_model().get_config(), format="h5")


SEEDS: dict[str, tuple[Callable[[Path], bytes], Callable[[Path], Any]]] = {
    "h5-old": (h5_file("earliest"), nl.load),
    "h5-new": (h5_file("latest"), nl.load),
    "h5-packed": (h5_file("earliest", options={"chunks": True, "compression": "gzip"}), nl.load),
    "h5-weights": (h5_file("v108", whole=False, fixed_strings=True), load_cell),
    "h5-weights-3": (weights_h5_file, load_cell),
    "keras": (keras_file(zipfile.ZIP_STORED), nl.load),
    "keras-packed": (keras_file(zipfile.ZIP_DEFLATED), nl.load),
    "npz-own": (own_npz, nl.load),
    "npz-packed": (packed_npz, nl.load),
    "npy": (npy_file, read_npy),
    "json": (json_file, from_config),
}
SUFFIXES = {"h5": ".h5", "keras": ".keras", "npz": ".npz", "npy": ".npy", "json": ".json"}


def feed(kind: str, count: int, folder: Path) -> None:
    make, use = SEEDS[kind]
    content = make(folder)
    path = folder / f"mutant{SUFFIXES[kind.partition('-')[0]]}"
    rng = np.random.default_rng(sum(map(ord, kind)))
    loaded = 0
    for number in range(count):
        path.write_bytes(mutant(content, rng))
        start = time.thread_time()
        try:
            use(path)
            loaded += 1
        except NumbaLSTMError as error:
            assert "\n" not in str(error) and len(str(error)) < 1200, f"mutant {number}: {error}"
        spent = time.thread_time() - start
        assert spent < LIMIT_S, f"mutant {number} of {kind} took {spent:.1f} s"
    assert loaded < count


@pytest.mark.parametrize("kind", SEEDS)
def test_mutants(kind: str, tmp_path: Path) -> None:
    feed(kind, QUICK, tmp_path)


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", SEEDS)
def test_many_mutants(kind: str, tmp_path: Path) -> None:
    feed(kind, LONG, tmp_path)


def test_bytes_that_are_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    starts = [b"", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x93NUMPY\x01\x00"]
    for number in range(200):
        path = tmp_path / f"x{['.h5', '.npz', '.keras'][number % 3]}"
        path.write_bytes(starts[number % 4] + rng.bytes(int(rng.integers(0, 300))))
        with pytest.raises(NumbaLSTMError):
            nl.load(path)
