"""Standalone Keras 2.0 to 2.3: versions, and what it gives at masked timesteps. (Its numbers: test_keras_cases.)"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from support.keras_files import small_model, write_h5

import numba_lstm as nl
from numba_lstm.errors import ConfigError
from numba_lstm.formats.keras_versions import dialect_of_version, is_standalone, masked_outputs_of


@pytest.mark.parametrize(
    ("version", "standalone", "dialect"),
    [
        ("2.0.2", True, "tf1"),
        ("2.2.4", True, "tf1"),
        ("2.3.1", True, "tf1"),
        ("2.2.4-tf", False, "tf1"),
        ("2.3.0-tf", False, "keras2"),
        ("2.4.0", False, "keras2"),
        ("2.15.0", False, "keras2"),
        ("3.0.0", False, "keras3"),
    ],
)
def test_versions(version: str, standalone: bool, dialect: str) -> None:
    assert is_standalone(version) is standalone and dialect_of_version(version) == dialect


@pytest.mark.parametrize(
    ("version", "backend", "rules"),
    [
        ("2.0.9", "tensorflow", ("state", "repeat")),
        ("2.2.2", None, ("state", "repeat")),
        ("2.2.3", "tensorflow", ("state", "state")),
        ("2.2.4", "theano", ("repeat", "repeat")),
        ("2.3.0", "tensorflow", ("repeat", "repeat")),
    ],
)
def test_rules(version: str, backend: str | None, rules: tuple[str, str]) -> None:
    assert tuple(masked_outputs_of(version, backend, stacked=stacked) for stacked in (False, True)) == rules


def bidirectional(rule: str | None, **options: Any) -> nl.Sequential:
    layer = nl.Bidirectional(nl.LSTM(4, return_sequences=True, seed=1), name="bi", **options)
    layer._settle(masked_outputs=rule)
    model = nl.Sequential([nl.Masking(), layer])
    model.reseed(1)
    model.build((None, 5, 3))
    return model


def test_a_bidirectional_repeats_the_output_before() -> None:
    x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype("f4")
    x[0, 3:] = 0
    y = bidirectional("repeat")(x)
    zeros = bidirectional(None)(x)
    np.testing.assert_array_equal(y[1], zeros[1])
    np.testing.assert_array_equal(y[0, :3], zeros[0, :3])
    assert (zeros[0, 3:] == 0).all()
    np.testing.assert_array_equal(y[0, 3:, :4], np.repeat(y[0, 2:3, :4], 2, axis=0))  # forwards
    assert (y[0, 3:, 4:] == 0).all()  # backwards: nothing came before
    np.testing.assert_array_equal(bidirectional("repeat").predict(x, lengths=[3, 5]), y)


@pytest.mark.parametrize(("rule", "version"), [("repeat", "2.3.1"), ("state", "2.2.4"), (None, "2.2.4-tf")])
def test_the_rule_is_written_as_a_version(tmp_path: Path, rule: str | None, version: str) -> None:
    model = bidirectional(rule)
    for layer in (model.layers[1].layer, model.layers[1].backward_layer):  # type: ignore[attr-defined]
        layer._settle(masked_outputs=rule if rule == "state" else None)
    nl.save(model, tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        assert file.attrs["keras_version"] == version.encode()
        assert b"masked_outputs" not in file.attrs["model_config"]
    again = nl.load(tmp_path / "m.h5")
    assert again.layers[1].masked_outputs == rule  # type: ignore[attr-defined]
    assert again.get_config() == model.get_config()


def test_rules_that_no_keras_has_together(tmp_path: Path) -> None:
    model = bidirectional("repeat")
    model.add(nl.Bidirectional(nl.LSTM(2, return_sequences=True), name="other"))
    model.build()
    with pytest.raises(ConfigError, match=r"Bidirectional layers differ in masked_outputs, which no Keras can; save a"):
        nl.save(model, tmp_path / "m.h5")
    nl.save(model, tmp_path / "m.npz")
    assert nl.load(tmp_path / "m.npz").get_config() == model.get_config()


def test_a_stack_of_unequal_cells_fails_as_in_keras() -> None:
    layer = nl.RNN([nl.LSTMCell(3), nl.LSTMCell(2)], return_sequences=True)
    layer._settle(masked_outputs="state")
    assert layer(np.ones((1, 4, 3)), mask=np.ones((1, 4), bool)).shape == (1, 4, 2)
    with pytest.raises(ConfigError, match=r"Keras 2.2 fails for a mask and cells of \[3, 2\] units, whose lowest"):
        layer(np.ones((1, 4, 3)), mask=np.zeros((1, 4), bool))


def test_the_initial_state_is_the_output_before_the_first_step() -> None:
    layer, whole = (nl.LSTM(3, seed=1, return_sequences=sequences) for sequences in (False, True))
    mask = np.array([[False, False, True], [False, False, False]])
    h = np.full((2, 3), 0.5, "f4")
    x = np.ones((2, 3, 2), "f4")
    plain = layer(x, mask=mask, initial_state=[h, h])
    layer._settle(masked_outputs="state")
    ruled = layer(x, mask=mask, initial_state=[h, h])
    np.testing.assert_array_equal(ruled[0], plain[0])
    assert (plain[1] == 0).all() and (ruled[1] == 0.5).all()
    whole._settle(masked_outputs="state")
    assert (whole(x, mask=mask, initial_state=[h, h])[:, :2] == 0.5).all()


def test_values_of_the_rule() -> None:
    config = nl.LSTM(3).get_config()
    assert "masked_outputs" not in config
    assert nl.LSTM.from_config({**config, "masked_outputs": "state"}).get_config()["masked_outputs"] == "state"
    with pytest.raises(ConfigError, match="masked_outputs is 'zero'; expected one of 'repeat', 'state'"):
        nl.LSTM.from_config({**config, "masked_outputs": "zero"})


def test_defaults_of_keras_2_3(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "w.h5", small_model("tf1"), version="2.3.1", whole=False)
    layers = [{"class_name": "LSTM", "config": {"units": 4}}, {"class_name": "Dense", "config": {"units": 2}}]
    config = {"class_name": "Sequential", "config": layers}
    for version, activation in (("2.3.1", "sigmoid"), ("2.2.4", "hard_sigmoid")):
        model = nl.load(path, config={**config, "keras_version": version})
        assert model.layers[0].get_config()["recurrent_activation"] == activation
    # The file of the weights tells where the configuration does not.
    assert nl.load(path, config=config).source.dialect_from == "keras_version 2.3.1 in the file"
