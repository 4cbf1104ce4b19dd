"""formats/state_dict.py: what is made of a PyTorch state dict, what is assumed, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import naive
import numpy as np
import pytest
from support.torch_files import D, U, linear_arrays, lstm_arrays, write_tensors

import numba_lstm as nl
from numba_lstm.errors import FileFormatError

BATCH_FIRST = "a state dict does not say batch_first: inputs are taken as (batch, timesteps, input_dim)"


def load(tmp_path: Path, arrays: Any, **options: Any) -> nl.Sequential:
    return nl.load(write_tensors(tmp_path / "m.safetensors", arrays, {"format": "pt"}), **options)


def expected(arrays: Any, x: Any, prefix: str, layers: int, bidirectional: bool, linear: str | None) -> Any:
    """nn.LSTM and a Linear as PyTorch's documentation defines them, in float64, on the independent oracle."""
    state = {name: np.float64(array) for name, array in arrays.items()}
    for layer in range(layers):
        outputs = []
        for end in ["", "_reverse"][: 1 + bidirectional]:
            place = f"_l{layer}{end}"
            bias = state.get(f"{prefix}bias_ih{place}", np.zeros(4 * U)) + state.get(f"{prefix}bias_hh{place}", 0)
            cell = (state[f"{prefix}weight_ih{place}"].T, state[f"{prefix}weight_hh{place}"].T, bias)
            found = naive.sequence(x[:, ::-1] if end else x, cell, recurrent_activation="sigmoid")[0]
            outputs.append(found[:, ::-1] if end else found)
        x = np.concatenate(outputs, axis=-1)
    if linear is None:
        return x
    last = np.concatenate([x[:, -1, :U], x[:, 0, U:]], axis=-1)
    return last @ state[f"{linear}.weight"].T + state.get(f"{linear}.bias", 0)


@pytest.mark.parametrize("prefix", ["", "lstm.", "module.encoder.rnn."])
@pytest.mark.parametrize(("layers", "bidirectional", "bias"), [(1, False, True), (3, False, False), (2, True, True)])
@pytest.mark.parametrize("linear", [None, "fc", "module.head.0"])
def test_outputs(tmp_path: Path, prefix: str, layers: int, bidirectional: bool, bias: bool, linear: str | None) -> None:
    arrays = lstm_arrays(prefix, layers, bidirectional, bias)
    if linear is not None:
        arrays |= linear_arrays(linear, U * (1 + bidirectional), bias)
    model = load(tmp_path, arrays)
    x = np.random.default_rng(0).standard_normal((2, 5, D)).astype("f")
    truth = expected(arrays, np.float64(x), prefix, layers, bidirectional, linear)
    assert np.abs(model.predict(x) - truth).max() < 2e-6
    source = model.source
    assert (source.format, source.producer, source.dialect) == ("safetensors of a PyTorch state dict", "PyTorch", "tf1")
    named = repr(prefix[:-1]) if prefix else "the LSTM"
    if linear is None:
        joined = ", those of both directions joined at each timestep" * bidirectional
        assert source.notes == [
            BATCH_FIRST,
            f"a state dict does not say what is done with the outputs of {named}: all of them are given, as nn.LSTM "
            f"gives them{joined}, with no activation, pooling or dropout behind",
        ]
    else:
        each = " of each direction" * bidirectional
        ends = ", forward's at the last timestep joined with backward's at the first, which is not out[:, -1]"
        assert source.notes == [
            BATCH_FIRST,
            f"a state dict does not say what is between {named} and {linear!r}: {linear!r} is taken for a Linear "
            f"behind the last output{each} of {named}{ends * bidirectional}, with no activation, pooling or dropout "
            "between or behind; an ONNX export says it",
        ]
    wheres = [weight.where for weight in source.weights]
    assert wheres[0] == f"{prefix}weight_ih_l0, transposed"
    assert not bias or wheres[2] == f"{prefix}bias_ih_l0 + bias_hh_l0"


