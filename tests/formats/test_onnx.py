"""formats/onnx.py and its parts: real exports, every plain LSTM node against the operator's definition, the rest."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support import onnx_files
from support.onnx_files import entry, lstm_model, weights
from support.paths import DATA, GOLDENS

import numba_lstm as nl

Array = NDArray[Any]
TOLERANCE = 2e-6
EXPORTS = np.load(DATA / "onnx_exports.npz", allow_pickle=False)
NAMES = sorted({key.partition("/")[0] for key in EXPORTS.files})


def states(h: Array, c: Array) -> list[Array]:
    return [state for pair in zip(h, c, strict=True) for state in pair]


# -- what exporters write --


@pytest.mark.parametrize("name", NAMES)
def test_exports(name: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(EXPORTS[f"{name}/file"].tobytes())
    loaded = nl.load(path)
    x, y = EXPORTS[f"{name}/in0"], EXPORTS[f"{name}/out0"]
    if not name.endswith("_states"):
        assert np.abs(loaded(x) - y).max() < TOLERANCE
        return
    start = states(EXPORTS[f"{name}/in1"], EXPORTS[f"{name}/in2"])
    outputs, ends = loaded.run_rows(x, initial_state=start, return_state=True)
    assert np.abs(outputs - y).max() < TOLERANCE
    for end, expected in zip(ends, states(EXPORTS[f"{name}/out1"], EXPORTS[f"{name}/out2"]), strict=True):
        assert np.abs(end - expected).max() < TOLERANCE
    notes = "\n".join(loaded.source.notes)
    assert "are the initial states: run_rows takes" in notes and "are final states: run_rows gives" in notes


def check_feeds(folder: Path, row: Any) -> None:
    """Run a stored file as its entry says: X with the timesteps first, and what else it is fed with."""
    files = folder / "files"
    loaded = nl.load(files / row["file"])
    assert loaded.dialect == "keras2" and "activations are those of Keras 2" in loaded.source.dialect_from
    if "x" in row:
        assert np.abs(loaded(np.load(files / row["x"])) - np.load(files / row["y"])).max() < TOLERANCE
        return
    fed = {key.removeprefix("feed_"): np.load(files / name) for key, name in row.items() if key.startswith("feed_")}
    given = {key.removeprefix("out_"): np.load(files / name) for key, name in row.items() if key.startswith("out_")}
    x, start, mask = fed["X"], None, None
    assert loaded.time_major
    if "lens" in fed:
        mask = np.arange(len(x))[:, np.newaxis] < fed["lens"]
        start = states(fed["h0"], fed["c0"])
        whole = loaded.run_rows(x, mask=mask, time_major=True)[0]
        assert np.array_equal(loaded.predict(x, lengths=fed["lens"]), whole)
    outputs, ends = loaded.run_rows(x, mask=mask, initial_state=start, time_major=True, return_state=True)
    steps, directions, batch, units = given["Y"].shape
    shaped = outputs.reshape(steps, batch, directions, units).transpose(0, 2, 1, 3)
    assert np.abs(shaped - given["Y"]).max() < TOLERANCE
    assert np.abs(np.stack(ends[::2]) - given["Y_h"]).max() < TOLERANCE
    assert np.abs(np.stack(ends[1::2]) - given["Y_c"]).max() < TOLERANCE


def onnx_rows(folder: Path) -> list[Any]:
    book = folder / "files_torch_onnx.json"
    rows = json.loads(book.read_text())["files"] if book.exists() else []
    return [row for row in rows if row["file"].endswith(".onnx")]


@pytest.mark.parametrize("row", onnx_rows(GOLDENS), ids=lambda row: row["file"])
def test_stored_files(row: Any) -> None:
    check_feeds(GOLDENS, row)


@pytest.mark.goldens
def test_all_stored_files(goldens: Any) -> None:
    rows = onnx_rows(goldens.data)
    assert len(rows) == 4
    for row in rows:
        check_feeds(goldens.data, row)


# -- every plain LSTM node --


def test_saved_and_loaded_again(rng: np.random.Generator, tmp_path: Path) -> None:
    loaded = nl.load(lstm_model(tmp_path / "m.onnx", weights(rng), direction="reverse"))
    nl.save(loaded, tmp_path / "m.npz")
    x = rng.standard_normal((6, 5, 3)).astype(np.float32)
    assert np.array_equal(nl.load(tmp_path / "m.npz")(x), loaded(x))


# -- what is beyond: one line that names it --


refused = partial(onnx_files.refused, longest=500)


# -- bytes that are traps --


def test_files_that_are_none(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    for content, words in (
        (b"", "is empty: it has 0 bytes; expected an ONNX model"),
        (entry(1, 10), "holds no graph; expected an ONNX model"),
        (b"\xff" * 40, "m.onnx"),
        (entry(7, b"")[:1], "m.onnx"),
    ):
        path.write_bytes(content)
        refused(path, words)
    good = lstm_model(path, weights(rng)).read_bytes()
    for length in range(0, len(good), 37):
        path.write_bytes(good[:length])
        refused(path)
