"""Weights in the order of the tile, and the rounding to bf16."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.bf16 import to_bf16

from numba_lstm.kernels import pack
from numba_lstm.kernels.plain import rounded_to_bf16


def test_packed_gates() -> None:
    units, dtype = 3, np.dtype("float32")
    lanes = pack.lanes_of(dtype)
    kernel = np.arange(2 * 4 * units, dtype=dtype).reshape(2, 4 * units)
    packed = pack.pack_gates(kernel)
    assert packed.ctypes.data % pack.ALIGNMENT == 0
    blocks = packed.reshape(1, 2, 4, lanes)
    assert np.array_equal(blocks[0, :, :, :units].reshape(2, -1), kernel)
    assert not blocks[0, :, :, units:].any()


SPECIAL = np.array(
    [
        *(0.0, np.inf, 1e-40, 2.0**-126, 2.0**-127, 2.0**-133, 2.0**-134, 1.17549e-38, 3.3895314e38, 3.4e38),
        *(1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-8 + 2.0**-23, 1 + 2.0**-8 - 2.0**-23, 2 - 2.0**-23, 1e-20, 1e20),
    ],
    np.float32,
)


def numbers_of_all_sizes() -> NDArray[np.float32]:
    bits = np.random.default_rng(1).integers(0, 2**32, 100_000, dtype=np.uint32).view(np.float32)
    return np.concatenate([SPECIAL, -SPECIAL, bits[~np.isnan(bits)]])


def test_the_rounding_of_weights() -> None:
    x = numbers_of_all_sizes()
    widened = (rounded_to_bf16(x).astype(np.uint32) << 16).view(np.float32)
    assert np.array_equal(widened, to_bf16(x)) and np.array_equal(np.signbit(widened), np.signbit(x))
    nans = np.array([0x7F800001, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF], np.uint32).view(np.float32)
    assert np.isnan((rounded_to_bf16(nans).astype(np.uint32) << 16).view(np.float32)).all()


@pytest.mark.parametrize("kept", [np.uint16, np.uint32])
@pytest.mark.parametrize("rows", [1, 4, 5])
def test_packed_weights(rows: int, kept: Any) -> None:
    units, lanes = 3, pack.lanes_of(np.dtype(kept))
    kernel = np.random.default_rng(rows).standard_normal((rows, 4 * units))
    packed = pack.pack_gates(pack.as_kept(kernel, np.dtype(kept)))
    assert packed.dtype == kept and packed.ctypes.data % pack.ALIGNMENT == 0
    words = packed.reshape(-1, 4, lanes)[:, :, :units].reshape(-1, 4 * units)
    halves = words if kept == np.uint16 else np.stack([words & 0xFFFF, words >> 16], axis=1).reshape(-1, 4 * units)
    widened = (halves.astype(np.uint32) << 16).view(np.float32)
    assert np.array_equal(widened[:rows], to_bf16(kernel.astype(np.float32)))
    assert not widened[rows:].any() and len(widened) == rows + (rows % 2 if kept == np.uint32 else 0)
