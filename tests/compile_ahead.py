"""Kernels that many tests need, compiled beside the first of them, into the cache folder that all processes share."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import numpy as np
from beside import end, start

TESTS = Path(__file__).parent


def beside() -> None:
    """In a process of its own; what the tests come to need before it gets there, they compile themselves."""
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])}
    end(start([sys.executable, "-c", "import compile_ahead; compile_ahead.run()"], variables, TESTS.parent))


def run() -> None:
    """Few rows and many, with a mask and without, in both dtypes, with activations in registers and others."""
    from numba_lstm import driver  # late: it imports numba

    weights = np.zeros((3, 20)), np.zeros((5, 20)), np.zeros(20)
    for dtype, activation, rows, masked in itertools.product(
        ("float32", "float64"), ("tanh", "relu"), (2, 9), (True, False)
    ):
        arrays = (array.astype(dtype) for array in weights)
        cell = driver.pack_cell(
            *arrays, activation=activation, recurrent_activation="sigmoid", dialect="tf1", dtype=dtype
        )
        states = np.zeros((rows, 5), dtype)
        mask = np.ones((rows, 2), bool) if masked else None
        driver.sequence(cell, np.zeros((rows, 2, 3), dtype), states, states, mask=mask)
