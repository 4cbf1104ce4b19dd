"""The data of HDF5 files: every way in which h5py stores arrays."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from support.hdf5_bytes import LIBVERS, read

from numba_lstm.errors import FileFormatError


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.mark.parametrize("libver", LIBVERS[:2])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<i8", ">i2", "|u1"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (10, 7)},
        {"chunks": (10, 7), "compression": "gzip"},
        {"chunks": (37, 23), "compression": "gzip", "shuffle": True},
        {"chunks": (1, 23), "shuffle": True},
        {"maxshape": (None, 23), "chunks": (10, 23)},
    ],
    ids=["contiguous", "chunks", "gzip", "gzip-shuffle", "shuffle", "growing"],
)
def test_dtypes_and_layouts(
    tmp_path: Path, rng: np.random.Generator, libver: str, dtype: str, options: dict[str, Any]
) -> None:
    values = (rng.standard_normal((37, 23)) * 50).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w", libver=libver) as file:
        file.create_dataset("x", data=values, **options)
    stored = read(tmp_path / "a.h5", "x")
    assert stored.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(stored, values)


@pytest.mark.parametrize("libver", LIBVERS)
def test_compact_scalar_and_empty_data(tmp_path: Path, libver: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver=libver) as file:
        space, kind = h5py.h5s.create_simple((2, 3)), h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        kind.set_layout(h5py.h5d.COMPACT)
        made = h5py.h5d.create(file.id, b"compact", h5py.h5t.IEEE_F32LE, space, kind)
        h5py.Dataset(made)[...] = np.arange(6).reshape(2, 3)
        file.create_dataset("scalar", data=np.float32(2.5))
        file.create_dataset("empty", data=np.zeros((0, 3), "f"))
    np.testing.assert_array_equal(read(tmp_path / "a.h5", "compact"), np.arange(6).reshape(2, 3))
    assert read(tmp_path / "a.h5", "scalar") == 2.5
    assert read(tmp_path / "a.h5", "empty").shape == (0, 3)


@pytest.mark.parametrize("libver", ["v110", "latest"])
def test_virtual_data(tmp_path: Path, libver: str) -> None:
    layout = h5py.VirtualLayout((3,), "f")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (3,))
    with h5py.File(tmp_path / "a.h5", "w", libver=libver) as file:
        file.create_virtual_dataset("x", layout)
    with pytest.raises(FileFormatError, match="is virtual, which is not read"):
        read(tmp_path / "a.h5", "x")


VALUES = np.arange(12, dtype="<f4").reshape(3, 4)


@pytest.mark.parametrize("mask", range(4))
def test_filters_that_a_chunk_goes_without(tmp_path: Path, mask: int) -> None:
    """The bits of a mask count the filters from the first applied on: shuffle, then gzip."""
    data = VALUES.tobytes() if mask & 1 else VALUES.view(np.uint8).reshape(12, 4).T.tobytes()
    with h5py.File(tmp_path / "a.h5", "w", libver="earliest") as made:
        x = made.create_dataset("x", (3, 4), "<f4", chunks=(3, 4), compression="gzip", shuffle=True)
        x.id.write_direct_chunk((0, 0), data if mask & 2 else zlib.compress(data), filter_mask=mask)
    assert np.array_equal(read(tmp_path / "a.h5", "x"), VALUES)
