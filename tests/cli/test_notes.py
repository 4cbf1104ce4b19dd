"""Notes of what a file does not say: the same ones from every command and from the library."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numba_lstm_cli.main import cli
from support.torch_files import D, U, linear_arrays, lstm_arrays, write_tensors

import numba_lstm as nl

COMMANDS = {
    "run": ["run", "m.safetensors", "x.npy", "-o", "y.npy"],
    "run --verbose": ["run", "m.safetensors", "x.npy", "-o", "y.npy", "--verbose"],
    "run --progress json": ["run", "m.safetensors", "x.npy", "-o", "y.npy", "--progress", "json"],
    "check": ["check", "m.safetensors", "x.npy", "expected.npy"],
    "inspect": ["inspect", "m.safetensors"],
    "inspect --json": ["inspect", "m.safetensors", "--json"],
    "convert": ["convert", "m.safetensors", "m.npz"],
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize(
    ("bidirectional", "linear", "said"),
    [
        (False, True, ["batch_first", "the last output of 'lstm'", "no activation, pooling or dropout between"]),
        (True, True, ["backward's at the first, which is not out[:, -1]", "no activation, pooling or dropout between"]),
        (True, False, ["all of them are given", "both directions joined at each timestep", "no activation"]),
    ],
)
def test_what_a_state_dict_does_not_say(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    bidirectional: bool,
    linear: bool,
    said: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    arrays = lstm_arrays("lstm.", 1, bidirectional) | (linear_arrays(width=U * (1 + bidirectional)) if linear else {})
    model = nl.load(write_tensors(Path("m.safetensors"), arrays))
    assert len(model.source.notes) == 2
    x = np.ones((2, 5, D), np.float32)
    np.save("x.npy", x)
    np.save("expected.npy", model.predict(x))
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0
    told = result.stdout if "inspect" in words else result.stderr
    if "json" in " ".join(words):
        told = "\n".join(json.loads(told.splitlines()[-1] if "run" in words else told)["notes"])
    for note in model.source.notes:
        assert note in told
    assert all(part in told for part in said)
