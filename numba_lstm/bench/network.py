"""A small classifier and its inputs, as plain arrays: what the demonstration runs in every library."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from numba_lstm.bench.problem import Array, PlainWeights, lstm
from numba_lstm.errors import NumbaLSTMError

# The digits of the repository: 360 images, read row by row.
ROWS, TIMESTEPS, INPUT_DIM, UNITS, CLASSES = 360, 8, 8, 32, 10


@dataclass(frozen=True)
class Network:
    """An LSTM (tanh, sigmoid), its last output through a dense layer, softmax; and inputs for it, all float32."""

    cell: PlainWeights
    dense: Array  # (units, classes)
    dense_bias: Array  # (classes,)
    x: Array  # (rows, timesteps, input_dim)
    source: str

    @property
    def weights(self) -> list[Array]:
        """All five arrays in Keras's order."""
        return [self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias, self.dense, self.dense_bias]

    @cached_property
    def truth(self) -> Array:
        """The outputs in float64, (rows, classes)."""
        last = lstm(self.x, self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias)[:, -1]
        return softmax(last @ self.dense.astype(np.float64) + self.dense_bias)


def softmax(z: Array) -> Array:
    """exp(z) / sum(exp(z)) over the last axis."""
    powers = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def digits() -> Network:
    """The trained model in data/digits, in the folder of the sources or the current one; else one made on the spot."""
    for folder in Path(__file__).parents[2] / "data" / "digits", Path("data") / "digits":
        if (folder / "model.h5").is_file() and (folder / "x.npy").is_file():
            try:
                return _read(folder)
            except (NumbaLSTMError, ValueError, OSError) as error:  # other files of these names, or no reader for .h5
                return made_up(f"{folder / 'model.h5'} is not used: {error}")
    return made_up("data/digits, of a clone of the repository, is not here")


def _read(folder: Path) -> Network:
    from numba_lstm.formats import load

    weights = load(str(folder / "model.h5")).get_weights()
    x = np.load(folder / "x.npy", allow_pickle=False).astype(np.float32)
    expected = made_up("")
    shapes = [array.shape for array in expected.weights]
    if [array.shape for array in weights] != shapes or x.shape[1:] != expected.x.shape[1:]:
        raise ValueError("it is not the model of the repository")
    return Network(PlainWeights(*weights[:3]), weights[3], weights[4], x, f"trained, {folder / 'model.h5'}")


def made_up(reason: str) -> Network:
    """Random weights and inputs of the digits' shapes."""
    rng = np.random.default_rng(8)
    dense = (rng.standard_normal((UNITS, CLASSES)) / np.sqrt(UNITS)).astype(np.float32)
    bias = (rng.standard_normal(CLASSES) / 2).astype(np.float32)
    x = rng.random((ROWS, TIMESTEPS, INPUT_DIM), np.float32)
    return Network(PlainWeights.random(INPUT_DIM, UNITS, 7), dense, bias, x, f"random weights ({reason})")
