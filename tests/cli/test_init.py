"""``numba-lstm init``: new weights that a seed makes again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numba_lstm_cli.main import cli

from numba_lstm import LSTM, Dense, Sequential, load

Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    return lambda *words: runner.invoke(cli, ["init", *(str(word) for word in words)])


def test_the_seed_is_printed_and_makes_the_same_weights(command: Command) -> None:
    result = command("--units", 4, "--input-dim", 3, "a.npz")
    assert (result.exit_code, result.stdout) == (0, "")
    found = re.fullmatch(r"128 parameters, dialect tf1, seed (\d+) -> a\.npz\n", result.stderr)
    assert found is not None
    assert command("--units", 4, "--input-dim", 3, "b.npz", "--seed", found[1]).exit_code == 0
    assert Path("a.npz").read_bytes() == Path("b.npz").read_bytes()
    assert command("--units", 4, "--input-dim", 3, "c.npz").exit_code == 0
    assert Path("a.npz").read_bytes() != Path("c.npz").read_bytes()


def test_all_arguments_reach_the_layer(command: Command) -> None:
    result = command(
        *("--units", 3, "--input-dim", 2, "--activation", "relu", "--recurrent-activation", "sigmoid", "--no-bias"),
        *("--kernel-initializer", "ones", "--recurrent-initializer", "zeros", "--no-unit-forget-bias"),
        *("--kernel-regularizer", "l2", "--recurrent-constraint", "max_norm", "--dropout", 0.1),
        *("--recurrent-dropout", 0.2, "--implementation", 2, "--return-sequences", "--go-backwards"),
        *("--dtype", "float64", "--dialect", "tf1", "--seed", 1, "a.npz"),
    )
    assert result.exit_code == 0, result.output
    model = load("a.npz")
    (layer,) = model.layers
    assert isinstance(layer, LSTM)
    assert (model.dialect, model.dtype, model.input_dim, layer.units) == ("tf1", "float64", 2, 3)
    config = layer.get_config()
    expected = {
        "activation": "relu",
        "recurrent_activation": "sigmoid",
        "use_bias": False,
        "unit_forget_bias": False,
        "dropout": 0.1,
        "recurrent_dropout": 0.2,
        "implementation": 2,
        "return_sequences": True,
        "go_backwards": True,
    }
    assert {key: config[key] for key in expected} == expected
    assert config["kernel_regularizer"]["class_name"] == "L1L2"
    assert config["recurrent_constraint"]["class_name"] == "MaxNorm"
    kernel, recurrent_kernel = layer.get_weights()
    assert np.array_equal(kernel, np.ones((2, 12)))
    assert np.array_equal(recurrent_kernel, np.zeros((3, 12)))


def test_the_defaults_are_those_of_the_class(command: Command) -> None:
    assert command("--units", 3, "--input-dim", 2, "--seed", 1, "a.npz").exit_code == 0
    made = load("a.npz").layers[0].get_config()
    plain = LSTM(3).get_config()
    assert {key: made[key] for key in plain if key not in ("dtype", "name")} == {
        key: plain[key] for key in plain if key not in ("dtype", "name")
    }


def a_configuration(**arguments: object) -> str:
    model = Sequential([LSTM(4, **arguments), Dense(2)])  # type: ignore[arg-type]
    Path("model.json").write_text(json.dumps({"class_name": "Sequential", "config": model.get_config()}))
    return "model.json"


def test_from_a_configuration(command: Command) -> None:
    file = a_configuration(batch_input_shape=(None, 5, 3))
    assert command("--config", file, "--seed", 7, "a.npz").exit_code == 0
    assert command("--config", file, "--seed", 7, "--input-dim", 3, "b.npz").exit_code == 0
    assert load("a.npz").output_shape == (None, 2)
    assert Path("a.npz").read_bytes() == Path("b.npz").read_bytes()
    assert command("--config", a_configuration(), "--input-dim", 6, "c.npz", "--dialect", "keras2").exit_code == 0
    assert (load("c.npz").input_dim, load("c.npz").dialect) == (6, "keras2")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--input-dim", "3"], 2, "Missing option '--units', or '--config'."),
        (["--units", "3"], 2, "Missing option '--input-dim', or '--config'."),
        (["--units", "0", "--input-dim", "3"], 2, "Invalid value for '--units': 0 is not in the range x>=1."),
        (["--config", "open.json"], 2, "Missing option '--input-dim': open.json does not say it."),
        (["--config", "model.json", "--units", "3"], 2, "--units and --config exclude each other: the file says it."),
        (["--config", "model.json", "--no-bias"], 2, "--use-bias and --config exclude each other: the file says it."),
        (["--config", "model.json", "--input-dim", "4"], 2, "--input-dim is 4, but model.json says 3."),
        (["--config", "none.json"], 1, "none.json: No such file or directory"),
        (
            ["--units", "3", "--input-dim", "3", "--activation", "tan"],
            1,
            "activation 'tan' is unknown in TensorFlow 1.15",
        ),
        (["--units", "70000", "--input-dim", "3"], 1, "units is 70000; expected an integer from 1 to 65536"),
        (["--units", "65536", "--input-dim", "3"], 1, ""),
    ],
)
def test_errors(command: Command, words: list[str], code: int, message: str) -> None:
    a_configuration()
    Path("model.json").rename("open.json")
    a_configuration(batch_input_shape=(None, 5, 3))
    result = command(*words, "a.npz")
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert code == 2 or (result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1)
    assert not Path("a.npz").exists()


def test_outputs(command: Command) -> None:
    Path("a.npz").write_text("precious")
    words = ["--units", 3, "--input-dim", 2]
    result = command(*words, "a.npz")
    assert (result.exit_code, result.stderr) == (1, "Error: a.npz exists; use --force to replace it\n")
    assert Path("a.npz").read_text() == "precious"
    assert command(*words, "a.npz", "--force").exit_code == 0
    assert load("a.npz").count_params() == 72
    assert command(*words, "a.pt").exit_code == 1
    assert not Path("a.h5").exists()
