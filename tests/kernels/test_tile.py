"""The inner products of the tile, number by number in the order that is promised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.plain_kernels import memory, plain

LANES = 4  # of float64


def fma(a: Any, b: Any, c: Any) -> Any:
    return plain("plain").fma(a, b, c)


def summed(x: Any, weights: Any, block_length: int) -> Any:
    """sum over k of x[k] * weights[k]: ascending within blocks, from zero; the blocks added in order."""
    total = None
    for first in range(0, len(x), block_length):
        block = np.zeros(weights.shape[1:])
        for k in range(first, min(first + block_length, len(x))):
            block = fma(np.broadcast_to(x[k], block.shape).copy(), weights[k], block)
        total = block if total is None else total + block
    return total


@pytest.fixture(params=[0, 1], ids=["threes", "sixes"])
def six_rows_fit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of cutting rows into tiles, on every machine."""
    monkeypatch.setattr(plain("tile"), "SIX_ROWS_FIT", request.param)


@pytest.mark.usefixtures("six_rows_fit")
@pytest.mark.parametrize("mask_per_gate", [None, True])
@pytest.mark.parametrize("rows", range(1, 14))
def test_each_row_is_summed_in_the_same_order(rows: int, mask_per_gate: Any) -> None:
    """In every tile: 1 to 13 rows, three blocks of k, with one row for all gates or a row for each."""
    rng = np.random.default_rng(rows)
    depth, block_length, gates = 8, 3, 4 if mask_per_gate else 1
    x, weights = rng.standard_normal((rows, gates, depth)), rng.standard_normal((depth, 4, LANES))
    base, z, partial = rng.standard_normal((rows, 4, LANES)), np.full((rows + 1, 4, LANES), 9.0), np.zeros((rows, 16))
    tile = plain("tile")
    operand = tile.Operand(memory(x), 0, gates * depth, depth if mask_per_gate else 0)
    panel = tile.Panel(memory(weights), 0, depth, block_length, None)
    where = [tile.Sums(memory(array), 0, 16, None) for array in (partial, base, z)]
    tile.project(mask_per_gate, operand, rows, panel, tile.Destination(*where))
    for row in range(rows):
        sums = [summed(x[row, gate % gates], weights[:, gate], block_length) for gate in range(4)]
        np.testing.assert_array_equal(z[row], base[row] + np.array(sums))
    assert (z[rows] == 9).all()


@pytest.mark.parametrize("mask_per_gate", [None, True])
def test_one_row_and_two_panels_at_once(mask_per_gate: Any) -> None:
    rng = np.random.default_rng(1)
    depth, block_length = 7, 4
    x, weights = rng.standard_normal((4, depth)), rng.standard_normal((2, depth, 4, LANES))
    tile = plain("tile")
    operand = tile.Operand(memory(x), 0, 0, depth if mask_per_gate else 0)
    panel = tile.Panel(memory(weights), 0, depth, block_length, None)
    expected = [
        [summed(x[gate if mask_per_gate else 0], panel[:, gate], block_length) for gate in range(4)]
        for panel in weights
    ]
    np.testing.assert_array_equal(tile.row_sums(mask_per_gate, operand, panel), expected[0])
    np.testing.assert_array_equal(tile.row_sums_of_two(mask_per_gate, operand, panel, depth * 16), expected)


@pytest.mark.usefixtures("six_rows_fit")
@pytest.mark.parametrize("rows", [3, 6])
def test_vectors_that_are_not_neighbours(rows: int) -> None:
    """Four vectors of one gate, whole blocks apart: in the weights, in the base and in the sums."""
    rng = np.random.default_rng(rows)
    depth, gate = 5, 2
    x, weights = rng.standard_normal((rows, depth)), rng.standard_normal((4, depth, 4, LANES))
    base, z, partial = rng.standard_normal((4, 4, LANES)), np.zeros((rows, 4, 4, LANES)), np.zeros((rows, 16))
    tile = plain("tile")
    panel = tile.Panel(memory(weights), gate * LANES, depth, 8, depth * 16)
    to = tile.Destination(
        tile.Sums(memory(partial), 0, 16, None),
        tile.Sums(memory(base), gate * LANES, 0, 16),
        tile.Sums(memory(z), gate * LANES, 64, 16),
    )
    tile.project(None, tile.Operand(memory(x), 0, depth, 0), rows, panel, to)
    for row in range(rows):
        sums = [base[block, gate] + summed(x[row], weights[block, :, gate], 8) for block in range(4)]
        np.testing.assert_array_equal(z[row, :, gate], sums)
    assert not np.delete(z, gate, axis=2).any()


def test_words_of_two_are_half_as_many() -> None:
    depth_of = plain("tile").depth_of
    words, numbers = memory(np.zeros(16, np.uint32)), memory(np.zeros(16, np.float32))
    assert [depth_of(words, width) for width in (1, 2, 5)] == [1, 1, 3]
    assert [depth_of(numbers, width) for width in (1, 2, 5)] == [1, 2, 5]
