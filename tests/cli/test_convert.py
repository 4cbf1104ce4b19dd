"""``numba-lstm convert``: from one kind of file to another, and the notes about it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numba_lstm_cli.convert import TARGETS
from numba_lstm_cli.main import cli
from support.paths import ROOT
from support.torch_files import linear_arrays, lstm_arrays, write_tensors

from numba_lstm import formats, load

DATA = ROOT / "data"
Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    return lambda *words: runner.invoke(cli, ["convert", *(str(word) for word in words)])


def test_from_kind_to_kind_and_back(command: Command) -> None:
    source = DATA / "digits" / "model.h5"
    result = command(source, "a.safetensors")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == (
        f"{source} (Keras HDF5 model, Keras 2.15.0; dialect keras2: keras_version 2.15.0 in the file): "
        "5,578 parameters in float32 -> a.safetensors (safetensors)\n"
    )
    for before, after in (("a.safetensors", "b.npz"), ("b.npz", "c.h5"), ("c.h5", "d.safetensors")):
        assert command(before, after).exit_code == 0
    assert Path("a.safetensors").read_bytes() == Path("d.safetensors").read_bytes()
    first, last = load(source), load("d.safetensors")
    assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), last.get_weights(), strict=True))
    assert first.layers[0].get_config() == last.layers[0].get_config()


def test_what_is_assumed_is_said(command: Command) -> None:
    write_tensors(Path("net.safetensors"), lstm_arrays("lstm.") | linear_arrays())
    result = command("net.safetensors", "net.h5", "--dialect", "keras3")
    assert result.exit_code == 0
    assert result.stderr == (
        "note: a state dict does not say batch_first: inputs are taken as (batch, timesteps, input_dim)\n"
        "note: a state dict does not say what is between 'lstm' and 'fc': 'fc' is taken for a Linear behind the last "
        "output of 'lstm', with no activation, pooling or dropout between or behind; an ONNX export says it\n"
        "net.safetensors (safetensors of a PyTorch state dict, unknown; dialect keras3: as given): "
        "138 parameters in float32 -> net.h5 (h5)\n"
    )
    assert load("net.h5").dialect == "keras3"
    assert command("net.h5", "again.safetensors", "--to", "torch").exit_code == 0
    assert load("again.safetensors").source.format == "safetensors of a PyTorch state dict"


def test_a_configuration_of_its_own(command: Command) -> None:
    np.savez("cell.npz", **{"kernel": np.zeros((3, 16)), "recurrent_kernel": np.zeros((4, 16)), "bias": np.ones(16)})
    Path("cell.json").write_text('{"units": 4, "recurrent_activation": "sigmoid"}')
    assert command("cell.npz", "cell.safetensors", "--config", "cell.json").exit_code == 0
    (layer,) = load("cell.safetensors").layers
    assert layer.get_config()["cell"]["config"]["recurrent_activation"] == "sigmoid"


def test_another_dialect_is_another_hard_sigmoid(command: Command) -> None:
    result = command(DATA / "sunspots" / "model.h5", "a.h5", "--dialect", "keras3")
    assert result.exit_code == 0
    note = "note: hard_sigmoid is that of Keras 3, as --dialect says; the dialect of the file is ignored\n"
    assert result.stderr.startswith(note) and load("a.h5").dialect == "keras3"


def test_what_a_target_cannot_express_is_refused(command: Command) -> None:
    result = command(DATA / "digits" / "model.h5", "a.safetensors", "--to", "torch")
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "Error: layer 'dense' has activation='softmax', which a PyTorch state dict cannot express; expected 'linear'"
    )
    assert os.listdir() == []


def test_outputs_are_not_replaced_unless_told_to(command: Command) -> None:
    source = DATA / "digits" / "model.h5"
    Path("a.npz").write_text("mine")
    result = command(source, "a.npz")
    assert result.exit_code == 1 and "a.npz exists; use --force to replace it" in result.stderr
    assert Path("a.npz").read_text() == "mine"
    assert command(source, "a.npz", "--force").exit_code == 0
    assert load("a.npz").count_params() == 5578
    result = command("a.npz", "./a.npz", "--force")
    assert result.exit_code == 1 and "a.npz is the model itself; expected another file to write" in result.stderr


def test_kinds_that_are_not_written(command: Command) -> None:
    for output, message in (("a.onnx", "of a kind that is not written"), ("a.pth", "would be a pickle")):
        result = command(DATA / "digits" / "model.h5", output)
        assert result.exit_code == 1 and message in result.stderr and result.stderr.count("\n") == 1
    assert command(DATA / "digits" / "model.h5", "a.npz", "--to", "onnx").exit_code == 2
    assert list(TARGETS) == list(formats._WRITERS)
