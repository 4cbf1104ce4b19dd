"""Kernels that many tests need, compiled beside the first of them, into the cache folder that all processes share."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

from support.beside import end, start
from support.paths import ROOT, TESTS


def beside() -> None:
    """In a process of its own; what the tests come to need before it gets there, they compile themselves."""
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)])}
    end(start([sys.executable, "-c", "from support import compile_ahead; compile_ahead.run()"], variables, ROOT))


# dtype, activation (computed in registers, common or rare), rows (few or many) and whether there is a mask: what the
# tests need, in the order in which they come to need it.
SEQUENCES = (
    *((dtype, "tanh", 2, False) for dtype in ("float32", "float64")),
    *(("float32", "tanh", rows, masked) for rows, masked in ((9, False), (2, True), (9, True))),
    *((dtype, activation, 2, False) for activation in ("relu", "elu") for dtype in ("float32", "float64")),
    *(("bf16", "tanh", rows, masked) for masked in (True, False) for rows in (2, 9)),
    ("bf16", "relu", 2, False),
    *(("float64", "tanh", rows, masked) for rows, masked in ((9, False), (2, True), (9, True))),
    *(("float32", "relu", rows, masked) for rows, masked in ((9, False), (2, True), (9, True))),
    ("float64", "relu", 9, False),
    ("float32", "elu", 2, True),
    *(("float32", "elu", 9, masked) for masked in (False, True)),
    *(("float64", "elu", rows, masked) for rows, masked in ((9, False), (9, True))),
)
# Layers of a session of one row and of three, by dtype and activation, and the activation of a dense layer on top.
SESSIONS = (
    *((dtype, activation, None) for dtype in ("float32", "float64") for activation in ("tanh", "relu")),
    ("float32", "tanh", "relu"),
    ("float32", "tanh", "softmax"),
    ("float32", "elu", "elu"),
)


def run() -> None:
    """All of them, single steps of one row, windows, and sessions."""
    import numba_lstm as nl
    from numba_lstm.backends.cpu import packing
    from numba_lstm.backends.cpu import run as cpu

    weights = np.zeros((3, 20)), np.zeros((5, 20)), np.zeros(20)
    for dtype, activation, rows, masked in SEQUENCES:
        kept = np.dtype("float32" if dtype == "bf16" else dtype)
        cell = packing.pack_cell(
            *(array.astype(kept) for array in weights),
            activation=activation,
            recurrent_activation="sigmoid",
            dialect="tf1",
            dtype=dtype,
        )
        x, states, mask = np.zeros((rows, 2, 3), kept), np.zeros((rows, 5), kept), np.ones((rows, 2), bool)
        cpu.sequence(cell, x, states, states, mask=mask if masked else None)
        if (rows, masked) == (2, False) and dtype != "bf16" and activation != "elu":
            cpu.step(cell, x[:1, 0], states[:1], states[:1])
        if dtype == "float32" and (rows, masked) == (9, False):
            windows = np.lib.stride_tricks.sliding_window_view(np.zeros((17, 3), kept), 9, axis=0).swapaxes(1, 2)
            cpu.sequence(cell, windows, states, states)
    for dtype, activation, head in SESSIONS:
        options: dict[str, Any] = {"dialect": "keras3", "dtype": dtype}
        layers: list[Any] = [nl.LSTM(5, activation, recurrent_activation="sigmoid", **options)]
        model = nl.Sequential(layers + ([] if head is None else [nl.Dense(2, head, **options)]))
        model.build((None, None, 3))
        for batch in (1, 3):
            model.session(batch).step(np.zeros((batch, 3), dtype))
