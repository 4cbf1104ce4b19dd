"""A benchmark's JSON as questions and answers: what the tables and charts have in common."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

OWN = "numba_lstm"
LIBRARIES = ("torch", "onnxruntime", "OpenVINO")
FLOAT32 = (*LIBRARIES, "Keras, TensorFlow", "20 lines of numba")
BF16 = ("numba_lstm, bf16", "torch, bf16", "OpenVINO, as it comes")

Entry = dict[str, Any]
Shape = tuple[int, ...]


class Results:
    """One run."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.threads: list[int] = data["threads"]
        self._grid = {(e["section"], e["threads"], tuple(e["shape"]), e["peer"]): e for e in data["grid"]}

    def shapes(self, section: str) -> list[Shape]:
        """The shapes of a section, in the order of the run, one row first."""
        return list(dict.fromkeys(tuple(e["shape"]) for e in self.data["grid"] if e["section"] == section))

    def entry(self, section: str, threads: int, shape: Shape, peer: str = OWN) -> Entry | None:
        """What was measured, if it was."""
        return self._grid.get((section, threads, shape, peer))

    def ratio(self, section: str, threads: int, shape: Shape, peer: str) -> float | None:
        """The peer's shortest time over this project's."""
        own, other = (self.entry(section, threads, shape, name) for name in (OWN, peer))
        return other["min"] / own["min"] if own and other else None

    def fastest(self, section: str, threads: int, shape: Shape) -> tuple[float, str] | None:
        """The smallest ratio among the libraries in float32, and whose it is."""
        found = [(self.ratio(section, threads, shape, name), name) for name in LIBRARIES]
        return min(((ratio, name) for ratio, name in found if ratio is not None), default=None)

    def share(self, section: str, threads: int, shape: Shape) -> float | None:
        """How much of the limit this project reaches."""
        own = self.entry(section, threads, shape)
        return own["floor"] / own["min"] if own else None

    def own(self, section: str, threads: int | None = None) -> list[Entry]:
        """What was compared with this project itself."""
        return [e for e in self.data["own"] if e["section"] == section and threads in (None, e["threads"])]

    def peers(self, names: Sequence[str], section: str = "grid") -> list[str]:
        """Those of the names that were measured."""
        there = {e["peer"] for e in self.data["grid"] if e["section"] == section}
        return [name for name in names if name in there]


def geometric_mean(values: Iterable[float]) -> float:
    """The mean that ratios want."""
    logarithms = [math.log(value) for value in values]
    return math.exp(sum(logarithms) / len(logarithms))


def shape_text(shape: Sequence[int]) -> str:
    """batch, timesteps, input_dim, units"""
    return ", ".join(map(str, shape))


def threads_text(number: int) -> str:
    """1 thread, 2 threads"""
    return f"{number} thread" + ("s" if number != 1 else "")


def milliseconds(seconds: float) -> str:
    """Three digits that count."""
    return _three(seconds * 1e3)


def microseconds(seconds: float) -> str:
    """Three digits that count."""
    return _three(seconds * 1e6)


def _three(number: float) -> str:
    digits = 2 - math.floor(math.log10(number)) if number > 0 else 0
    return f"{number:.{min(max(digits, 0), 4)}f}"
