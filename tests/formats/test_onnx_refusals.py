"""The ONNX reader's refusals: a crafted file for each, and what it says; none is without a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.onnx_bytes import BYTES
from support.onnx_files import lstm_model
from support.onnx_graphs import ARRAYS, LAYERS, LSTM_NODES
from support.refusals import unreached

import numba_lstm as nl
from numba_lstm.errors import FileFormatError
from numba_lstm.formats import (
    onnx,
    onnx_attributes,
    onnx_lstm,
    onnx_ops,
    onnx_plan,
    onnx_stages,
    onnx_trace,
    onnx_wire,
)

MODULES = (onnx, onnx_attributes, onnx_lstm, onnx_ops, onnx_plan, onnx_stages, onnx_trace, onnx_wire)
CASES = {
    **{f"node: {name}": case for name, case in LSTM_NODES.items()},
    **{f"layers: {name}": case for name, case in LAYERS.items()},
    **{
        f"bytes: {name}": (lambda path, content=content: path.write_bytes(content), words)
        for name, (content, words) in BYTES.items()
    },
}
LIMITS = ((onnx_wire, "_MOST_FIELDS", 20_000), (onnx_trace, "_MOST_WRITTEN", 3 * 2**21))  # less, for these to be quick


def refused(path: Path, **options: Any) -> FileFormatError:
    with pytest.raises(FileFormatError) as caught:
        nl.load(path, format="onnx", **options)
    return caught.value


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FileFormatError]:
    """The error raised for each case."""
    path = tmp_path_factory.mktemp("refused") / "m.onnx"
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for limit in LIMITS:
            patch.setattr(*limit)
        for name, (make, _) in CASES.items():
            make(path)
            try:
                found[name] = FileFormatError(f"no error: {nl.load(path, format='onnx').layers}")
            except FileFormatError as error:
                found[name] = error
    return found


@pytest.mark.parametrize("name", CASES)
def test_refusals(errors: dict[str, FileFormatError], name: str) -> None:
    message, words = str(errors[name]), CASES[name][1]
    assert words in message and words
    assert "refused" in message.partition("m.onnx")[0] and "\n" not in message and len(message) < 700


def test_every_refusal_has_a_file(
    errors: dict[str, FileFormatError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lstm_model(tmp_path / "m.onnx", ARRAYS)
    other = refused(path, config={"class_name": "Dense", "config": {"units": 4}})
    assert "has 3 arrays of weights; expected 2, of the configuration" in str(other)
    monkeypatch.setattr(onnx_plan, "_SECONDS", -1.0)
    late = refused(path)
    assert "the graph takes too long to make sense of; expected LSTM layers in a row" in str(late)
    path.write_bytes(b"")
    with pytest.raises(FileFormatError, match="it is empty; expected an ONNX model") as empty, onnx.open_onnx(path):
        pass
    assert unreached(MODULES, [*errors.values(), other, late, empty.value]) == []
