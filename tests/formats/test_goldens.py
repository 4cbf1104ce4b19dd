"""The files that the real Keras wrote, with its outputs, and the damaged ones: what each is expected to do."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.paths import GOLDENS

import numba_lstm as nl
from numba_lstm.errors import NumbaLSTMError
from numba_lstm.formats.npy import open_npy

TOLERANCE = 2e-6
DIALECTS = {"tf115": "tf1", "tf215": "keras2", "k3": "keras3"}


# How a file is read -> what stands in for the configuration that it does not have.
KINDS = {
    ".keras": None,
    ".model.h5": None,
    ".weights.h5": "{base}.keras",
    ".weights_legacy.h5": "{base}.json",
}


def readable(folder: Path) -> list[tuple[str, Any, str]]:
    """Entries of files_*.json that Keras wrote and this version reads: the system, the entry, its kind."""
    found = []
    for system in DIALECTS:
        book = folder / f"files_{system}.json"
        for row in json.loads(book.read_text())["files"] if book.exists() else []:
            for kind in KINDS:
                if row["file"].endswith(kind) and (folder / "files" / row["file"]).exists():
                    found.append((system, row, kind))
    return found


def check_outputs(folder: Path, system: str, row: Any, kind: str) -> None:
    files = folder / "files"
    config = KINDS[kind] and files / KINDS[kind].format(base=f"{system}_{row['model']}")
    model = nl.load(files / row["file"], config=config)
    assert model.dialect == DIALECTS[system] and model.dtype == "float32"
    assert [list(weight.shape) for weight in model.source.weights] == row["weight_shapes"]
    x, y, y64 = (np.load(files / row[key]) for key in ("x", "y", "y64"))
    assert np.abs(model(x) - y).max() < TOLERANCE
    assert np.abs(model(x, precision="float64") - y64).max() < 1e-12


@pytest.mark.parametrize("entry", readable(GOLDENS), ids=lambda entry: entry[1]["file"])
def test_files_of_the_real_keras(entry: Any) -> None:
    check_outputs(GOLDENS, *entry)


@pytest.mark.goldens
def test_all_files_of_the_real_keras(goldens: Any) -> None:
    entries = readable(goldens.data)
    assert len(entries) == 27
    for entry in entries:
        check_outputs(goldens.data, *entry)


@pytest.mark.goldens
def test_the_other_files_end_in_one_line(goldens: Any) -> None:
    read = {row["file"] for _, row, _ in readable(goldens.data)}
    for book in sorted(goldens.data.glob("files_*.json")):
        for row in json.loads(book.read_text())["files"]:
            if row["file"] not in read and not row["file"].endswith((".safetensors", ".pt", ".onnx")):
                with pytest.raises(NumbaLSTMError) as caught:
                    nl.load(goldens.data / "files" / row["file"])
                assert "does not read" in str(caught.value) and "\n" not in str(caught.value)


def use(folder: Path, row: Any) -> tuple[Any, Any]:
    """Do with a damaged file what it is for; the outputs it gives, and those that are expected."""
    path = folder / row["file"]
    weights = folder / "bad" / "good_weights.npz"
    if row["kind"] == "npy":
        model = nl.load(weights)
        with open_npy(path) as reader:
            outputs = model.predict(reader.read(model.dtype))
        with np.load(folder / "bad_results.npz") as results:
            return outputs, results[f"{row['file'].removeprefix('bad/')}/y"]
    if row["kind"] == "json":
        nl.load(weights, config=path)
    else:
        legacy = row["kind"] == "h5" and not row["file"].endswith(("lambda.h5", "not_json.h5"))
        nl.load(path, config={"units": 4} if legacy else None)
    return None, None


def check_bad(folder: Path, row: Any, work: Path) -> None:
    row = {**row, "file": f"bad/{row['file']}"}
    before = os.listdir(work)
    try:
        outputs, expected = use(folder, row)
    except NumbaLSTMError as error:
        assert row["expect"] in ("error", "no_crash"), error
        assert "\n" not in str(error) and len(str(error)) < 600
    else:
        assert row["expect"] in ("ok", "no_crash"), f"{row['file']} was accepted"
        if expected is not None:
            assert np.abs(outputs - expected).max() < TOLERANCE
    assert os.listdir(work) == before == []


def bad_rows(folder: Path) -> list[Any]:
    return [
        row for row in json.loads((folder / "bad.json").read_text())["files"] if (folder / "bad" / row["file"]).exists()
    ]


@pytest.mark.parametrize("row", bad_rows(GOLDENS), ids=lambda row: row["file"])
def test_damaged_files(row: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_bad(GOLDENS, row, tmp_path)


@pytest.mark.goldens
def test_all_damaged_files(goldens: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = bad_rows(goldens.data)
    assert len(rows) >= 80
    for row in rows:
        check_bad(goldens.data, row, tmp_path)
