"""formats/pytorch_writer.py: state dicts that PyTorch's modules take, and what they cannot express."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.torch_files import write_tensors

import numba_lstm as nl
from numba_lstm.errors import ConfigError

SIGMOID: dict[str, Any] = {"recurrent_activation": "sigmoid", "bias_initializer": "random_normal"}


def built(*layers: Any) -> nl.Sequential:
    model = nl.Sequential(layers)
    model.reseed(3)
    model.build((None, None, 3))
    return model


def tensors(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Metadata and arrays, read by hand."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    metadata = header.pop("__metadata__")
    arrays = {}
    for name, entry in header.items():
        begin, end = (8 + length + n for n in entry["data_offsets"])
        dtype = {"F32": "<f4", "F64": "<f8"}[entry["dtype"]]
        arrays[name] = np.frombuffer(content[begin:end], dtype).reshape(entry["shape"])
    return metadata, arrays


CASES = {
    "one": lambda: built(nl.LSTM(4, return_sequences=True, **SIGMOID)),
    "last output": lambda: built(nl.LSTM(4, **SIGMOID)),
    "no bias": lambda: built(nl.LSTM(4, use_bias=False, recurrent_activation="sigmoid"), nl.Dense(2, use_bias=False)),
    "float64": lambda: built(nl.LSTM(4, dtype="float64", **SIGMOID), nl.Dense(2, dtype="float64")),
    "stack": lambda: built(nl.RNN([nl.LSTMCell(4, **SIGMOID), nl.LSTMCell(4, **SIGMOID)]), nl.Dense(2)),
    "both ways": lambda: built(
        nl.Bidirectional(nl.LSTM(4, return_sequences=True, dialect="keras3", **SIGMOID)),
        nl.Bidirectional(nl.LSTM(4, dialect="keras3", **SIGMOID)),
        nl.Dropout(0.0, dialect="keras3"),
        nl.Activation("linear", dialect="keras3"),
        nl.Dense(2, dialect="keras3"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_comes_back_to_the_bit(tmp_path: Path, case: str) -> None:
    model = CASES[case]()
    weights = model.get_weights()
    weights[-1][...] = -0.0  # which a sum with +0.0 would lose
    model.set_weights(weights)
    nl.save(model, tmp_path / "m.safetensors", format="torch")
    again = nl.load(tmp_path / "m.safetensors")
    assert again.get_config() == model.get_config() and again.dialect == model.dialect
    assert again.source.notes == [] and again.source.format == "safetensors of a PyTorch state dict"
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


@pytest.mark.parametrize("case", CASES)
def test_the_arrays_alone_give_the_same_outputs(tmp_path: Path, case: str) -> None:
    model = CASES[case]()
    nl.save(model, tmp_path / "m.safetensors", format="torch")
    metadata, arrays = tensors(tmp_path / "m.safetensors")
    assert metadata["format"] == "pt"
    again = nl.load(write_tensors(tmp_path / "n.safetensors", arrays))
    x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype("f")
    outputs, expected = again.predict(x), model.predict(x)
    assert np.array_equal(outputs if outputs.ndim == expected.ndim else outputs[:, -1], expected)


def test_the_names_are_those_of_the_modules(tmp_path: Path) -> None:
    nl.save(CASES["one"](), tmp_path / "m.safetensors", format="torch")
    _, arrays = tensors(tmp_path / "m.safetensors")
    shapes = {name: array.shape for name, array in arrays.items()}
    assert shapes == {"weight_ih_l0": (16, 3), "weight_hh_l0": (16, 4), "bias_ih_l0": (16,), "bias_hh_l0": (16,)}
    assert not arrays["bias_hh_l0"].any()
    nl.save(CASES["both ways"](), tmp_path / "m.safetensors", format="torch")
    _, arrays = tensors(tmp_path / "m.safetensors")
    assert arrays["lstm.weight_ih_l1_reverse"].shape == (16, 8) and arrays["fc.weight"].shape == (2, 8)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([nl.LSTM(4)], "layer 'lstm' has recurrent_activation='hard_sigmoid', which a PyTorch state dict cannot express"
         "; expected 'sigmoid', the only one that nn.LSTM has; write a .npz or .safetensors file"),
        ([nl.LSTM(4, activation="relu", **SIGMOID)], "layer 'lstm' has activation='relu'"),
        ([nl.LSTM(4, dropout=0.5, **SIGMOID)], "has dropout=0.5"),
        ([nl.LSTM(4, recurrent_dropout=0.5, **SIGMOID)], "has recurrent_dropout=0.5"),
        ([nl.LSTM(4, go_backwards=True, **SIGMOID)], "has go_backwards=True"),
        ([nl.LSTM(4, return_state=True, **SIGMOID)], "has return_state=True"),
        ([nl.LSTM(4, stateful=True, **SIGMOID)], "has stateful=True"),
        ([nl.LSTM(4, time_major=True, **SIGMOID)], "has time_major=True"),
        ([nl.LSTM(4, return_sequences=True, **SIGMOID), nl.LSTM(5, **SIGMOID)], "layer 'lstm_1' has units=5, use_bias="
         "True, which a PyTorch state dict cannot express; expected units=4, use_bias=True as in the layer below"),
        ([nl.Bidirectional(nl.LSTM(4, **SIGMOID), merge_mode="sum")], "layer 'bidirectional' has merge_mode='sum'"),
        ([nl.Bidirectional(nl.LSTM(4, go_backwards=True, **SIGMOID))], "has a forward layer that goes backwards"),
        ([nl.Bidirectional(nl.RNN([nl.LSTMCell(4), nl.LSTMCell(4)]))], "has a stack of cells in each direction"),
        ([nl.Bidirectional(nl.LSTM(4, return_sequences=True, **SIGMOID)), nl.LSTM(4, **SIGMOID)], "model has LSTMs in "
         "one direction and in two"),
        ([nl.LSTM(4, **SIGMOID), nl.Dense(2, "softmax")], "layer 'dense' has activation='softmax', which a PyTorch"),
        ([nl.LSTM(4, **SIGMOID), nl.Dense(2), nl.Dense(2)], "layer 'dense' has the class Dense, which a PyTorch state "
         "dict cannot express; expected LSTM layers and at most one linear Dense behind"),
        ([nl.Masking(), nl.LSTM(4, **SIGMOID)], "layer 'masking' has the class Masking"),
        ([nl.LSTM(4, **SIGMOID), nl.Dropout(0.5)], "layer 'dropout' has the class Dropout"),
        ([nl.LSTM(4, **SIGMOID), nl.Activation("relu")], "layer 'activation' has the class Activation"),
        ([nl.LSTM(4, **SIGMOID), nl.RepeatVector(2), nl.LSTM(4, **SIGMOID)], "has the class RepeatVector"),
        ([nl.Dense(2)], "has no LSTM; expected one or more"),
    ],
)  # fmt: skip
def test_what_cannot_be_expressed(tmp_path: Path, layers: Any, message: str) -> None:
    model = nl.Sequential(layers, name="model")
    model.build((2, None, 3))
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        nl.save(model, tmp_path / "m.safetensors", format="torch")
    assert "\n" not in str(caught.value) and os.listdir(tmp_path) == []


def test_a_model_without_weights(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no weights yet"):
        nl.save(nl.Sequential([nl.LSTM(3)]), tmp_path / "m.safetensors", format="torch")
