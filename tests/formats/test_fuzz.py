"""Damaged copies of good files: each gives a model or one of our errors, in bounded time and memory.

What is damaged, and how, is in `tests/fuzz`; a few mutants of each kind run always, many with the marker ``fuzz``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from fuzz.limits import execute
from fuzz.mutation import CORPUS, Fuzzer, mutant
from fuzz.readers import TARGETS
from hypothesis import given
from hypothesis import strategies as st
from support.paths import TESTS

import numba_lstm as nl
from numba_lstm.errors import NumbaLSTMError
from numba_lstm.formats import _READERS

QUICK, LONG = 60, 20_000


@pytest.mark.parametrize("name", TARGETS)
def test_mutants(name: str, tmp_path: Path) -> None:
    fuzzer = Fuzzer([name], 1, tmp_path, None)
    fuzzer.turn(name, QUICK)
    assert fuzzer.wrong == []
    assert fuzzer.accepted[name] < fuzzer.executed[name] == QUICK


@cache
def good(name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return TARGETS[name].seed(Path(folder))


edits = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 40), st.binary(max_size=12)), min_size=1, max_size=6)


@pytest.mark.parametrize("name", ["npz-own", "npz-member", "npz-config", "safetensors-own", "safetensors-header"])
@given(changes=edits)
def test_edits(name: str, changes: list[tuple[int, int, bytes]], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Pieces of a good file replaced by others, as hypothesis chooses them and makes them smaller."""
    target, folder = TARGETS[name], tmp_path_factory.mktemp("edits")
    content = bytearray(good(name))
    for place, length, new in changes:
        start = place % (len(content) + 1)
        content[start : start + length] = new
    path = folder / f"edited{target.suffix}"
    path.write_bytes(target.wrap(bytes(content)))
    assert execute(target, path)[1] is None


@pytest.mark.parametrize("name", TARGETS)
def test_what_fuzzing_found(name: str, tmp_path: Path) -> None:
    """The stored corpus: inputs that reached something new when they were found."""
    path = tmp_path / f"x{TARGETS[name].suffix}"
    for stored in sorted((CORPUS / name).glob("*")):
        path.write_bytes(TARGETS[name].wrap(stored.read_bytes()))
        assert execute(TARGETS[name], path)[1] is None, stored.name


def test_every_reader_is_fuzzed() -> None:
    pickles = {"torch"}  # read by torch in a process of its own, which the tests of formats/pytorch.py are about
    assert {name.partition("-")[0] for name in TARGETS} == {*_READERS, "npy", "json"} - pickles
    assert {path.name for path in CORPUS.iterdir()} <= TARGETS.keys()


def test_mutants_are_the_same_every_time() -> None:
    made = [mutant(bytes(range(200)), np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]


def test_the_fuzzer_sees_what_goes_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def use(path: Path) -> None:
        if path.name.startswith("mutant"):
            (path.parent / "escaped").write_text("x")
            raise KeyError("a")

    monkeypatch.setitem(TARGETS, "npy", TARGETS["npy"].__class__(".npy", TARGETS["npy"].seed, use))
    fuzzer = Fuzzer(["npy"], 0, tmp_path, tmp_path / "kept")
    fuzzer.turn("npy", 2)
    assert [line.partition(" [")[0] for line in fuzzer.wrong] == ["npy: KeyError: 'a'"] * 2 + [
        "npy: files were written:"
    ]
    assert len(os.listdir(tmp_path / "kept")) == 2


@pytest.mark.fuzz
@pytest.mark.parametrize("name", TARGETS)
def test_many_mutants_under_limits(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fuzz.mutation", "--target", name, "--executions", str(LONG)]
    beside = {**os.environ, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(command, capture_output=True, text=True, env=beside, timeout=3600, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"  {name}: {LONG:,}" in done.stdout


def test_bytes_that_are_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    starts = [b"", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"\x10\0\0\0\0\0\0\0{"]
    suffixes = [".h5", ".npz", ".keras", ".safetensors", ".onnx", ".onnx"]
    for number in range(200):
        path = tmp_path / f"x{suffixes[number % 6]}"
        path.write_bytes(starts[number % 5] + rng.bytes(int(rng.integers(0, 300))))
        with pytest.raises(NumbaLSTMError):
            nl.load(path)
