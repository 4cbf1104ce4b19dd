"""The program that reads pickles with torch, run in this process: what it says of a file, line by line."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from support.torch_files import FAKE_TORCH, lstm_arrays, pickled

from numba_lstm.formats import pytorch_worker


def said(folder: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], bytes]:
    """The lines of JSON that the worker writes for a file that `code` makes, and the bytes behind them."""
    torch = ModuleType("torch")
    exec(FAKE_TORCH, torch.__dict__)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(pytorch_worker, "_limit", lambda *_: None)  # this process is not to be limited
    monkeypatch.setattr(pytorch_worker, "_MOST_VALUES", 20_000)  # less, for it to be quick
    output = io.BytesIO()
    pytorch_worker.main(str(pickled(folder, code)), 1.0, 10**9, output)
    first, second, rest = output.getvalue().split(b"\n", 2)
    return [json.loads(first), json.loads(second)], rest


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("Tensor.numel = 3; loaded = arrays", "is no state dict, for reading its tensors ends in a TypeError"),
        ("loaded = [1]", "holds a list without an LSTM; save it with"),
        ("loaded = {}", "holds a dict without an LSTM"),
        (
            "loaded = {'a': arrays, 'b': arrays}",
            r"holds 2 state dicts with an LSTM in it, at \['a', 'b'\]; expected one; save",
        ),
        ("loaded = dict(arrays, ema={'c': arrays})", r"as torch.save\(checkpoint\['ema'\]\['c'\], 'model.pt'\)"),
        (
            "loaded = {'a': {'b': arrays, 'b.x': arrays['bias_ih_l0']}}; arrays['x'] = arrays['bias_ih_l0']",
            "of one name",
        ),
        ("loaded = {'l': arrays, 1: {'x': arrays['bias_ih_l0']}, '1': {'x': arrays['bias_ih_l0']}}", "of one name"),
        ("loaded = {'a': arrays}; loaded['b'] = loaded", "holds too many values or too deep ones"),
        ("loaded = [[[0] * 10**4] * 10**4] * 10**4", "holds too many values or too deep ones"),
        ("loaded = {1: {2: Tensor(np.ones(4))}}", "holds a dict without an LSTM"),
        ("arrays['bias_ih_l0'].layout = 'sparse'; loaded = arrays", "holds 'bias_ih_l0' as f4, sparse; expected"),
        ("arrays['bias_ih_l0'].dtype = 'c8'; loaded = arrays", "as c8, strided"),
        ("arrays['x'] = Tensor(np.zeros(10**6)); loaded = arrays", "holds 'x', which is larger than the file"),
        (
            "loaded = {f'weight_ih{i}': arrays['bias_ih_l0'] for i in range(10001)}",
            "holds 10001 tensors; expected at most 10000",
        ),
    ],
)
def test_problems(tmp_path: Path, code: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines, rest = said(tmp_path, code, monkeypatch)
    assert lines[0] == {"version": "0.0"} and list(lines[1]) == ["problem"] and rest == b""
    assert re.search(message, lines[1]["problem"]) and len(lines[1]["problem"]) <= 500


def test_tensors_are_named_as_in_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (_, line), rest = said(tmp_path, "loaded = {'epoch': 3, 'net': {'lstm': arrays}}", monkeypatch)
    arrays = lstm_arrays()
    assert (line["place"], line["others"], line["bytes"]) == ("net.lstm", ["epoch"], len(rest))
    assert list(line["tensors"]) == list(arrays)
    for name, array in arrays.items():
        entry = line["tensors"][name]
        first, last = entry["data_offsets"]
        assert (entry["dtype"], entry["shape"]) == ("F32", list(array.shape))
        np.testing.assert_array_equal(np.frombuffer(rest[first:last], "f4").reshape(array.shape), array)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Weights failed.\n error: Unsupported global: GLOBAL numpy._core.x was not", "numpy._core.x"),
        ("Unsupported class __main__.A", "__main__.A"),
        ("Trying to call function a.b", "a.b"),
        ("something else", None),
    ],
)
def test_the_object_that_the_loader_refuses(text: str, name: str | None) -> None:
    assert pytorch_worker._refused_object(text) == name
