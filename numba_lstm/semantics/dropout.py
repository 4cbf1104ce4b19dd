"""Dropout masks drawn from a counter, so that the value of one unit in one row depends on nothing else.

The numbers are those of Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3",
SC11; the constants are those of Random123). The layout is frozen: a change here changes every drawn mask.

    key      the seed, low 32 bits first
    counter  (unit // 4, row, draw, layer << 8 | which << 4 | gate)
             unit: column of the mask; row: row in the whole batch; draw: how often masks were drawn before;
             layer: number of the layer in its model; which: 0 dropout, 1 recurrent dropout; gate: 0 to 3 (i, f, c, o)
    number   word unit % 4 of the four that Philox gives; the unit is dropped if it is below round(rate * 2**32)

Kept units are 1 / (1 - rate), rounded to the mask's dtype, as in Keras.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numba_lstm.checks import check_int
from numba_lstm.errors import ConfigError
from numba_lstm.semantics.dialects import SYSTEM_NAMES, Dialect

DROPOUT, RECURRENT_DROPOUT = 0, 1

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
# Counters in work at once: enough for NumPy to be quick, few enough to stay in the caches.
_BLOCK = 1 << 15


class Draw(NamedTuple):
    """The seed and counter of a mask's numbers, without the gate, the row and the unit."""

    seed: int
    draw: int
    layer: int
    which: int  # DROPOUT or RECURRENT_DROPOUT


class MaskSource:
    """The masks of one cell: drawn when first asked for, the same until `reset`.

    `draws` counts the resets of dropout and of recurrent dropout. Only the last masks are kept, to save time: the
    counter makes the same ones again.
    """

    def __init__(self, seed: int, layer: int = 0) -> None:
        self.seed = seed
        self.layer = layer
        self.draws = [0, 0]
        self._last: list[tuple[Any, NDArray[Any]] | None] = [None, None]

    def reset(self, which: int) -> None:
        """Have new masks drawn next."""
        self.draws[which] += 1
        self._last[which] = None

    def masks(
        self,
        which: int,
        rate: float,
        batch: int,
        width: int,
        *,
        gates: int = 4,
        first_row: int = 0,
        draw: int | None = None,
        dtype: str = "float32",
    ) -> NDArray[Any]:
        """Masks (gates, batch, width), read-only; `draw` stands in for the count of resets."""
        source = Draw(self.seed, self.draws[which] if draw is None else draw, self.layer, which)
        key = (source, rate, batch, width, gates, first_row, dtype)
        last = self._last[which]
        if last is None or last[0] != key:
            masks = draw_masks(rate, batch, width, source, gates=gates, first_row=first_row, dtype=dtype)
            masks.flags.writeable = False
            last = self._last[which] = (key, masks)
        return last[1]


def new_seed() -> int:
    """64 bits from the operating system."""
    return secrets.randbits(64)


def philox(counter: Sequence[Any], key: Sequence[int]) -> NDArray[np.uint32]:
    """Philox4x32-10: counter, four numbers or arrays (...) of 32 bits; key, two numbers -> uint32 (..., 4)."""
    words = [np.asarray(word, np.uint64) for word in counter]
    keys = [int(word) for word in key]
    for _ in range(_ROUNDS):
        first = words[0] * _MULTIPLIERS[0]
        second = words[2] * _MULTIPLIERS[1]
        words = [
            (second >> _SHIFT) ^ words[1] ^ np.uint64(keys[0]),
            second & _LOW,
            (first >> _SHIFT) ^ words[3] ^ np.uint64(keys[1]),
            first & _LOW,
        ]
        keys = [(word + step) & 0xFFFFFFFF for word, step in zip(keys, _KEY_STEPS, strict=True)]
    return np.stack(np.broadcast_arrays(*words), axis=-1).astype(np.uint32)


def draw_masks(
    rate: float, batch: int, width: int, source: Draw, *, gates: int = 4, first_row: int = 0, dtype: str = "float32"
) -> NDArray[Any]:
    """Masks (gates, batch, width) of 0 and 1 / (1 - rate) for rows `first_row` and on; rate is from 0 to below 1."""
    check_int(first_row, "first_row", 0, 2**32 - batch)
    check_int(source.draw, "draw", 0, 2**32 - 1)
    check_int(source.layer, "layer", 0, 2**24 - 1)
    threshold = np.uint64(round(rate * 2**32))
    kept = np.dtype(dtype).type(1.0 / (1.0 - rate))
    masks = np.zeros((gates, batch, width), dtype)
    units = np.arange(-(-width // 4))
    rows_at_once = max(1, _BLOCK // max(1, len(units)))
    for gate in range(gates):
        place = source.layer << 8 | source.which << 4 | gate
        for row in range(0, batch, rows_at_once):
            rows = np.arange(first_row + row, first_row + min(row + rows_at_once, batch))
            numbers = philox((units, rows[:, None], source.draw, place), (source.seed & 0xFFFFFFFF, source.seed >> 32))
            keep = numbers.reshape(len(rows), -1)[:, :width] >= threshold
            masks[gate, row : row + len(rows)][keep] = kept
    return masks


def drops(rate: float, dialect: Dialect, name: str) -> bool:
    """Whether a rate drops anything when training.

    A rate of 1 raises `ConfigError` in TensorFlow's dialects, and is no dropout at all in Keras 3's, as in Keras.
    """
    if rate >= 1.0 and dialect != "keras3":
        raise ConfigError(
            f"{name} is {rate}; {SYSTEM_NAMES[dialect]} trains only with rates below 1; choose a lower one"
        )
    return 0.0 < rate < 1.0
