"""The twenty plain lines of numba of peers/plain_numba.py, and NumPy for the dense layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np

from numba_lstm.bench.network import Network
from numba_lstm.bench.networks import Stepper
from numba_lstm.bench.peers.plain_numba import NAME as NAME
from numba_lstm.bench.peers.plain_numba import lstm
from numba_lstm.bench.problem import Array

IMPORTS = PACKAGES = ("numba",)

SCRIPT = f"""
from __future__ import annotations

import math

import numba
import numpy as np


{inspect.getsource(lstm.py_func)}

lstm.enable_caching()
w, x = np.load("plain.npz"), np.load("x.npy")
h, c = (np.zeros((len(x), len(w["recurrent_kernel"])), np.float32) for _ in "hc")
y = np.empty((*x.shape[:2], h.shape[1]), np.float32)
lstm(x, w["kernel"], w["recurrent_kernel"], w["bias"], h, c, y)
z = y[:, -1] @ w["dense"] + w["dense_bias"]
powers = np.exp(z - z.max(axis=1, keepdims=True))
np.save("y.npy", powers / powers.sum(axis=1, keepdims=True))
"""


def run_of(network: Network) -> Callable[[Array], Array]:
    """All rows of a batch."""
    numba.set_num_threads(1)

    def run(x: Array) -> Array:
        h, c = (np.zeros((len(x), network.cell.units), np.float32) for _ in "hc")
        return _outputs(network, x, h, c)

    return run


def stepper_of(network: Network) -> Stepper:
    """The same function over one timestep; h and c are its own arrays, which it changes."""
    h, c = (np.zeros((1, network.cell.units), np.float32) for _ in "hc")

    def restart() -> None:
        h[...] = c[...] = 0

    return lambda x: _outputs(network, x[np.newaxis], h, c), restart


def _outputs(network: Network, x: Array, h: Array, c: Array) -> Array:
    y = np.empty((*x.shape[:2], network.cell.units), np.float32)
    lstm(x, network.cell.kernel, network.cell.recurrent_kernel, network.cell.bias, h, c, y)
    z = y[:, -1] @ network.dense + network.dense_bias
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def write(network: Network, folder: Path) -> None:
    """plain.npz"""
    arrays: dict[str, Any] = {name: getattr(network.cell, name) for name in ("kernel", "recurrent_kernel", "bias")}
    np.savez(folder / "plain.npz", dense=network.dense, dense_bias=network.dense_bias, **arrays)
