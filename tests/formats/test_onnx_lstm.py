"""The LSTM node of ONNX against the operator's definition: directions, layouts, lengths, states and activations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.onnx_files import lstm_model, onnx_lstm, value, weights

import numba_lstm as nl
from numba_lstm.errors import ConfigError

Array = NDArray[Any]


TOLERANCE = 2e-6


def states(h: Array, c: Array) -> list[Array]:
    return [state for pair in zip(h, c, strict=True) for state in pair]


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_nodes(rng: np.random.Generator, tmp_path: Path, direction: str, layout: int, biased: bool) -> None:
    arrays = weights(rng, 2 if direction == "bidirectional" else 1)
    if not biased:
        del arrays["B"]
    shape: list[int | str] = ["batch", "time", 3] if layout else ["time", "batch", 3]
    path = lstm_model(tmp_path / "m.onnx", arrays, shape=shape, direction=direction, layout=layout)
    loaded = nl.load(path)
    assert loaded.time_major == (layout == 0)
    x = rng.standard_normal((6, 5, 3)).astype(np.float32)
    outputs, ends = loaded.run_rows(x, time_major=True, return_state=True)
    y, h, c = onnx_lstm(x, arrays, direction)
    assert np.abs(outputs - y.transpose(0, 2, 1, 3).reshape(6, 5, -1)).max() < TOLERANCE
    assert np.abs(np.stack(ends[::2]) - h).max() < TOLERANCE
    assert np.abs(np.stack(ends[1::2]) - c).max() < TOLERANCE
    where = [source.where for source in loaded.source.weights]
    assert where[:2] == (["'W' [0]", "'R' [0]"] if len(arrays["W"]) == 2 else ["'W'", "'R'"])


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_lengths_and_states(rng: np.random.Generator, tmp_path: Path, direction: str, layout: int) -> None:
    arrays = weights(rng, 2 if direction == "bidirectional" else 1)
    count = len(arrays["W"])
    shape: list[int | str] = ["batch", "time", 3] if layout else ["time", "batch", 3]
    state: list[int | str] = ["batch", count, 4] if layout else [count, "batch", 4]
    path = lstm_model(
        tmp_path / "m.onnx",
        arrays,
        shape=shape,
        inputs=[value("lens", ["batch"], 6), value("h0", state), value("c0", state)],
        extra=["lens", "h0", "c0"],
        direction=direction,
        layout=layout,
    )
    loaded = nl.load(path)
    x = rng.standard_normal((6, 5, 3)).astype(np.float32)
    h0, c0 = rng.standard_normal((2, count, 5, 4)).astype(np.float32)
    lengths = np.array([6, 3, 1, 5, 2])
    mask = np.arange(6)[:, np.newaxis] < lengths
    y, h, c = onnx_lstm(x, arrays, direction, h0, c0, lengths)
    outputs, ends = loaded.run_rows(x, mask=mask, initial_state=states(h0, c0), time_major=True, return_state=True)
    assert np.abs(outputs - y.transpose(0, 2, 1, 3).reshape(6, 5, -1)).max() < TOLERANCE
    assert np.abs(np.stack(ends[::2]) - h).max() < TOLERANCE
    assert np.abs(np.stack(ends[1::2]) - c).max() < TOLERANCE
    assert "input 'lens' is the rows' lengths: predict takes it as lengths" in loaded.source.notes


def test_activations(rng: np.random.Generator, tmp_path: Path) -> None:
    arrays = weights(rng)
    x = rng.standard_normal((6, 5, 3)).astype(np.float32)
    path = lstm_model(
        tmp_path / "m.onnx", arrays, activations=["HardSigmoid", "relu", "Relu"], activation_alpha=[0.2],
        activation_beta=[0.5],
    )  # fmt: skip
    functions = (lambda z: np.clip(0.2 * z + 0.5, 0, 1), lambda z: np.maximum(z, 0), lambda z: np.maximum(z, 0))
    expected = onnx_lstm(x, arrays, functions=functions)[0][:, 0]
    assert np.abs(nl.load(path)(x) - expected).max() < TOLERANCE


def test_biases_of_infinities_are_added_quietly(rng: np.random.Generator, tmp_path: Path) -> None:
    arrays = weights(rng)
    arrays["B"][0, 0], arrays["B"][0, 16] = np.inf, -np.inf
    bias = nl.load(lstm_model(tmp_path / "m.onnx", arrays)).get_weights()[2]
    assert np.isnan(bias[0]) and np.isfinite(bias[1:]).all()


SIXTH = 1 / 6


def hard(slope: float) -> Callable[[Array], Array]:
    return lambda z: np.clip(slope * z + 0.5, 0, 1)


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("slope", [0.2, SIXTH])
def test_the_dialect_is_that_of_hard_sigmoid(
    rng: np.random.Generator, tmp_path: Path, slope: float, layout: int
) -> None:
    shape: list[int | str] = ["batch", "time", 3] if layout else ["time", "batch", 3]
    arrays = {key: 3 * array for key, array in weights(rng).items()}
    options: dict[str, Any] = {"activations": ["HardSigmoid", "Tanh", "Tanh"], "activation_alpha": [slope]}
    path = lstm_model(tmp_path / "m.onnx", arrays, shape=shape, layout=layout, outputs=["Y_h"], **options)
    loaded = nl.load(path)
    x = rng.standard_normal((6, 5, 3)).astype(np.float32)
    expected = onnx_lstm(x, arrays, functions=(hard(slope), np.tanh, np.tanh))[1][0]
    given = x.swapaxes(0, 1) if layout else x
    assert np.abs(loaded(given) - expected).max() < TOLERANCE
    of_keras3 = slope == SIXTH and layout == 1
    assert loaded.dialect == ("keras3" if of_keras3 else "keras2")
    assert ("the slope of 1/6 of Keras 3" in loaded.source.dialect_from) == of_keras3
    nl.save(loaded, tmp_path / "m.npz")
    assert np.array_equal(nl.load(tmp_path / "m.npz")(given), loaded(given))
    if slope == SIXTH and layout == 0:  # Keras 3 has no timesteps first, Keras 2 no such slope
        with pytest.raises(ConfigError, match="activation 'hard_sigmoid_keras3', Keras 3's hard_sigmoid, which Tensor"):
            nl.save(loaded, tmp_path / "m.h5")
    elif of_keras3:
        nl.save(loaded, tmp_path / "m.h5")
        assert np.array_equal(nl.load(tmp_path / "m.h5")(given), loaded(given))
