"""The command on the stored files: real ones give Keras's outputs, damaged and hostile ones one line."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numba_lstm_cli.main import cli

pytestmark = pytest.mark.goldens


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*words: object) -> Result:
    """The command's result; an error must be one line and leave nothing."""
    Path("y.npy").unlink(missing_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = CliRunner().invoke(cli, [str(word) for word in words])
    shown = f"{' '.join(Path(str(word)).name for word in words)}: {result.output}"
    assert result.exit_code in (0, 1), shown
    if result.exit_code == 1:
        assert result.stderr.startswith("Error: "), shown
        assert result.stderr.count("\n") == 1, shown
        assert "unexpected" not in result.stderr, shown
    assert os.listdir() == (["y.npy"] if words[0] == "run" and result.exit_code == 0 else []), shown
    return result


KINDS = {"npy": 22, "npz": 12, "h5": 13, "keras": 5, "onnx": 2, "json": 12}


@pytest.mark.parametrize("kind", KINDS)
def test_bad_files(goldens: Any, kind: str) -> None:
    bad = goldens.data / "bad"
    expected = goldens.arrays("bad_results.npz")
    weights, x = bad / "good_weights.npz", bad / "good.npy"
    entries = [entry for entry in goldens.json("bad.json")["files"] if entry["kind"] == kind]
    assert len(entries) >= KINDS[kind]
    for entry in entries:
        file = bad / entry["file"]
        if kind == "npy":
            results = [command("run", weights, file, "-o", "y.npy")]
        elif kind == "json":
            results = [command("inspect", file), command("run", weights, x, "-o", "y.npy", "--config", file)]
        else:
            results = [command("inspect", file), command("run", file, x, "-o", "y.npy")]
        if entry["expect"] == "error":
            assert results[-1].exit_code == 1, f"{entry['file']}: {results[-1].output}"
        elif entry["expect"] == "ok" and kind == "npy":
            assert results[-1].exit_code == 0, f"{entry['file']}: {results[-1].output}"
            np.testing.assert_allclose(np.load("y.npy"), expected[f"{entry['file']}/y"], rtol=0, atol=2e-6)


@pytest.mark.parametrize("system", ["tf115", "tf215", "k3"])
def test_real_files(goldens: Any, system: str) -> None:
    files = goldens.data / "files"
    x = files / f"{system}_x.npy"
    models = sorted(files.glob(f"{system}_*.model.h5"))
    assert models
    for model in models:
        base = str(model).removesuffix(".model.h5")
        limits = [x, f"{base}_y.npy", "--rtol", 0, "--atol", 2e-6]
        calls: list[list[object]] = [[model, *limits]]
        if system != "k3":
            calls.append([f"{base}.weights_legacy.h5", *limits, "--config", f"{base}.json"])
        if system != "tf115":
            calls += [[f"{base}.keras", *limits], [f"{base}.weights.h5", *limits, "--config", f"{base}.keras"]]
        for words in calls:
            result = command("check", *words)
            assert result.exit_code == 0, result.output
            assert "the same: all " in result.stdout
