"""A file with a last axis of length 1 added or dropped, as NumPy adds and drops it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from numba_lstm.formats.npy import open_npy
from numba_lstm.runner.arranged import Arranged


@pytest.mark.parametrize(
    ("shape", "added", "words"),
    [((5, 4), 1, "got a last axis of length 1"), ((5, 4, 1), -1, "lost its last axis of length 1")],
)
def test_an_axis_of_length_1(tmp_path: Path, shape: tuple[int, ...], added: int, words: str) -> None:
    numbers = np.arange(20.0).reshape(shape)
    path = tmp_path / "x.npy"
    np.save(path, numbers)
    expected = numbers[..., None] if added > 0 else numbers[..., 0]
    with open_npy(path) as file:
        arranged = Arranged(file, added)
        assert arranged.shape == expected.shape
        np.testing.assert_array_equal(arranged.read(), expected)
        np.testing.assert_array_equal(arranged.read_rows(1, 3), expected[1:3])
        assert arranged.dtype == np.float64  # as of the reader
        assert arranged.note() == f"{path} {words}, as in Keras: {expected.shape}"
