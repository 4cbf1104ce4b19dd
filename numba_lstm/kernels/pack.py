"""Weights in the order in which the tile reads them.

A cell's kernel (rows, 4 * units) becomes blocks of ``lanes`` units: ``[block][row k][gate i f c o][lane]``, so that
the four gates of a block are four neighbouring vectors for each k. A dense kernel (rows, units) is packed the same
way with four neighbouring groups of ``lanes`` units in the place of the gates. What is missing in the last block
is zero. Packed arrays are flat and start at a multiple of 64 bytes.

bf16 is kept in uint16; for CPUs that multiply pairs of it, in words of two neighbouring k, the lower k in the lower
half: ``[block][k / 2][gate][lane]``.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from numba_lstm.kernels import target
from numba_lstm.kernels.plain import rounded_to_bf16

Array = np.ndarray[Any, np.dtype[Any]]

ALIGNMENT = 64


def bf16_dtype() -> np.dtype[Any]:
    """The dtype that bf16 weights are packed as on this machine."""
    return np.dtype(np.uint32 if target.BF16_PAIRS else np.uint16)


def lanes_of(dtype: np.dtype[Any]) -> int:
    """Numbers of this dtype in one vector of this machine."""
    return target.LANES_FLOAT64 if dtype == np.float64 else target.LANES_FLOAT32


def address(array: Array) -> int:
    """Where the array's first number is; the caller keeps the array alive."""
    # As in __array_interface__, which takes longer: the first field of NumPy's PyArrayObject_fields.
    return ctypes.c_size_t.from_address(id(array) + object.__basicsize__).value


def _interface_address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


if any(address(array) != _interface_address(array) for array in (np.zeros(3), np.zeros((3, 3), np.uint8)[1:, ::-1])):
    address = _interface_address  # another implementation of Python or NumPy


def aligned_zeros(size: int, dtype: np.dtype[Any]) -> Array:
    """A flat array of zeros whose first byte is at a multiple of 64."""
    raw = np.zeros(size * dtype.itemsize + ALIGNMENT, np.uint8)
    start = -address(raw) % ALIGNMENT
    return raw[start : start + size * dtype.itemsize].view(dtype)


def padded(units: int, dtype: np.dtype[Any]) -> int:
    """units rounded up to whole vectors."""
    lanes = lanes_of(dtype)
    return -(-units // lanes) * lanes


def as_kept(kernel: Array, kept: np.dtype[Any]) -> Array:
    """(rows, columns) in float32 or float64 -> what is packed: that dtype, or bf16, of which words take two rows."""
    if kept.kind == "f":
        return kernel.astype(kept, copy=False)
    bits: Array = rounded_to_bf16(kernel.astype(np.float32, copy=False))
    if kept == np.uint16:
        return bits
    words: Array = np.zeros((-(-kernel.shape[0] // 2), 2, kernel.shape[1]), np.uint32)
    words.reshape(-1, kernel.shape[1])[: kernel.shape[0]] = bits
    words[:, 0] |= words[:, 1] << 16
    return words[:, 0]


def pack_gates(kernel: Array) -> Array:
    """(rows, 4 * units) -> flat [block][row][gate][lane]; a bias is a kernel of one row."""
    rows, units, lanes = kernel.shape[0], kernel.shape[1] // 4, lanes_of(kernel.dtype)
    blocks = -(-units // lanes)
    packed = aligned_zeros(blocks * rows * 4 * lanes, kernel.dtype)
    wide = np.zeros((rows, 4, blocks * lanes), kernel.dtype)
    wide[:, :, :units] = kernel.reshape(rows, 4, units)
    packed.reshape(blocks, rows, 4, lanes)[...] = wide.reshape(rows, 4, blocks, lanes).transpose(2, 0, 1, 3)
    return packed


def unpack_gates(packed: Array, rows: int, units: int) -> Array:
    """The other way: (rows, 4 * units), an array of its own."""
    lanes = lanes_of(packed.dtype)
    blocks = packed.reshape(-(-units // lanes), rows, 4, lanes).transpose(1, 2, 0, 3)
    return np.ascontiguousarray(blocks.reshape(rows, 4, -1)[:, :, :units]).reshape(rows, 4 * units)


def pack_units(kernel: Array) -> Array:
    """(rows, units) -> flat [group of 4 * lanes units][row][4][lane]; a bias is a kernel of one row."""
    rows, units = kernel.shape
    lanes = lanes_of(kernel.dtype)
    groups = -(-units // (4 * lanes))
    packed = aligned_zeros(groups * rows * 4 * lanes, kernel.dtype)
    wide = np.zeros((rows, groups * 4 * lanes), kernel.dtype)
    wide[:, :units] = kernel
    packed.reshape(groups, rows, 4 * lanes)[...] = wide.reshape(rows, groups, 4 * lanes).transpose(1, 0, 2)
    return packed
