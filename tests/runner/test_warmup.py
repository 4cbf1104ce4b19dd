"""A cache that was built ahead holds all that a model needs, for this machine and for others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from numba_lstm_cli.main import cli
from support.paths import ROOT

import numba_lstm as nl
from numba_lstm.errors import ConfigError, FileFormatError
from numba_lstm.kernel_cache import cache_folder, loader
from numba_lstm.runner import warmup

MODEL = ROOT / "data" / "digits" / "model.h5"
# Nothing of this may compile, nor import numba.
PROGRAM = """
import sys, json, numpy as np, numba_lstm as nl
from numba_lstm.kernels import target
model = nl.load(sys.argv[1])
x = np.load(sys.argv[2])
results = [model.predict(x), model.predict(x[:1]), model.predict(x, lengths=np.arange(len(x)) % 9)]
results.append(model.predict(x.reshape(-1, 8)[:30], window=8))
session = model.session()
results += [session.step(row) for row in x[0]]
print(json.dumps([target.VECTOR_BITS, "numba" in sys.modules, [float(np.sum(result)) for result in results]]))
"""


def ran(folder: Path) -> Any:
    environment = {**os.environ, "NUMBA_LSTM_CACHE_DIR": str(folder)}
    environment.pop("NUMBA_DISABLE_JIT", None)
    command = [sys.executable, "-c", PROGRAM, str(MODEL), str(MODEL.with_name("x.npy"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_model_is_built_into_a_folder_that_all_may_read(tmp_path: Path) -> None:
    model = nl.Sequential([nl.Dense(2)])
    model.build((None, 3))
    nl.save(model, tmp_path / "m.npz")
    result = CliRunner().invoke(cli, ["cache", "build", str(tmp_path / "m.npz"), "--into", str(tmp_path / "c")])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{tmp_path / 'c'}: 1 compiled kernel, ")
    if hasattr(os, "getuid"):
        assert [path.stat().st_mode & 0o777 for path in (tmp_path / "c", *(tmp_path / "c").iterdir())] == [0o755] * 2


@pytest.mark.slow
def test_nothing_is_compiled_after_it(tmp_path: Path) -> None:
    warmup.build([MODEL], into=str(tmp_path / "c"))
    _, with_numba, sums = ran(tmp_path / "c")
    assert not with_numba
    if warmup.CPUS["x86-64-v3"] <= loader.host_features():
        warmup.build([MODEL], cpu="x86-64-v3", into=str(tmp_path / "v3"))
        assert ran(tmp_path / "v3") == [256, False, sums]


def test_what_cannot_be_built_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="cpu is 'pentium'; expected native or one of x86-64-v3, x86-64-v4"):
        warmup.build([MODEL], cpu="pentium")
    monkeypatch.setitem(warmup.CPUS, "x86-64-v4", {"fma", "of_next_year"})
    with pytest.raises(ConfigError, match=r"has no (fma, )?of_next_year; build on one that has"):
        warmup.build([MODEL], cpu="x86-64-v4")
    with pytest.raises(FileFormatError, match=r"the cache cannot be built: .*absent\.h5"):
        warmup.build([tmp_path / "absent.h5"], into=str(tmp_path))
    blocked = tmp_path / "a file"
    blocked.write_text("")
    with pytest.raises(FileFormatError, match=r"the cache cannot be built: .*a file"):
        warmup.build([MODEL], into=str(blocked / "below"))
    result = CliRunner().invoke(cli, ["cache", "build"])
    assert result.exit_code == 2 and "nothing to build; expected models, or --all" in result.stderr


def test_the_folder_inside_the_package_is_looked_in(tmp_path: Path) -> None:
    copy, source = tmp_path / "numba_lstm", Path(cache_folder.__file__).parents[1]
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", "compiled"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_LSTM_CACHE_DIR": str(tmp_path / "cache")}

    def said(program: str) -> str:
        command = [sys.executable, "-c", program]
        options: dict[str, Any] = {
            "env": environment,
            "cwd": tmp_path,
            "capture_output": True,
            "text": True,
            "check": True,
        }
        return str(subprocess.run(command, **options).stdout).strip()

    place, stamp = said("from numba_lstm.kernel_cache.cache_folder import *; print(IN_PACKAGE, source_stamp())").split()
    assert place == str(copy / "compiled") and stamp == cache_folder.source_stamp()
    (copy / "compiled" / stamp).mkdir(parents=True)
    program = (
        "from numba_lstm.kernel_cache.kernel_files import *; print(*[str(e.path) for e in KernelFiles()._further])"
    )
    assert said(program) == str(copy / "compiled" / stamp)
