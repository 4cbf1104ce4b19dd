"""OpenVINO with its own choice of precision: bf16 on machines that have it."""

from __future__ import annotations

from collections.abc import Callable

from numba_lstm.bench.network import Network
from numba_lstm.bench.networks import Stepper, open_vino
from numba_lstm.bench.problem import Array

NAME, IMPORTS, PACKAGES, write = "OpenVINO, as it comes", open_vino.IMPORTS, open_vino.PACKAGES, open_vino.write

SCRIPT = """
import numpy as np
import openvino

model = openvino.Core().compile_model("model.onnx", "CPU")
np.save("y.npy", model(np.load("x.npy"))[0])
"""


def run_of(network: Network) -> Callable[[Array], Array]:
    """All rows of a batch."""
    return open_vino.run_of(network, {})


def stepper_of(network: Network) -> Stepper:
    """One step per call."""
    return open_vino.stepper_of(network, {})
