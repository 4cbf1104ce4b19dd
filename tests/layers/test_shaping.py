"""layers/shaping.py: axes, shapes and masks of the layers that change the shape, beside plain NumPy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import numba_lstm as nl
from numba_lstm.errors import ShapeError
from numba_lstm.layers import RepeatVector

DIALECTS = ("tf1", "keras2", "keras3")


@pytest.mark.parametrize("rank", [2, 3, 4, 5])
def test_flatten(rank: int, rng: np.random.Generator) -> None:
    shape = (2, 3, 4, 5, 6)[:rank]
    x = rng.normal(size=shape).astype(np.float32)
    last, first = nl.Flatten(), nl.Flatten("channels_first")
    expected = {last: np.zeros((2, int(np.prod(shape[1:]))), np.float32), first: None}
    expected[first] = expected[last].copy()
    for layer, order in ((last, [*range(1, rank)]), (first, [*range(2, rank), 1])):
        for row in range(2):
            # The features one by one, the first axis of `order` the slowest.
            for number, place in enumerate(itertools.product(*(range(shape[axis]) for axis in order))):
                index = [row, *[0] * (rank - 1)]
                for axis, where in zip(order, place, strict=True):
                    index[axis] = where
                expected[layer][row, number] = x[tuple(index)]
        np.testing.assert_array_equal(layer(x), expected[layer])
        assert layer.output_shape(x.shape) == expected[layer].shape
        assert layer.output_shape((None, *shape[1:])) == (None, expected[layer].shape[1])
        assert layer.output_shape((2, None, *shape[2:])) == (2, None)


def test_repeat_vector() -> None:
    x = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    y = RepeatVector(4)(x)
    assert y.shape == RepeatVector(4).output_shape(x.shape) == (3, 4, 2)
    assert RepeatVector(4).output_shape((None, 2)) == (None, 4, 2)
    assert all((y[:, step] == x).all() for step in range(4))
    with pytest.raises(ShapeError, match=r"repeat_vector: inputs have shape \(None, 1, 2\); expected \(batch, feat"):
        RepeatVector(4)(x[:, None])


def test_time_distributed_shapes() -> None:
    for shape in ((2, 5, 3), (None, 5, 3), (2, None, 3), (None, None, 3), (4, 3, 2, 3)):
        assert nl.TimeDistributed(nl.Dense(7)).output_shape(shape) == (*shape[:-1], 7)
    assert nl.TimeDistributed(nl.LSTM(6)).output_shape((2, 5, 4, 3)) == (2, 5, 6)
    assert nl.TimeDistributed(nl.LSTM(6, return_sequences=True)).output_shape((2, 5, 4, 3)) == (2, 5, 4, 6)
    with pytest.raises(
        ShapeError, match=r"inputs have shape \(2, 3\); expected \(batch, timesteps, ...\); let the layer"
    ):
        nl.TimeDistributed(nl.Dense(7)).output_shape((2, 3))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("batch", [2, None])
@pytest.mark.parametrize("makes", [False, True])
def test_masks_of_time_distributed(dialect: Any, batch: int | None, makes: bool) -> None:
    """A sentence counts if a word of it does; in Keras 3, and as TensorFlow 1.15 goes step by step, the mask stays."""
    x = np.array([[[1, 0, 2], [0, 0, 0], [3, 3, 3], [0, 1, 0]], [[0, 0, 0], [4, 0, 0], [0, 0, 5], [1, 1, 1]]])
    mask = x != 0
    if makes:
        inner: Any = nl.Embedding(6, 2, mask_zero=True, dialect=dialect)
    else:
        inner = nl.Dense(2, dialect=dialect)
    layer = nl.TimeDistributed(inner, dialect=dialect)
    inputs = x if makes else x[..., None].astype(np.float32)
    layer.build((batch, *inputs.shape[1:]))
    stays = dialect == "keras3" or (dialect == "tf1" and (batch is not None or makes))
    np.testing.assert_array_equal(layer.compute_mask(inputs, mask), mask)
    steps = layer.compute_mask(inputs, mask[:, :, 0])
    if makes and not stays:
        np.testing.assert_array_equal(steps, x != 0)  # the layer's own
    else:
        np.testing.assert_array_equal(steps, mask[:, :, 0])
    none = layer.compute_mask(inputs)
    assert (none is None) == (stays or not makes)
    if not makes:
        return
    last = nl.TimeDistributed(nl.LSTM(2, dialect=dialect), dialect=dialect)
    features = x[..., None].astype(np.float32)
    last.build((batch, *features.shape[1:]))
    stays = dialect == "keras3" or (dialect == "tf1" and batch is not None)
    found = last.compute_mask(features, mask)
    np.testing.assert_array_equal(found, mask if stays else mask.any(axis=2))
