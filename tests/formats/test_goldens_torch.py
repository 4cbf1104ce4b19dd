"""The state dicts that the real PyTorch wrote, with its outputs. (Its .pt files: tests marked ``oracle``.)"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import numba_lstm as nl

TOLERANCE = 2e-6


@pytest.mark.goldens
def test_the_state_dicts_of_the_real_pytorch(goldens: Any) -> None:
    files = goldens.data / "files"
    rows = json.loads((goldens.data / "files_torch_onnx.json").read_text())["files"]
    rows = [row for row in rows if row["file"].endswith(".safetensors")]
    assert len(rows) == 6
    for row in rows:
        model = nl.load(files / row["file"])
        x = np.load(files / row["x"])
        expected = np.load(files / (row.get("y_zero_state") or row["y"] or row["y64"]))
        if row["file"].startswith("torch_l1."):  # made without batch_first
            x, expected = x.swapaxes(0, 1), expected.swapaxes(0, 1)
        assert np.abs(model.predict(x) - expected).max() < TOLERANCE, row["file"]
        half = {"torch_net_f16": "float16", "torch_net_bf16": "bfloat16"}.get(row["file"].partition(".")[0])
        assert (f"weights stored as {half} were converted to float32" in model.source.notes) == (half is not None)
        assert model.dtype == ("float64" if "f64" in row["file"] else "float32")


@pytest.mark.goldens
def test_states_of_the_real_pytorch(goldens: Any) -> None:
    files = goldens.data / "files"
    for name, axes in (("torch_l1", (1, 0, 2)), ("torch_l2_bidir", (0, 1, 2))):
        model = nl.load(files / f"{name}.safetensors")
        x, y, h0, c0, hn, cn = (np.load(files / f"{name}_{key}.npy") for key in ("x", "y", "h0", "c0", "hn", "cn"))
        initial = [state for pair in zip(h0, c0, strict=True) for state in pair]
        outputs, final = model.run_rows(x.transpose(axes), initial_state=initial, return_state=True)
        assert np.abs(outputs - y.transpose(axes)).max() < TOLERANCE
        assert np.abs(np.stack(final[0::2]) - hn).max() < TOLERANCE
        assert np.abs(np.stack(final[1::2]) - cn).max() < TOLERANCE
