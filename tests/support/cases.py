"""Drawn cases of a cell over a sequence, every option with every other, and what the oracle says of them.

A case is drawn from its number alone. The cells are few and used again and again, as those of a model are.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import naive
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from numba_lstm.backends.cpu import packing
from numba_lstm.backends.cpu.packing import PackedCell

TOLERANCE = {"float32": 1e-5, "float64": 3e-14}
# Activations with the dtypes that they are tried in: what other tests have compiled already.
KINDS = (
    ("tanh", "sigmoid", "float32"),
    ("tanh", "hard_sigmoid", "float32"),
    ("tanh", "sigmoid", "float64"),
    ("relu", "sigmoid", "float32"),
    ("softmax", "sigmoid", "float32"),
)
MASKS = ("none", "none", "prefix", "suffix", "holes", "ragged holes", "rows of nothing", "all", "nothing")


class Cell(NamedTuple):
    """Packed weights, and the same for the oracle."""

    packed: PackedCell
    weights: list[Any]
    activation: str
    recurrent_activation: str
    dtype: str

    @property
    def units(self) -> int:
        return len(self.weights[1])


class Case(NamedTuple):
    """The arguments of `run.sequence`."""

    x: Any
    h: Any
    c: Any
    options: dict[str, Any]  # of dtypes and strides of all kinds


@cache
def cell(kind: int, input_dim: int, units: int) -> Cell:
    """A cell of one of the `KINDS`."""
    activation, recurrent_activation, dtype = KINDS[kind]
    rng = np.random.default_rng([kind, input_dim, units])
    weights = [rng.normal(size=(width, 4 * units)) / np.sqrt(width) for width in (input_dim, units)]
    weights = [weight.astype(dtype) for weight in [*weights, rng.normal(size=4 * units)]]
    options: dict[str, Any] = {"activation": activation, "recurrent_activation": recurrent_activation}
    packed = packing.pack_cell(*weights, **options, dialect="tf1", dtype=dtype)
    return Cell(packed, weights, activation, recurrent_activation, dtype)


def one_of(rng: np.random.Generator, *values: Any) -> Any:
    return values[rng.integers(len(values))]


def batch_of(rng: np.random.Generator) -> int:
    """1 to 60 rows: often as few as share a tile, or about as many as make a group."""
    few, some, many = int(rng.integers(1, 12)), int(rng.integers(12, 48)), int(rng.integers(48, 61))
    return int(one_of(rng, 1, few, few, some, many))


def mask_of(rng: np.random.Generator, batch: int, timesteps: int, kind: str) -> Any:
    """(batch, timesteps) booleans or numbers, or None."""
    steps, lengths = np.arange(timesteps), rng.integers(0, timesteps + 1, (batch, 1))
    holes = rng.random((batch, timesteps)) < 0.7
    mask = {
        "none": None,
        "prefix": steps < lengths,
        "suffix": steps >= lengths,
        "holes": holes,
        "ragged holes": holes & (steps < lengths),
        "rows of nothing": holes & (rng.random((batch, 1)) < 0.5),
        "all": np.ones((batch, timesteps), bool),
        "nothing": np.zeros((batch, timesteps), bool),
    }[kind]
    if mask is None:
        return None
    # The driver is handed booleans, in any order in memory.
    return one_of(rng, mask, np.asfortranarray(mask), np.repeat(mask, 2, axis=1)[:, ::2])


def factors(rng: np.random.Generator, number: int, batch: int, width: int) -> Any:
    """A dropout mask (number, batch, width) of either dtype, or None for 0."""
    if not number:
        return None
    dropped = (rng.random((number, batch, width)) < 0.75) / 0.75
    return one_of(rng, dropped.astype("f"), dropped, np.asfortranarray(dropped))


def inputs_of(rng: np.random.Generator, batch: int, timesteps: int, width: int, dtype: str) -> Any:
    """(batch, timesteps, width) in one of the orders in memory that callers have."""
    x = rng.normal(size=(batch, timesteps, width)).astype(dtype)
    wide = np.zeros((batch, timesteps, 2 * width), dtype)
    wide[..., ::2] = x
    backwards = np.ascontiguousarray(x[:, ::-1])[:, ::-1]
    records = np.zeros((batch, timesteps), [("x", dtype, (width,)), ("a byte more", "u1")])
    records["x"] = x
    time_major = x.transpose(1, 0, 2).copy().transpose(1, 0, 2)
    return one_of(rng, x, x, time_major, wide[..., ::2], backwards, x.astype("d"), records["x"])


def windows_of(rng: np.random.Generator, batch: int, timesteps: int, width: int, dtype: str) -> Any:
    """The same as windows of one record, one to three timesteps apart."""
    stride = int(rng.integers(1, 4))
    record = rng.normal(size=((batch - 1) * stride + timesteps, width)).astype(dtype)
    return sliding_window_view(record, timesteps, axis=0)[::stride].swapaxes(1, 2)


def drawn(rng: np.random.Generator, of: Cell, batch: int, timesteps: int) -> Case:
    """A case for this cell; every option is drawn by itself."""
    input_dim, numbers = len(of.weights[0]), (0, 0, 1, 4)
    # Sums over windows, which share them, are compiled by themselves: in float32.
    source = windows_of if batch > 1 and of.dtype == "float32" and rng.random() < 0.2 else inputs_of
    states = [rng.normal(size=(batch, of.units)).astype(one_of(rng, of.dtype, "d")) for _ in "hc"]
    options = {
        "mask": mask_of(rng, batch, timesteps, one_of(rng, *MASKS)),
        "dropout_mask": factors(rng, one_of(rng, *numbers), batch, input_dim),
        "recurrent_dropout_mask": factors(rng, one_of(rng, *numbers), batch, of.units),
        "go_backwards": one_of(rng, False, True),
        "return_sequences": one_of(rng, False, True),
        "zero_output_for_mask": one_of(rng, False, True),
    }
    return Case(source(rng, batch, timesteps, input_dim, of.dtype), *states, options)


def truth(of: Cell, case: Case) -> tuple[Any, Any, Any]:
    """The oracle's results: the outputs, and the final h and c."""
    options = case.options
    outputs, h, c = naive.sequence(
        case.x,
        of.weights,
        case.h,
        case.c,
        step_mask=options["mask"],
        go_backwards=options["go_backwards"],
        zero_output_for_mask=options["zero_output_for_mask"],
        activation=of.activation,
        recurrent_activation=of.recurrent_activation,
        mask=options["dropout_mask"],
        recurrent_mask=options["recurrent_dropout_mask"],
    )
    return outputs if options["return_sequences"] else outputs[:, -1], h, c


def differences(found: Any, expected: Any, dtype: str) -> list[str]:
    """The problems of the results: shapes, dtypes, numbers."""
    wrong = []
    for name, value, exact in zip(("outputs", "h", "c"), found, expected, strict=True):
        if value.dtype != dtype or value.shape != exact.shape:
            wrong.append(f"{name}: {value.dtype} {value.shape} in the place of {dtype} {exact.shape}")
        elif not np.all(np.abs(value - exact) <= TOLERANCE[dtype] * np.maximum(1, np.abs(exact))):
            wrong.append(f"{name}: off by {np.max(np.abs(value - exact))}")
    return wrong


def described(case: Case) -> str:
    """In one line."""
    options = {name: getattr(value, "shape", value) for name, value in case.options.items()}
    return f"x {case.x.shape} {case.x.dtype} {case.x.strides}, {options}"


def shared_memory(results: list[Any], given: list[Any]) -> bool:
    """Whether two of the results lie in one memory, or one of them in what was given."""
    others = [array for array in given if array is not None]
    pairs = [(a, b) for i, a in enumerate(results) for b in [*results[i + 1 :], *others]]
    return any(np.may_share_memory(a, b) for a, b in pairs)
