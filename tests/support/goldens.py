"""The folder with the full set of stored results of the real Keras."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

GOLDENS_VARIABLE = "NUMBA_LSTM_GOLDENS"


class Goldens:
    """The folder of stored results: ``compare.py`` and ``data/``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"

    def json(self, name: str) -> Any:
        import json

        return json.loads((self.data / name).read_text())

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        with np.load(self.data / name, allow_pickle=False) as file:
            return dict(file)

    def compare(self) -> ModuleType:
        """The folder's own judge, compare.py, as a module."""
        spec = importlib.util.spec_from_file_location("goldens_compare", self.folder / "compare.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
