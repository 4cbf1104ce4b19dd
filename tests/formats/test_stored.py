"""An array in a file: its size and type, known before it is read."""

from __future__ import annotations

import numpy as np
import pytest

from numba_lstm.formats.stored import StoredArray


@pytest.mark.parametrize(
    ("shape", "dtype", "kind", "nbytes", "name"),
    [
        ((3, 4), "f4", "", 48, "float32"),
        ((), "f8", "", 8, "float64"),
        ((5, 0), "f8", "", 0, "float64"),
        ((2, 3), "u2", "bfloat16", 12, "bfloat16"),
    ],
)
def test_sizes_and_types(shape: tuple[int, ...], dtype: str, kind: str, nbytes: int, name: str) -> None:
    def read() -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
        pytest.fail("it was read")

    array = StoredArray("w", shape, np.dtype(dtype), "a/w", read, kind)
    assert (array.nbytes, array.dtype_name) == (nbytes, name)
