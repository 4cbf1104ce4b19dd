"""The numbers of activations, by which compiled code knows them: their places in the tables below.

A new activation is a function in activations.py, a line here, and its name in ``semantics.dialects``.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from numba_lstm.semantics.dialects import ACTIVATIONS, ROW_ACTIVATIONS

# Kernels that hold these alone compile in half the time.
COMMON_NAMES = ("linear", "tanh", "sigmoid", "hard_sigmoid", "hard_sigmoid_keras3", "relu")
RARE_NAMES = (
    "relu6",
    "leaky_relu",
    "elu",
    "selu",
    "exponential",
    "softplus",
    "log_sigmoid",
    "softsign",
    "silu",
    "hard_silu",
    "gelu",
    "mish",
    "hard_tanh",
    "tanh_shrink",
    "soft_shrink",
    "hard_shrink",
    "squareplus",
    "sparse_plus",
    "sparse_sigmoid",
)
ROW_NAMES = ("softmax", "log_softmax", "sparsemax")


def numbered(elementwise: Iterable[str], rows: Iterable[str], listed: Iterable[str]) -> dict[str, int]:
    """The names, numbered by their places; those of ``rows`` come last.

    listed: the names that the dialects refer to. Raises RuntimeError for one that is missing on either side.
    """
    names = (*elementwise, *rows)
    codes = {name: number for number, name in enumerate(names)}
    if len(codes) < len(names):
        raise RuntimeError(f"codes.py has {len(names)} lines for {len(codes)} activations")
    known = set(listed)
    if missing := sorted(known - codes.keys()):
        raise RuntimeError(f"dialects.ACTIVATIONS refers to activations that have no line in codes.py: {missing}")
    if unused := sorted(codes.keys() - known):
        raise RuntimeError(f"activations of codes.py that dialects.ACTIVATIONS gives no name: {unused}")
    return codes


CODES = numbered(
    (*COMMON_NAMES, *RARE_NAMES), ROW_NAMES, (name for names in ACTIVATIONS.values() for name in names.values())
)
if set(ROW_NAMES) != ROW_ACTIVATIONS:
    raise RuntimeError(f"activations of rows {ROW_NAMES}; expected those of dialects.ROW_ACTIVATIONS")

LINEAR, TANH, SIGMOID, HARD_SIGMOID = map(COMMON_NAMES.index, ("linear", "tanh", "sigmoid", "hard_sigmoid"))
LAST_COMMON = len(COMMON_NAMES) - 1
SOFTMAX, LOG_SOFTMAX, SPARSEMAX = map(CODES.__getitem__, ROW_NAMES)
CUSTOM = len(CODES)  # one of the user's own

# In place of a function: the common ones. (True is all built-in ones.)
COMMON = np.uint8(0)
