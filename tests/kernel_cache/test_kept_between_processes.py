"""Compiled kernels kept across processes: found again, never stale, never in the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import numba_lstm

PROGRAM = """
import numpy as np
from numba_lstm.backends.cpu import stateless
import sys
half = stateless.activate("hard_sigmoid", "tf1", np.float32([0.0]))[0]
print(float(half), int("numba" not in sys.modules))
"""
OWN_ACTIVATION = """
import numba
import numpy as np
from numba_lstm.backends.cpu import stateless
own = numba.njit(lambda x: x * x)
print(float(stateless.activate(own, "tf1", np.float32([3.0]))[0]))
"""
# Reads its own kernel back, whole and with one bit changed.
DAMAGE = """
import os, random
import numpy as np
from numba_lstm.backends.cpu import stateless
from numba_lstm.kernel_cache.kernel_files import files
found = []
find = files().find
files().find = lambda *place: found.append(place) or find(*place)
stateless.activate("hard_sigmoid", "tf1", np.float32([0.0]))
place, (path,) = found[-1], files().path.glob("*.kernel")
good, bits = path.read_bytes(), random.Random(7)
assert find(*place) is not None
through = 0
for _ in range(NUMBER):
    damaged, bit = bytearray(good), bits.randrange(8 * len(good))
    damaged[bit // 8] ^= 1 << bit % 8
    path.write_bytes(damaged)
    through += find(*place) is not None
print(through, "of NUMBER are used", flush=True)
"""


def python(program: str, folder: Path | str, *, package: Path | None = None, **environment: str) -> str:
    source = package or Path(numba_lstm.__file__).parents[1]
    variables = {**os.environ, "PYTHONPATH": str(source), "NUMBA_LSTM_CACHE_DIR": str(folder), **environment}
    variables.pop("NUMBA_DISABLE_JIT", None)
    ended = subprocess.run([sys.executable, "-c", program], cwd=source, env=variables, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip() + ended.stderr.strip()


def test_a_second_process_finds_it_and_damage_is_mended(tmp_path: Path) -> None:
    tmp_path /= "made by the first one"
    assert python(PROGRAM, tmp_path) == "0.5 0"
    assert os.name != "posix" or tmp_path.stat().st_mode & 0o777 == 0o700
    assert python(PROGRAM, tmp_path) == "0.5 1"
    kept = list(tmp_path.rglob("*.kernel"))
    assert len(kept) == 1
    flipped = bytearray(kept[0].read_bytes())
    flipped[len(flipped) // 2] ^= 64  # in the machine code
    kept[0].write_bytes(flipped)
    reason = "cannot be used (its checksum does not match) and is compiled again"
    assert python(PROGRAM, tmp_path) == f"0.5 0a compiled kernel in {kept[0].parent} {reason}"
    assert python(PROGRAM, tmp_path) == "0.5 1"
    damage = python(DAMAGE.replace("NUMBER", "300"), tmp_path)
    assert damage == f"0 of 300 are useda compiled kernel in {kept[0].parent} {reason}"
    assert list(tmp_path.rglob("*.kernel*")) == kept


def test_an_edit_of_a_helper_is_never_missed(tmp_path: Path) -> None:
    copy = tmp_path / "source"
    shutil.copytree(Path(numba_lstm.__file__).parent, copy / "numba_lstm", ignore=shutil.ignore_patterns("__pycache__"))
    assert python(PROGRAM, tmp_path / "cache", package=copy) == "0.5 0"
    helper = copy / "numba_lstm" / "kernels" / "activations.py"
    text = helper.read_text()
    assert "constant(x, 0.2), x, constant(x, 0.5)" in text
    helper.write_text(text.replace("constant(x, 0.2), x, constant(x, 0.5)", "constant(x, 0.2), x, constant(x, 0.25)"))
    assert python(PROGRAM, tmp_path / "cache", package=copy) == "0.25 0"


def test_without_a_usable_folder_it_compiles_anew(tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    said = python(PROGRAM, blocked / "below")
    assert said.startswith(f"0.5 0compiled kernels are not kept, and each process compiles anew: {blocked}: ")
    assert said.count("\n") == 0


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="this platform has no owners and modes")
def test_a_shared_folder_is_not_trusted(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    assert "chmod go-w makes it usable" in python(PROGRAM, shared)
    assert not list(shared.rglob("*.kernel"))


def test_activations_of_ones_own_do_not_fill_the_folder(tmp_path: Path) -> None:
    assert python(OWN_ACTIVATION, tmp_path) == "9.0"
    assert not list(tmp_path.rglob("*.kernel"))


def test_two_processes_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: python(PROGRAM, tmp_path), range(2)))
    assert all(result.startswith("0.5 ") for result in results)
    assert len(list(tmp_path.rglob("*.kernel*"))) == 1
