"""numba_lstm itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numba_lstm as nl
from numba_lstm.bench.network import Network
from numba_lstm.bench.networks import Stepper
from numba_lstm.bench.problem import Array

NAME, IMPORTS, PACKAGES = "numba_lstm", ("numba",), ("numba_lstm",)

# What the command does, line for line: its script in the path may be another installation's.
SCRIPT = """
import sys

from numba_lstm_cli.main import main

sys.argv = ["numba-lstm", "run", "model.npz", "x.npy", "-o", "y.npy", "--force"]
main()
"""


def _model(network: Network) -> nl.Sequential:
    lstm = nl.LSTM(network.cell.units, recurrent_activation="sigmoid")
    model = nl.Sequential([lstm, nl.Dense(network.dense.shape[1], activation="softmax")])
    model.build((None, *network.x.shape[1:]))
    model.set_weights(network.weights)
    return model


def run_of(network: Network) -> Callable[[Array], Array]:
    """All rows of a batch."""
    nl.set_num_threads(1)
    return _model(network).predict


def stepper_of(network: Network) -> Stepper:
    """session.step"""
    nl.set_num_threads(1)
    session = _model(network).session()
    return session.step, session.reset


def write(network: Network, folder: Path) -> None:
    """model.npz"""
    nl.save(_model(network), str(folder / "model.npz"))
