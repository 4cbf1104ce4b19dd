"""torch.nn.LSTM in inference mode, in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numba_lstm.bench.problem import Array, PlainWeights, Problem

NAME, PRECISION, TIME_MAJOR = "torch", "float32", True
IMPORTS = VERSIONS = ("torch",)


def lstm_of(cells: Sequence[PlainWeights]) -> Any:
    """nn.LSTM with these weights in its layers, the lowest first."""
    import torch

    lstm = torch.nn.LSTM(cells[0].input_dim, cells[0].units, num_layers=len(cells)).eval()
    for i, weights in enumerate(cells):
        kernel, recurrent_kernel, bias = map(torch.from_numpy, weights.gates("ifco"))
        getattr(lstm, f"weight_ih_l{i}").data = kernel
        getattr(lstm, f"weight_hh_l{i}").data = recurrent_kernel
        getattr(lstm, f"bias_ih_l{i}").data = bias
        getattr(lstm, f"bias_hh_l{i}").data = torch.zeros_like(bias)
    return lstm


def sequence(problem: Problem, threads: int, dtype: str = "float32") -> Callable[[], Any]:
    """A batch of sequences; timesteps first, which nn.LSTM prefers."""
    import torch

    torch.set_num_threads(threads)
    lstm = lstm_of([problem.weights]).to(getattr(torch, dtype))
    x = torch.from_numpy(problem.x).swapaxes(0, 1).contiguous().to(getattr(torch, dtype))

    def run() -> Any:
        with torch.inference_mode():
            return lstm(x)[0]

    return run


def stepper(cells: Sequence[PlainWeights], threads: int) -> Callable[[Array], Array]:
    """One step per call, the state kept: nn.LSTMCell, which is faster here than nn.LSTM over one timestep."""
    import torch

    torch.set_num_threads(threads)
    made, states = [], []
    for weights in cells:
        cell = torch.nn.LSTMCell(weights.input_dim, weights.units).eval()
        kernel, recurrent_kernel, bias = map(torch.from_numpy, weights.gates("ifco"))
        cell.weight_ih.data, cell.weight_hh.data = kernel, recurrent_kernel
        cell.bias_ih.data, cell.bias_hh.data = bias, torch.zeros_like(bias)
        made.append(cell)
        states.append((torch.zeros(1, weights.units), torch.zeros(1, weights.units)))

    def step(x: Array) -> Array:
        with torch.inference_mode():
            y = torch.from_numpy(x)
            for i, cell in enumerate(made):
                states[i] = cell(y, states[i])
                y = states[i][0]
            return np.asarray(y)

    return step
