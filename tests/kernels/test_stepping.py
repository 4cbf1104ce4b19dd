"""The kernel of streaming, from its plan of numbers: layers one after the other, one timestep."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import naive
import numpy as np
import pytest
from support.plain_kernels import memory, plain

from numba_lstm.kernels.arguments import Functions
from numba_lstm.kernels.codes import SIGMOID, SOFTMAX, TANH

LANES = 4  # of float64


def packed(kernel: Any) -> Any:
    """[block][k][gate][lane], without the package's own packing."""
    units = kernel.shape[1] // 4
    blocks = -(-units // LANES)
    wide = np.zeros((len(kernel), 4, blocks * LANES))
    wide[:, :, :units] = kernel.reshape(len(kernel), 4, units)
    return np.ascontiguousarray(wide.reshape(len(kernel), 4, blocks, LANES).transpose(2, 0, 1, 3))


def widened(array: Any, width: int) -> Any:
    """With zeros at the end of each row."""
    return np.pad(array, [(0, 0), (0, width - array.shape[1])])


@pytest.mark.parametrize(("rows", "activation"), [(1, "tanh"), (5, "tanh"), (1, "softmax"), (5, "softmax")])
def test_two_cells_and_a_head(rows: int, activation: str) -> None:
    """Two steps, beside the oracle: a step reads the states that the one before it wrote."""
    rng = np.random.default_rng(rows)
    widths = (3, 6, 9)  # of the inputs, and of the cells
    z, partial, skip = np.zeros((rows, 3 * 4 * LANES)), np.zeros((rows, 16)), np.zeros(rows, np.uint8)
    inputs, outputs = rng.standard_normal((rows, 3)), np.full((rows + 1, 2), 9.0)
    held: list[Any] = [z, partial, skip, inputs, outputs]

    def at(array: Any) -> int:
        held.append(array)
        return int(memory(array).address)

    code = {"tanh": TANH, "softmax": SOFTMAX}[activation]
    stages, cells, states = [], [], []
    for width, units in pairwise(widths):
        weights = [rng.standard_normal((width, 4 * units)), rng.standard_normal((units, 4 * units))]
        bias = rng.standard_normal(4 * units)
        h, c, padded = (
            rng.standard_normal((rows, units)),
            rng.standard_normal((rows, units)),
            -(-units // LANES) * LANES,
        )
        cells.append([*weights, bias])
        states.append((h, c))
        kernels = [at(packed(kernel)) for kernel in (*weights, bias[np.newaxis])]
        places = [at(widened(h, padded)), at(np.zeros((rows, padded))), at(widened(c, padded))]
        stages += [*kernels, width, units, 4, code, SIGMOID, *places]
    kernel, bias = rng.standard_normal((9, 2)), rng.standard_normal(2)
    dense = [at(np.ascontiguousarray(widened(kernel, 16))), 0, at(widened(bias[np.newaxis], 16))]
    stages += [*dense, 9, 2, 4, SOFTMAX, 0, at(np.zeros((rows, 16))), 0, 0]
    plan = np.array([0, 3, rows, 2, *map(at, (inputs, outputs, z, partial, skip)), *stages])
    many = True if rows > 1 or activation == "softmax" else None
    functions = Functions(True, True) if activation == "softmax" else None
    for turn in (0, 1):
        inputs[:] = rng.standard_normal((rows, 3))
        x = inputs.copy()
        for number, weights in enumerate(cells):
            states[number] = naive.cell(x, *states[number], weights, activation, "sigmoid")
            x = states[number][0]
        assert plan[0] == turn
        plain("stepping").step_stages(at(plan), (np.float64(0),) * 3, functions, True, None, many)
        np.testing.assert_allclose(outputs[:rows], naive.dense(x, kernel, bias, "softmax"), rtol=1e-11)
    assert plan[0] == 0 and (outputs[rows] == 9).all()
