"""bf16 emulated: the rounding, and a step in float64 of rounded numbers."""

from __future__ import annotations

from typing import Any

import naive
import numpy as np
from numpy.typing import NDArray

from numba_lstm.backends.cpu import packing, threads
from numba_lstm.backends.cpu import run as cpu
from numba_lstm.kernels import target
from support.builds import write

Array = NDArray[Any]

PAIRS = target.BF16_PAIRS  # inputs and h are rounded like the weights where the CPU multiplies pairs of bf16
FLOAT32_ERROR = 4e-6  # of the sums and activations, as in kernels/test_cpu.py


def to_bf16(x: Any) -> Array:
    """The nearest numbers with 8 significant bits, halves to even, from their definition; not of NaN."""
    x = np.asarray(x, np.float64)
    exponent = np.maximum(np.frexp(x)[1], -125)
    with np.errstate(invalid="ignore"):
        rounded = np.ldexp(np.rint(np.ldexp(x, 8 - exponent)), exponent - 8)
    return np.where(np.abs(rounded) >= 2.0**128, np.copysign(np.inf, x), rounded)


def operands(x: Any) -> Array:
    """Inputs or h as the kernels multiply them."""
    return to_bf16(np.asarray(x, np.float32)) if PAIRS else np.asarray(x, np.float64)


def random_weights(rng: np.random.Generator, input_dim: int, units: int) -> list[Array]:
    kernel = (rng.standard_normal((input_dim, 4 * units)) / np.sqrt(input_dim)).astype(np.float32)
    recurrent_kernel = (rng.standard_normal((units, 4 * units)) / np.sqrt(units)).astype(np.float32)
    return [kernel, recurrent_kernel, rng.standard_normal(4 * units).astype(np.float32)]


def packed_cell(weights: list[Array], **options: Any) -> packing.PackedCell:
    options = {"activation": "tanh", "recurrent_activation": "sigmoid", "dialect": "keras3", **options}
    return packing.pack_cell(*weights, dtype="bf16", **options)


def largest_step_error(
    y: Array,
    x: Array,
    weights: list[Array],
    h: Array,
    c: Array,
    mask: Array,
    dropout: Any = None,
    recurrent: Any = None,
) -> float:
    """How far the outputs y (in the order of x) are from each step worked out in float64 from the output before.

    Every step starts from the h that was computed: from its own, a last digit less would now and then turn into a
    rounding to the other side.
    """
    kernel, recurrent_kernel, bias = weights
    rounded = [to_bf16(kernel), to_bf16(recurrent_kernel), bias]
    ones_x, ones_h = np.ones((1, len(x), x.shape[2]), np.float32), np.ones((1, *h.shape), np.float32)
    h, c, worst = h.copy(), c.astype(np.float64), 0.0
    for t in range(x.shape[1]):
        x_now = operands(x[:, t] * (ones_x if dropout is None else dropout))
        h_now = operands(h * (ones_h if recurrent is None else recurrent))
        expected, c_next = naive.cell(
            ones_x[0], ones_h[0], c, rounded, recurrent_activation="sigmoid", mask=x_now, recurrent_mask=h_now
        )
        on = mask[:, t]
        worst = max(worst, np.abs(y[on, t] - expected[on]).max(initial=0))
        h[on], c[on] = y[on, t], c_next[on]
    return worst


SHAPES = ((3, 5), (17, 16), (131, 21), (9, 150))  # (input_dim, units)


def save(folder: str, everything: bool) -> None:
    """In a process of its own: errors beside an emulation for a few rows, for many too with everything; the code."""
    threads.set_num_threads(1)
    found = {"pairs": np.array(target.BF16_PAIRS)}
    for batch in (1, 2, 5, 9, 52) if everything else (1, 2, 5):
        for input_dim, units in SHAPES:
            rng = np.random.default_rng(units)
            weights = random_weights(rng, input_dim, units)
            h, c = rng.standard_normal((2, batch, units)).astype(np.float32)
            x = rng.standard_normal((batch, 7, input_dim)).astype(np.float32)
            y, _, _ = cpu.sequence(packed_cell(weights), x, h, c, return_sequences=True)
            error = largest_step_error(y, x, weights, h, c, np.ones((batch, 7), bool))
            found[f"{batch} {input_dim} {units}"] = np.array(error)
    write(folder, found)
