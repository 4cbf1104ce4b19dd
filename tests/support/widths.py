"""Results of many kinds of kernels, for comparing the bits of one width of vectors with another's."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from numba_lstm.backends.cpu import packing, stateless, threads
from numba_lstm.backends.cpu import run as cpu
from support.builds import write

FEW, MANY = (1, 2, 5), (6, 8, 9, 52)
# Rows, dtype, and with masks or without: one compilation or two each, and compiling is all that takes time here.
EVERY_KIND = tuple(itertools.product((MANY, FEW), ("float32", "float64"), (True, False)))
SOME_KINDS = (MANY, "float32", True), (FEW, "float64", False)
# The first two pairs are computed by one kernel, the third one, which only `every` kind comes with, by another.
ACTIVATIONS = ("tanh", "sigmoid"), ("tanh", "hard_sigmoid"), ("relu", "sigmoid")
SHAPES = ((3, 5), (17, 16), (130, 21), (9, 150))  # (input_dim, units): below and above 16 units, and long sums


def results(everything: bool) -> dict[str, Any]:
    """Outputs and states of some or all kinds of kernels, from seeds."""
    found = {}
    for rows, dtype, masked in EVERY_KIND if everything else SOME_KINDS:
        for input_dim, units in SHAPES:
            rng = np.random.default_rng(units)

            def numbers(*shape: int, rng: Any = rng, dtype: str = dtype) -> Any:
                return (rng.standard_normal(shape) / 4).astype(dtype)

            cells = [
                packing.pack_cell(
                    numbers(input_dim, 4 * units),
                    numbers(units, 4 * units),
                    numbers(4 * units),
                    activation=activation,
                    recurrent_activation=recurrent,
                    dialect="tf1",
                    dtype=dtype,
                )
                for activation, recurrent in ACTIVATIONS[: 3 if everything else 2]
            ]
            for batch in rows:
                x, h, c = numbers(batch, 7, input_dim), numbers(batch, units), numbers(batch, units)
                options: list[dict[str, Any]] = [{}]
                if masked:
                    mask = rng.random((batch, 7)) < 0.7
                    options = [
                        {"mask": mask},
                        {"mask": mask, "dropout_mask": numbers(4, batch, input_dim)},
                        {
                            "dropout_mask": numbers(1, batch, input_dim),
                            "recurrent_dropout_mask": numbers(1, batch, units),
                        },
                        {"recurrent_dropout_mask": numbers(4, batch, units), "zero_output_for_mask": True},
                    ]
                for cell_number, cell in enumerate(cells):
                    for number, chosen in enumerate(options):
                        arrays = cpu.sequence(cell, x, h, c, return_sequences=True, **chosen)
                        key = f"{dtype} {batch} {input_dim} {units} {cell_number} {number}"
                        found.update({f"{key} {name}": array for name, array in zip("yhc", arrays, strict=True)})
    weights = (np.random.default_rng(3).standard_normal((200, 37)) / 4).astype(np.float32)
    layer = packing.pack_dense(weights, weights[0], activation="softmax", dialect="tf1", dtype="float32")
    found["dense"] = stateless.dense(layer, weights.T[:, :1] * weights[:, 0])
    return found


def save(folder: str, everything: bool) -> None:
    """In a process of its own: the results, and what was compiled for them."""
    threads.set_num_threads(1)
    write(folder, results(everything))
