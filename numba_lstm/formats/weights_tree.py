"""The groups of a file of weights as a tree, however its writer spelled their paths, and the weights of each layer.

Keras 2.12 to 2.15 on Windows put backslashes between the names, so that one name holds a path.
"""

from __future__ import annotations

from collections.abc import Iterator

from numba_lstm.checks import shown
from numba_lstm.errors import FileFormatError
from numba_lstm.formats.hdf5 import H5Object
from numba_lstm.formats.hdf5_data import H5Dataset
from numba_lstm.formats.stored import StoredArray

VARS = "vars"
DEEPEST = 12  # parts in parts: bidirectional/forward_layer/cell/cells/lstm_cell/vars has six
MOST_GROUPS = 100_000


class Group:
    """A group of the file, or a part of a path that only stands in the names of others."""

    def __init__(self, node: H5Object | None, where: str) -> None:
        self._node, self._where = node, where
        self._beyond: dict[str, Group] = {}  # by the rest of names with a path in them
        self._names = dict.fromkeys(name for name in node.links if "\\" not in name) if node is not None else {}
        for name in node.links if node is not None else ():
            if "\\" in name and node is not None:
                self._add(name.split("\\"), node, name)

    def _add(self, path: list[str], owner: H5Object, name: str) -> None:
        first, *rest = path
        inner = self._beyond.get(first)
        if inner is None:
            inner = self._beyond[first] = Group(None if rest else owner.child(name), f"{self._where}/{first}")
        if rest:
            inner._add(rest, owner, name)
        self._names.setdefault(first)

    def where(self) -> str:
        """The group's name for messages."""
        return self._node.where() if self._node is not None else self._where

    @property
    def names(self) -> list[str]:
        """The names of its members, sorted."""
        return sorted(self._names)

    def child(self, path: str) -> Group | None:
        """The group at `path`, or None."""
        group: Group = self
        for name in filter(None, path.split("/")):
            if name not in group._names:
                return None
            if name in group._beyond:
                group = group._beyond[name]
            else:
                assert group._node is not None
                group = Group(group._node.child(name), f"{group._where}/{name}")
        return group

    def variables(self) -> list[StoredArray]:
        """The arrays 0, 1, ... below ``vars``."""
        group = self.child(VARS)
        if group is None or group._node is None:
            return []
        names = [str(i) for i in range(len(group._names))]
        if group._names.keys() != set(names):
            raise FileFormatError(f"{group.where()} holds {shown(group.names)}; expected arrays 0, 1 and so on")
        datasets = [H5Dataset(group._node.child(name)) for name in names]
        return [StoredArray(data.node.path, data.shape, data.dtype, data.node.path, data.read) for data in datasets]

    def arrays(self, depth: int = 0, budget: list[int] | None = None) -> Iterator[tuple[str, StoredArray]]:
        """Every array below, and the path of the group that it is of."""
        budget = [MOST_GROUPS] if budget is None else budget
        yield from (("", array) for array in self.variables())
        for name in self.names:
            budget[0] -= 1
            if depth > DEEPEST or budget[0] < 0:
                raise FileFormatError(f"{self.where()} has groups without end; it is damaged: copy or write it again")
            if name != VARS and "seed_generator" not in name:
                inner = self.child(name)
                assert inner is not None
                yield from ((f"{name}/{path}".rstrip("/"), array) for path, array in inner.arrays(depth + 1, budget))
