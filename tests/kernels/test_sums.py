"""The sums of a step before any activation, beside NumPy's products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.plain_kernels import memory, plain

from numba_lstm.kernels.arguments import (
    NO_TEAM,
    Call,
    Cell,
    Masks,
    Options,
    RowGroup,
    Scratch,
    SumsCall,
    Window,
    pack_record,
)

LANES = 4  # of float64
NOTHING = Masks(None, 0, 0)


def packed(kernel: Any, units: int) -> Any:
    """[block][k][gate][lane], without the package's own packing."""
    blocks = -(-units // LANES)
    wide = np.zeros((len(kernel), 4, blocks * LANES))
    wide[:, :, :units] = kernel.reshape(len(kernel), 4, units)
    return np.ascontiguousarray(wide.reshape(len(kernel), 4, blocks, LANES).transpose(2, 0, 1, 3))


@pytest.mark.parametrize("mask_per_gate", [False, True])
def test_four_blocks_of_units(mask_per_gate: bool) -> None:
    rng = np.random.default_rng(1)
    rows, width, units = 3, 5, 16
    kernel, x = rng.standard_normal((width, 4 * units)), rng.standard_normal((rows, 4 if mask_per_gate else 1, width))
    weights, z, partial = packed(kernel, units), np.zeros((rows, 4, 4, LANES)), np.zeros((rows, 16))
    base = rng.standard_normal((4, 4, LANES))
    tile, sums = plain("tile"), plain("sums")
    operand = tile.Operand(memory(x), 0, x[0].size, width if mask_per_gate else 0)
    to = tile.Destination(
        tile.Sums(memory(partial), 0, 16, None),
        tile.Sums(memory(base), 0, 0, None),
        tile.Sums(memory(z), 0, 64, None),
    )
    sums.block_sums(True, sums.Matrix(memory(weights), width, 3), 0, 4, operand, rows, to)
    inputs = x if mask_per_gate else np.repeat(x, 4, axis=1)
    products = np.einsum("rgk,kgu->rgu", inputs, kernel.reshape(width, 4, units))
    expected = products.reshape(rows, 4, 4, LANES).swapaxes(1, 2) + base
    np.testing.assert_allclose(z, expected, rtol=1e-12, atol=1e-13)


def test_sums_that_are_given() -> None:
    window, group = Window("memory", 5, 100, 10), RowGroup(3, 2, 0, 1, 7)
    assert plain("sums").precomputed_sums(None, window, group) is None
    assert tuple(plain("sums").precomputed_sums(True, window, group)) == ("memory", 5 + 3 * 100 + 7 * 10, 100, None)


def test_timesteps_that_do_not_count() -> None:
    mask = np.array([[1, 0, 0, 1], [0, 0, 0, 0]], np.uint8)
    window = Window(memory(mask), 0, 4, 1)
    found = [plain("sums").all_masked(window, row, t, 2) for row in (0, 1) for t in (0, 1, 2)]
    assert found == [False, True, False, True, True, True]


@pytest.mark.parametrize("dropout", [0, 1, 4])
def test_several_timesteps_in_advance(dropout: int) -> None:
    """x @ kernel + bias of rows 1 and 2, timesteps 2 to 4; a row of which none counts is left out."""
    rng = np.random.default_rng(dropout)
    rows, timesteps, width, units, hoisted_steps = 4, 6, 3, 6, 3
    kernel, bias = rng.standard_normal((width, 4 * units)), rng.standard_normal((1, 4 * units))
    x, masks = rng.standard_normal((rows, timesteps, width)), rng.random((max(dropout, 1), rows, width))
    mask = np.ones((rows, timesteps), np.uint8)
    mask[2, 2:5] = 0
    weights, biases = packed(kernel, units), packed(bias, units)
    z, partial, room = np.full((2, hoisted_steps, 2, 4, LANES), 9.0), np.zeros((8, 16)), np.zeros((8, 4 * width))
    cell = Cell(memory(weights), None, memory(biases), width, units, 2, 1, 2)
    scratch = Scratch(2, hoisted_steps, *map(memory, (z, partial, room)), None, None, None, None)
    inputs, marks = Window(memory(x), 0, timesteps * width, width), Window(memory(mask), 0, timesteps, 1)
    none, options = Window(None, 0, 0, 0), Options(True, True, False)
    of_inputs = Masks(memory(masks), dropout, rows)
    call = Call(0, 4, 6, cell, inputs, none, marks, of_inputs, NOTHING, None, none, options, scratch, NO_TEAM)  # type: ignore[arg-type]
    plain("sums").hoist_inputs(call, True, RowGroup(1, 2, 0, 2, 2), hoisted_steps)
    taken = x[1, 2:5, np.newaxis] * (np.broadcast_to(masks[:, 1], (4, width)) if dropout else 1)
    products = np.einsum("tgk,kgu->tgu", np.broadcast_to(taken, (3, 4, width)), kernel.reshape(width, 4, units))
    found = z[0].transpose(0, 2, 1, 3).reshape(hoisted_steps, 4, 8)[:, :, :units]
    np.testing.assert_allclose(found, products + bias.reshape(4, units), rtol=1e-12, atol=1e-13)
    assert (z[1] == 9).all()


def test_the_sums_of_a_whole_record() -> None:
    rng = np.random.default_rng(5)
    timesteps, width, units = 7, 3, 6
    kernel, bias, x = (rng.standard_normal(shape) for shape in ((width, 4 * units), (1, 4 * units), (timesteps, width)))
    weights, biases = packed(kernel, units), packed(bias, units)
    z, partial = np.full((timesteps, 2, 4, LANES), 9.0), np.zeros((4, 16))
    at = {name: memory(array).address for name, array in dict(w=weights, b=biases, x=x, z=z, p=partial).items()}
    cell = Cell(at["w"], at["w"], at["b"], width, units, 8, 1, 2)
    inputs, outputs = Window(at["x"], 0, 0, width), Window(at["z"], 0, 0, 32)
    record = pack_record(SumsCall(1, 6, 4, at["p"], 0, cell, inputs, outputs), 5)
    plain("sums").input_sums_of_all(record.buffer_info()[0], (np.float64(0),) * 3)
    found = z.transpose(0, 2, 1, 3).reshape(timesteps, 4, 8)[1:6, :, :units]
    np.testing.assert_allclose(found, (x @ kernel + bias)[1:6].reshape(5, 4, units), rtol=1e-12, atol=1e-13)
    assert (z[[0, 6]] == 9).all()
