"""The equations over vectors in memory: of neighbouring blocks, of several rows, and of rows that are masked."""

from __future__ import annotations

from typing import Any

import naive
import numpy as np
import pytest
from support.plain_kernels import memory, plain

from numba_lstm.kernels.arguments import Cell, Functions, GroupState
from numba_lstm.kernels.codes import CUSTOM, SOFTMAX, SPARSEMAX

LANES = 4  # of float64
TANH, SIGMOID, HARD_SIGMOID = 1, 2, 3


def cell_of(units: int, recurrent_activation: int, activation: int = TANH) -> Cell:
    return Cell(None, None, None, 1, units, 8, activation, recurrent_activation)


def expected(z: Any, c: Any, recurrent_activation: str) -> tuple[Any, Any]:
    """c and h from pre-activations [gate][unit]."""
    i, f, o = (naive.ACTIVATIONS[recurrent_activation](z[gate]) for gate in (0, 1, 3))
    new_c = f * c + i * np.tanh(z[2])
    return new_c, o * np.tanh(new_c)


@pytest.mark.parametrize("functions", [None, Functions(True, True)])
@pytest.mark.parametrize(("code", "name"), [(SIGMOID, "sigmoid"), (HARD_SIGMOID, "hard_sigmoid")])
def test_neighbouring_blocks_of_one_row(functions: Any, code: int, name: str) -> None:
    """Seven units of two blocks, from the second block on: what stands around them is left alone."""
    rng = np.random.default_rng(1)
    z, c, h = rng.standard_normal((3, 4, LANES)), rng.standard_normal(3 * LANES), np.full(3 * LANES, 9.0)
    gates, before = z[1:].transpose(1, 0, 2).reshape(4, -1).copy(), c.copy()
    blocks = plain("blocks")
    states = blocks.States(memory(c), memory(h), LANES, LANES)
    vectors = blocks.Vectors(memory(z), 4 * LANES, 4 * LANES)
    blocks.update_vectors(cell_of(11, code), functions, 7, vectors, states, memory(np.zeros(2, np.uint8)))
    new_c, new_h = expected(gates, before[LANES:], name)
    np.testing.assert_allclose(c[LANES : LANES + 7], new_c[:7], rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(h[LANES : LANES + 7], new_h[:7], rtol=1e-13, atol=1e-15)
    assert (h[:LANES] == 9).all() and (c[:LANES] == before[:LANES]).all()


@pytest.mark.parametrize("functions", [None, Functions(True, True)])
def test_one_block_of_several_rows(functions: Any) -> None:
    """A row to skip keeps c, and its h is not written."""
    rng = np.random.default_rng(2)
    units = 6  # in two vectors, of which the second block is computed
    z, c, h = rng.standard_normal((3, 4, LANES)), rng.standard_normal((3, 2 * LANES)), np.full((3, 2 * LANES), 9.0)
    gates, before = z.copy(), c.copy()
    blocks, skip = plain("blocks"), np.array([0, 1, 0], np.uint8)
    states = blocks.States(memory(c), memory(h), LANES, 2 * LANES)
    blocks.update_vectors(
        cell_of(units, SIGMOID), functions, 3 * LANES, blocks.Vectors(memory(z), 0, 4 * LANES), states, memory(skip)
    )
    for row in range(3):
        new_c, new_h = (before[row, LANES:], 9) if skip[row] else expected(gates[row], before[row, LANES:], "sigmoid")
        np.testing.assert_allclose(c[row, LANES:], new_c, rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(h[row, LANES:], new_h, rtol=1e-13, atol=1e-15)
    assert (h[:, :LANES] == 9).all() and (c[:, :LANES] == before[:, :LANES]).all()


def test_a_block_from_its_two_sums() -> None:
    rng = np.random.default_rng(3)
    z, sums = rng.standard_normal((2, 4, LANES)), rng.standard_normal((4, LANES))
    c, h = rng.standard_normal(2 * LANES), np.full(2 * LANES, 9.0)
    blocks, before = plain("blocks"), c.copy()
    of_z = plain("tile").Sums(memory(z), 0, 0, None)
    state = GroupState(None, memory(h), memory(c), None)
    blocks.finish_block(cell_of(8, SIGMOID), None, 1, tuple(sums), of_z, state)
    new_c, new_h = expected(z[1] + sums, before[LANES:], "sigmoid")
    np.testing.assert_allclose(c[LANES:], new_c, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(h, [*[9.0] * LANES, *new_h], rtol=1e-13, atol=1e-15)
    total = z[1] + sums
    blocks.finish_block(cell_of(8, SIGMOID), Functions(True, True), 1, tuple(sums), of_z, state)
    np.testing.assert_array_equal(z[1], total)  # the equations come later


@pytest.mark.parametrize(
    ("codes", "spans"),
    [((TANH, SIGMOID), False), ((SOFTMAX, 2), True), ((1, SPARSEMAX), True), ((CUSTOM, CUSTOM), False)],
)
def test_activations_over_all_units(codes: tuple[int, int], spans: bool) -> None:
    assert plain("blocks").spans_units(cell_of(4, codes[1], codes[0])) == spans