@pytest.mark.parametrize(
    ("linear", "might"),
    [
        ({"fc.weight": np.ones((D, U), "f"), "fc.bias": np.ones(D, "f")}, True),
        ({"fc.weight": np.ones((2, U), "f"), "fc.bias": np.ones(2, "f")}, False),
        ({"emb.weight": np.ones((9, U), "f")}, True),  # behind an LSTM whose input_dim is its units
        ({"fc.weight": np.ones((9, U), "f"), "fc.bias": np.ones(9, "f")}, False),
    ],
)
def test_a_linear_that_might_stand_in_front(tmp_path: Path, linear: Any, might: bool) -> None:
    arrays = lstm_arrays()
    if len(next(iter(linear.values()))) == 9:
        arrays["weight_ih_l0"] = arrays["weight_hh_l0"]
    notes = load(tmp_path, arrays | linear).source.notes
    assert ("; by its shape it might stand in front of the LSTM, too" in notes[1]) == might


def test_the_arrays_of_an_lstm_cell(tmp_path: Path) -> None:
    arrays = {name.replace("_l0", ""): array for name, array in lstm_arrays("cell.").items()}
    model = load(tmp_path, arrays)
    assert [layer.name for layer in model.layers] == ["lstm"]
    assert np.array_equal(model.get_weights()[0], arrays["cell.weight_ih"].T)
    expected = "nor how an nn.LSTMCell is called: 'cell' takes all timesteps in order, from states of zeros"
    assert model.source.notes[1] == expected


def test_a_configuration_stands_in_for_what_is_assumed(tmp_path: Path) -> None:
    arrays = lstm_arrays("a.") | linear_arrays("b")
    layers = [nl.LSTM(U, recurrent_activation="sigmoid", return_sequences=True), nl.TimeDistributed(nl.Dense(2))]
    model = load(tmp_path, arrays, config={"class_name": "Sequential", "config": nl.Sequential(layers).get_config()})
    assert model.source.notes == [] and model.output_shape == (None, None, 2)
    with pytest.raises(FileFormatError, match=r"holds 5 weights, .*; expected \['rnn/kernel'.*those of the config"):
        load(tmp_path, arrays, config={"units": 4})


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_configuration_of_other_directions(tmp_path: Path, bidirectional: bool) -> None:
    """Two layers are not two directions, though the weights would fit where there are as many features as units."""
    arrays = lstm_arrays("", 1 if bidirectional else 2, bidirectional)
    if not bidirectional:
        arrays["weight_ih_l0"] = arrays["weight_ih_l1"]
    lstm = nl.LSTM(U, recurrent_activation="sigmoid", return_sequences=True)
    layers = [lstm, nl.LSTM(U)] if bidirectional else [nl.Bidirectional(lstm)]
    config = {"class_name": "Sequential", "config": nl.Sequential(layers).get_config()}
    held = "both directions" if bidirectional else "one direction"
    with pytest.raises(FileFormatError, match=f"holds an LSTM in {held}; the configuration describes another"):
        load(tmp_path, arrays, config=config)


