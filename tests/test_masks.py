"""Masks on their way through models, beside what the real Keras gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import mask_models
from support.paths import DATA

import numba_lstm as nl
from numba_lstm import layers
from numba_lstm.errors import ConfigError, NumbaLSTMError, ShapeError
from numba_lstm.formats import from_config
from numba_lstm.layers import InputLayer
from numba_lstm.runner import run_npy

MASKS = DATA / "masks"
SPECS = mask_models.specs()
KERAS = {system: np.load(MASKS / f"{system}.npz") for system in ("tf1", "keras2", "keras3")}
CASES = np.load(MASKS / "cases.npz")
CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # weights of this size saturate the gates; Keras's own error is as large


def made(entry: Any, dialect: str) -> Any:
    if isinstance(entry, list) and isinstance(entry[0], str):
        options = next((part for part in entry[1:] if isinstance(part, dict)), {})
        arguments = [made(part, dialect) for part in entry[1:] if not isinstance(part, dict)]
        cls = getattr(layers, entry[0])
        own = {"dialect": dialect}
        if entry[0] == "LSTM":
            # The defaults of tf.keras.layers.LSTM, which the models of Keras 2 and 3 were made of.
            own["recurrent_activation"] = "hard_sigmoid" if dialect == "tf1" else "sigmoid"
        return cls(*arguments, **own, **options)
    return entry


def model_of(name: str, dialect: str) -> nl.Sequential:
    spec = SPECS[name]
    first = InputLayer(batch_input_shape=(None, *spec["shape"]), dialect=dialect)
    model = nl.Sequential([first, *(made(entry, dialect) for entry in spec["layers"])])
    model.build()
    model.set_weights(mask_models.weights([weight.shape for weight in model.get_weights()]))
    return model


@pytest.mark.parametrize("dialect", KERAS)
@pytest.mark.parametrize("name", SPECS)
def test_models_beside_keras(name: str, dialect: Any) -> None:
    x, mask = mask_models.inputs(name, SPECS[name])
    keras = KERAS[dialect]
    if f"{name}/error" in keras:
        with pytest.raises(NumbaLSTMError):
            model_of(name, dialect)(x, mask=mask)
        return
    model = model_of(name, dialect)
    np.testing.assert_allclose(model(x, mask=mask), keras[f"{name}/y"], **CLOSE)
    if mask is None:
        np.testing.assert_array_equal(model.predict(x), model(x))


@pytest.mark.parametrize("name", sorted({key.rpartition("/")[0] for key in CASES.files}))
def test_models_as_they_were_saved(name: str) -> None:
    model = from_config(json.loads(str(CASES[f"{name}/config"])), name.partition("_")[0])
    model.set_weights([CASES[f"{name}/w{i}"] for i in range(len(model.weight_names()))])
    batch = int(CASES[f"{name}/batch"]) or 4  # few rows, whose kernels are compiled already
    mask = CASES[f"{name}/mask"] if f"{name}/mask" in CASES.files else None
    x = CASES[f"{name}/x"]
    y = model.predict(x, batch_size=batch) if mask is None else model(x, mask=mask)
    np.testing.assert_allclose(y, CASES[f"{name}/y"], rtol=1e-5, atol=3e-6)


def test_lengths_hold_beside_the_masks_of_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Padding stays padding: a padded row gives the outputs of the unpadded one, with any masks that the model makes.
    monkeypatch.chdir(tmp_path)
    for name in ("masking again", "two maskings", "words", "each masking", "given to words without masks, sequential"):
        for dialect in ("tf1", "keras2", "keras3"):
            model, (x, _) = model_of(name, dialect), mask_models.inputs(name, SPECS[name])
            noise = x.copy()
            noise[:, 4:] = 3
            lengths = np.full(len(x), 4)
            y = model.predict(noise, lengths=lengths)
            cut = model_of(name, dialect)
            cut.build((None, None, *SPECS[name]["shape"][1:]))  # for any number of timesteps
            expected = cut(x[:, :4])
            np.testing.assert_array_equal(y[:, :4] if y.ndim > 2 else y, expected)
            np.save("x.npy", noise)
            np.save("lengths.npy", lengths)
            run_npy(model, "x.npy", "y.npy", lengths="lengths.npy", force=True)
            np.testing.assert_array_equal(np.load("y.npy"), y)


def test_a_mask_that_has_no_effect_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = "given to words without masks, sequential"
    x, mask = mask_models.inputs(name, SPECS[name])
    np.save("x.npy", x)
    np.save("mask.npy", mask)
    report = run_npy(model_of(name, "keras2"), "x.npy", "y.npy", mask="mask.npy")
    assert "the mask that is given ends at embedding (Embedding), as in Keras" in report.notes
    np.testing.assert_allclose(np.load("y.npy"), KERAS["keras2"][f"{name}/y"], **CLOSE)
    dense = nl.Sequential([nl.Dense(3), nl.LSTM(3)])
    dense.build((None, None, 2))
    np.save("x.npy", np.ones((2, 4, 2), np.float32))
    np.save("mask.npy", np.ones((2, 4)))
    assert run_npy(dense, "x.npy", "z.npy", mask="mask.npy").notes == ()


def test_time_major_in_both_ways_beside_tensorflow_1() -> None:
    # TensorFlow 1.15 turns the batch round there instead of the timesteps; 2.15 does not.
    for dialect in ("tf1", "keras2"):
        keras = np.load(MASKS / f"time_major__{dialect}.npz")
        layer = nl.Bidirectional(nl.LSTM(4, return_sequences=True, time_major=True, dialect=dialect))
        layer.build((None, None, 2))
        layer.set_weights([keras[f"w{i}"] for i in range(6)])
        y, forward, backward = layer(keras["x"]), slice(0, 4), slice(4, 8)
        np.testing.assert_allclose(y[..., forward], keras["y"][..., forward], **CLOSE)
        ours = y if dialect == "keras2" else y[::-1, ::-1]
        np.testing.assert_allclose(ours[..., backward], keras["y"][..., backward], **CLOSE)


def test_masks_of_more_axes() -> None:
    model = model_of("each lstm", "keras2")
    x = np.random.default_rng(0).standard_normal((5, 4, 6, 3), np.float32)
    mask = np.random.default_rng(1).random((5, 4, 6)) < 0.6
    layer = nl.TimeDistributed(nl.LSTM(3, seed=1))
    expected = np.stack([layer.layer(row, mask=own) for row, own in zip(x, mask, strict=True)])
    np.testing.assert_array_equal(layer(x, mask=mask), expected)
    assert layer.compute_mask(x, mask).shape == (5, 4)
    for wrong in ((5, 3), (5, 4, 5), (5, 4, 6, 3)):
        with pytest.raises(ShapeError, match="mask has shape"):
            model(x, mask=np.ones(wrong))
    keras3 = nl.Sequential([nl.Masking(dialect="keras3"), nl.TimeDistributed(nl.LSTM(3, dialect="keras3"))])
    keras3.add(nl.LSTM(2, dialect="keras3"))
    with pytest.raises(
        ShapeError, match=r"lstm: the mask that comes in has shape \(5, 4, 6\); expected \(batch, times"
    ):
        keras3(x)


def test_methods_raise_where_keras_raises() -> None:
    x, mask = np.ones((2, 3, 4), np.float32), np.ones((2, 3), bool)
    with pytest.raises(ConfigError, match="Flatten does not support masking"):
        nl.Flatten().compute_mask(x, mask)
    with pytest.raises(ConfigError, match="Flatten does not support masking"):
        nl.TimeDistributed(nl.Flatten(dialect="keras2")).compute_mask(x[:, :, np.newaxis], mask[:, :, np.newaxis])
