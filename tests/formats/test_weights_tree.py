"""The tree of groups in a file of weights, with either separator in its names."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from numba_lstm.errors import FileFormatError
from numba_lstm.formats.hdf5 import H5File
from numba_lstm.formats.weights_tree import Group

PLACES = {"lstm/cell/vars/0": 1.0, "lstm/cell/vars/1": 2.0, "dense/vars/0": 3.0}


@pytest.mark.parametrize("slash", ["/", "\\"])
def test_groups_and_arrays(tmp_path: Path, slash: str) -> None:
    """Keras 2.12 to 2.15 on Windows wrote the path of a group as one name, with backslashes."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for place, number in PLACES.items():
            group, _, name = place.partition("/vars/")
            file.require_group(group.replace("/", slash)).require_group("vars")[name] = np.array([number])
        file["dropout/seed_generator/vars/0"] = [7]
    with H5File(tmp_path / "a.h5") as h5:
        root = Group(h5.root, "a.h5")
        assert root.names == ["dense", "dropout", "lstm"]
        cell = root.child("lstm/cell")
        assert cell is not None and [array.read()[0] for array in cell.variables()] == [1.0, 2.0]
        assert root.child("lstm/gone") is None and root.variables() == []
        found = [(path, array.read()[0]) for path, array in root.arrays()]
        assert found == [("dense", 3.0), ("lstm/cell", 1.0), ("lstm/cell", 2.0)]


def test_variables_are_numbered_without_a_gap(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["vars/0"], file["vars/2"] = np.zeros(2), np.zeros(2)
    with (
        H5File(tmp_path / "a.h5") as h5,
        pytest.raises(FileFormatError, match=r"holds .*'0', '2'.*; expected arrays 0, 1"),
    ):
        Group(h5.root, "a.h5").variables()


def test_groups_in_a_circle(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["layers/dense/again"] = file.require_group("layers")
    with H5File(tmp_path / "a.h5") as h5, pytest.raises(FileFormatError, match="has groups without end"):
        list(Group(h5.root, "a.h5").arrays())