def without(arrays: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: array for name, array in arrays.items() if name not in names}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (linear_arrays(), "holds ['fc.weight (2, 4)', 'fc.bias (2,)']; expected weight_ih_l0"),
        (lstm_arrays("a.") | lstm_arrays("b."), "holds the LSTMs 'a', 'b'; expected one nn.LSTM"),
        (lstm_arrays("model.lstm.") | lstm_arrays("ema.lstm."), "'ema.lstm', 'model.lstm'; expected one nn.LSTM and"),
        (lstm_arrays() | {"weight_ih": np.zeros((16, 3), "f")}, "holds the LSTMs ''; expected"),
        (lstm_arrays() | {"weight_hr_l0": np.zeros((2, 4), "f")}, "'weight_hr_l0' is a projection (proj_size), which"),
        (without(lstm_arrays(), "bias_hh_l0"), "expected weights and both biases"),
        (without(lstm_arrays(), "weight_hh_l0"), "for layer 0; expected weights and both biases"),
        (without(lstm_arrays(layers=2), "bias_hh_l1", "bias_ih_l1"), "has biases in some layers of its LSTM only"),
        ({k: v for k, v in lstm_arrays(layers=3).items() if "_l1" not in k}, "holds the layers ['l0', 'l2'] of an"),
        ({k: v for k, v in lstm_arrays(layers=2, bidirectional=True).items() if "l1_rev" not in k}, "none left out"),
        (
            lstm_arrays() | linear_arrays() | linear_arrays("out", 2),
            "beside its LSTM, which gives 4 features; expected",
        ),
        (lstm_arrays() | linear_arrays(width=5), "holds ['fc.weight (2, 5)', 'fc.bias (2,)'] beside its LSTM"),
        (lstm_arrays() | {"emb.weight": np.zeros((2, 4, 1), "f")}, "'emb.weight (2, 4, 1)'"),
        (lstm_arrays() | {"fc.weight": np.zeros((2, 4), "f"), "fc.bias": np.zeros(3, "f")}, "beside its LSTM"),
        (lstm_arrays() | {"bn.running_mean": np.zeros(4, "f")}, "['bn.running_mean (4,)'] beside its LSTM"),
        (
            lstm_arrays() | {f"m.{part}.{kind}": np.zeros(4, "f") for part in "abcdefghij" for kind in ("w", "v")},
            "holds 20 arrays of 'm.a', 'm.b', 'm.c', 'm.d', 'm.e', 'm.f', 'm.g', 'm.h', 'm.i', 'm.j' beside its LSTM",
        ),
        ({k: v[:12] for k, v in lstm_arrays().items()}, "of an nn.LSTM of 4 units; it is a GRU's"),
        ({k: v[:4] for k, v in lstm_arrays().items()}, "has shape (4, 3); expected (16, 3) in layer 0"),
        (lstm_arrays() | {"weight_ih_l0": np.zeros(16, "f")}, "'weight_ih_l0' has shape (16,); expected (16, 16)"),
        (lstm_arrays() | {"weight_ih_l0": np.zeros((), "f")}, "'weight_ih_l0' has shape (); expected (16,)"),
        (lstm_arrays() | {"weight_hh_l0": np.zeros((0, 0), "f")}, "of an nn.LSTM of 0 units"),
        (lstm_arrays(layers=2) | {"weight_ih_l1": np.zeros((16, 8), "f")}, "expected (16, 4) in layer 1"),
    ],
)
def test_what_is_refused(tmp_path: Path, arrays: Any, message: str) -> None:
    with pytest.raises(FileFormatError, match=re.escape(message)) as caught:
        load(tmp_path, arrays)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(tmp_path / "m.safetensors"))


def test_infinities_are_added_without_a_word(tmp_path: Path) -> None:
    arrays = lstm_arrays()
    arrays["bias_ih_l0"][:3], arrays["bias_hh_l0"][:3] = np.inf, [-np.inf, np.inf, 1]
    bias = load(tmp_path, arrays).get_weights()[2]
    assert np.isnan(bias[0]) and np.isposinf(bias[1:3]).all()


@pytest.mark.parametrize(
    ("dtypes", "values", "total"),
    [
        (("float16", "float16"), (2048, 1), 2049),  # one that float16 would round away
        (("float16", "float32"), (2048, 2**-10), 2048 + 2**-10),
        (("float32", "float16"), (2**-10, 2048), 2048 + 2**-10),
        (("float32", "float32"), (2**24, 1), 2**24),
        (("float64", "float64"), (1, 2**-40), 1 + 2**-40),
        (("float32", "float64"), (1, 2**-40), 1 + 2**-40),
        (("float16", "float16"), (60000, 60000), 120000),
    ],
)
def test_halves_of_a_bias_are_added_in_float32_or_more(tmp_path: Path, dtypes: Any, values: Any, total: float) -> None:
    arrays = lstm_arrays()
    wide = "float64" if "float64" in dtypes else "float32"
    arrays = {name: array.astype(wide) for name, array in arrays.items()}
    for name, dtype, value in zip(("bias_ih_l0", "bias_hh_l0"), dtypes, values, strict=True):
        arrays[name] = np.full(16, value, dtype)
    bias = load(tmp_path, arrays).get_weights()[2]
    assert bias.dtype == wide and (bias == total).all()


def test_very_many_layers_take_a_moment(tmp_path: Path) -> None:
    one = np.zeros((4, 1), "f")
    arrays = {f"weight_{kind}_l{layer}": one for layer in range(1000) for kind in ("ih", "hh")}
    assert len(load(tmp_path, arrays).layers) == 1000
    with pytest.raises(FileFormatError, match=r"beside its LSTM"):
        load(tmp_path, arrays | {"weight_ih_l1000": one, "weight_hh_l1000": one})
