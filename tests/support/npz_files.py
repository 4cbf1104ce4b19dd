"""Bare .npz files and zip files of any members, for tests that need some."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

U, D = 4, 3


def cell_weights(dtype: str = "float32", bias: bool = True) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(5)
    shapes: dict[str, tuple[int, ...]] = {"kernel": (D, 4 * U), "recurrent_kernel": (U, 4 * U), "bias": (4 * U,)}
    return {key: rng.standard_normal(shape).astype(dtype) for key, shape in shapes.items() if bias or key != "bias"}


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def zip_of(path: Path, members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def bare_members(**replaced: Any) -> list[tuple[str, bytes]]:
    return [(f"{key}.npy", npy(value)) for key, value in {**cell_weights(), **replaced}.items() if value is not None]
