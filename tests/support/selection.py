"""The stored results in tests/goldens, and how an implementation is judged by them.

An array passes when its error, max |value - truth| / max(1, |truth|), is at most twice the real system's own float32
error plus four half-ulps of 1; truth is the real system's float64 run. In float64 it must be within 1e-10. The rule
and the layout are those of the full set, whose own judge looks at many more cases.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.paths import GOLDENS

DATA = GOLDENS
CATEGORIES = {
    "tf115": ("cell_step", "sequence", "dropout"),
    "tf215": ("cell_step", "sequence", "dropout"),
    "k3": ("k3_cell_step", "k3_sequence", "k3_dropout"),
}
HALF_ULP = 2.0**-24
# Beyond this error of Keras's own, rounding has been amplified until nothing is left to compare.
CHAOTIC = 1e-3

Array = NDArray[Any]


@cache
def read_json(name: str) -> Any:
    return json.loads((DATA / name).read_text(encoding="utf-8"))


@cache
def arrays(name: str) -> Mapping[str, Array]:
    """All arrays of a file; none if the selection has no such file."""
    if not (DATA / name).exists():
        return {}
    with np.load(DATA / name, allow_pickle=False) as file:
        return dict(file)


@dataclass(frozen=True)
class Case:
    """One case as one system ran it: what golden_runner takes as ``get``. Called with a name, it gives that input."""

    category: str
    system: str
    content: Mapping[str, Any]

    @property
    def s(self) -> SimpleNamespace:
        """Where the stored results are, under the name that compare.py gives it."""
        return SimpleNamespace(data=DATA)

    def __call__(self, key: str | None) -> Array | None:
        return None if key is None else arrays(f"{self.category}_inputs.npz")[key]

    @property
    def outputs(self) -> Mapping[str, Array]:
        """The system's float32 outputs by name, without the masks of dropout."""
        return {name: value for name, value in self._stored("f32").items() if not name.endswith("_mask")}

    @property
    def truth(self) -> Mapping[str, Array]:
        """The system's float64 outputs, or their replacement where its constants were float32."""
        better = arrays("truth64.npz")
        prefix = self.content["id"] + "/"
        return {name: better.get(prefix + name, value) for name, value in self._stored("f64").items()}

    def masks(self) -> tuple[Array | None, Array | None]:
        """The dropout masks that the system used: (4, batch, input_dim) and (4, batch, units)."""
        stored = self._stored("f32")
        return stored.get("dp_mask"), stored.get("rec_mask")

    def weights(self) -> list[list[Array | None]]:
        return [[self(key) for key in keys] for keys in self.content["weights"]]

    def effective_implementation(self) -> int:
        """The implementation that the system used in the end."""
        layer = self.content["layer"]
        default = layer["cells"][0].get("implementation", 1 if layer["api"] == "v1" else 2)
        changed: Mapping[str, int] = read_json(f"run_{self.system}.json")["effective_implementation"]
        return changed.get(self.content["id"], default)

    def _stored(self, dtype: str) -> dict[str, Array]:
        """Arrays that are the same for all systems of a category are stored once, under the first."""
        prefix = self.content["id"] + "/"
        found: dict[str, Array] = {}
        first = "k3torch" if self.category.startswith("k3") else "tf215"
        for system in (first, self.system):
            if system == self.system or dtype == "f64" or self.category in ("cell_step", "sequence"):
                stored = arrays(f"{self.category}__{system}_{dtype}.npz")
                found |= {key.removeprefix(prefix): value for key, value in stored.items() if key.startswith(prefix)}
        return found


def cases(system: str) -> list[Case]:
    """Every case of the selection that the system ran."""
    return [
        Case(category, system, content)
        for category in CATEGORIES[system]
        for content in read_json(f"{category}.json")["cases"]
        if system in content["systems"]
    ]


def error(value: Array, truth: Array) -> float:
    """max |value - truth| / max(1, |truth|) over the elements that are finite in both."""
    finite = np.isfinite(value) & np.isfinite(truth)
    if not finite.any():
        return 0.0
    exact = truth[finite].astype(np.float64)
    return float((np.abs(value[finite] - exact) / np.maximum(1.0, np.abs(exact))).max())


def floor(case: Case) -> float:
    """The error of rounding alone: more where a gate's sum has large terms, or exp amplifies its argument's error."""
    half_ulps = 4.0 * min(max(1.0, case.content.get("scale", 1.0)), 1e4)
    names = {cell.get(key) for cell in case.content["layer"]["cells"] for key in ("activation", "recurrent_activation")}
    return half_ulps * HALF_ULP * (8 if "exponential" in names else 1)


def complaints(case: Case, run: Callable[[], Mapping[str, Array]], dtype: str) -> list[str]:
    """The problems of the outputs that ``run`` gives for a case: none, if all is well."""
    results = run()
    found = []
    for name, keras in case.outputs.items():
        truth = case.truth[name]
        value = results.get(name)
        if value is None or value.shape != truth.shape or value.dtype != np.dtype(dtype):
            came = "nothing" if value is None else f"{value.dtype} {value.shape}"
            found.append(f"{name}: expected {dtype} {truth.shape}, came {came}")
            continue
        reference = keras if dtype == "float32" else truth
        for kind in (np.isnan, np.isinf):
            if not np.array_equal(kind(value), kind(reference)):
                found.append(f"{name}: {kind.__name__} in other places than Keras")
        allowed = 2 * error(keras, truth) + floor(case) if dtype == "float32" else 1e-10
        if error(keras, truth) <= CHAOTIC and error(value, truth) > allowed:
            found.append(f"{name}: error {error(value, truth):.3g}, allowed {allowed:.3g}")
    return found
