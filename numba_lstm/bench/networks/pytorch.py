"""torch.nn.LSTM and torch.nn.Linear."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from numba_lstm.bench.network import Network
from numba_lstm.bench.networks import Stepper
from numba_lstm.bench.problem import Array

NAME, IMPORTS, PACKAGES = "torch", ("torch",), ("torch",)

SCRIPT = """
import numpy as np
import torch

saved = torch.load("model.pt")
lstm, linear = torch.nn.LSTM(8, 32, batch_first=True), torch.nn.Linear(32, 10)
lstm.load_state_dict(saved["lstm"])
linear.load_state_dict(saved["linear"])
with torch.inference_mode():
    x = torch.from_numpy(np.load("x.npy"))
    np.save("y.npy", torch.softmax(linear(lstm(x)[0][:, -1]), 1).numpy())
"""


def _layers(network: Network) -> tuple[Any, Any]:
    import torch

    cell = network.cell
    lstm = torch.nn.LSTM(cell.input_dim, cell.units, batch_first=True)
    linear = torch.nn.Linear(*network.dense.shape)
    w, u, b = map(torch.from_numpy, cell.gates("ifco"))
    zeros = torch.zeros_like(b)
    lstm.load_state_dict({"weight_ih_l0": w, "weight_hh_l0": u, "bias_ih_l0": b, "bias_hh_l0": zeros})
    dense, bias = map(torch.from_numpy, (network.dense.T.copy(), network.dense_bias))
    linear.load_state_dict({"weight": dense, "bias": bias})
    return lstm.eval(), linear.eval()


def run_of(network: Network) -> Callable[[Array], Array]:
    """All rows of a batch."""
    import torch

    torch.set_num_threads(1)
    lstm, linear = _layers(network)

    def run(x: Array) -> Array:
        with torch.inference_mode():
            return np.asarray(torch.softmax(linear(lstm(torch.from_numpy(x))[0][:, -1]), 1))

    return run


def stepper_of(network: Network) -> Stepper:
    """nn.LSTMCell, which is faster here than nn.LSTM over one timestep."""
    import torch

    torch.set_num_threads(1)
    lstm, linear = _layers(network)
    cell = torch.nn.LSTMCell(network.cell.input_dim, network.cell.units)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in lstm.state_dict().items()})
    zeros = torch.zeros(1, network.cell.units)
    h = c = zeros

    def step(x: Array) -> Array:
        nonlocal h, c
        with torch.inference_mode():
            h, c = cell(torch.from_numpy(x), (h, c))
            return np.asarray(torch.softmax(linear(h), 1))

    def restart() -> None:
        nonlocal h, c
        h = c = zeros

    return step, restart


def write(network: Network, folder: Path) -> None:
    """model.pt"""
    import torch

    lstm, linear = _layers(network)
    torch.save({"lstm": lstm.state_dict(), "linear": linear.state_dict()}, folder / "model.pt")
