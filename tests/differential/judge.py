"""The outputs of this package for a model of `keras_side`, compared with those of Keras.

The error of an array is the largest |value - truth| / max(1, |truth|), the truth being Keras's float64 result. It may
be twice that of Keras's own float32 result - the largest of several, of the same inputs and of some moved by an ulp -
and four half-ulps of 1 (eight times that where `exponential`, which amplifies the rounding of its argument, is among
the activations). float64 results agree to 1e-10; to 1e-7 where Keras 2.15 rounds a constant of the activation to
float32. What is not finite has to be so in the same places.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import numba_lstm as nl
from differential import models
from numba_lstm.errors import MissingPackageError, NumbaLSTMError

HALF_ULP = 2.0**-24
CHAOS = 1e-3  # a model in which Keras's own float32 results are that far off cannot be judged
ROUNDED_CONSTANTS = {"gelu", "leaky_relu"}
# The files of one model: the one with weights, and that of the configuration where it stands elsewhere.
FILES = {"model.h5": None, "model.keras": None, "model.weights.h5": "model.json", "model_weights.h5": "model.json"}


@dataclass
class Verdict:
    """The verdict on one model: mismatches, one per line, or the reason why there is nothing to judge."""

    mismatches: list[str] = field(default_factory=list)
    refused_by_keras: str | None = None
    refused_here: str | None = None
    not_written: str | None = None
    not_reread: str | None = None  # by Keras, neither ours.h5 nor a file of its own
    compared: int = 0  # files
    chaotic: bool = False
    worst: float = 0.0  # error over limit


class Results:
    """The data of one model, Keras's outputs, and how far from the truth one may be."""

    def __init__(self, folder: Path) -> None:
        self.spec = json.loads((folder / "spec.json").read_text())
        with np.load(folder / "results.npz") as file:
            self._stored = dict(file)
        self.x, self.mask = self._stored["x"], self._stored.get("mask")
        self.own, self.float32, self.truth = (self._of(key) for key in (self.spec["policy"], "float32", "float64"))
        kws = [part["kw"] for part in models.parts(self.spec["layers"])]
        used = {kw.get(key) for kw in kws for key in ("activation", "recurrent_activation")}
        errors = [error(value, right) for value, right in zip(self.float32, self.truth, strict=True)]
        errors = [max(one, float(self._stored.get(f"error/{i}", 0))) for i, one in enumerate(errors)]
        self.chaotic = max(errors) > CHAOS
        self.limits = [2 * one + 4 * HALF_ULP * (8 if "exponential" in used else 1) for one in errors]
        if self.spec["policy"] == "float64":
            rounded = self.spec["dialect"] == "keras2" and used & ROUNDED_CONSTANTS
            self.limits = [1e-7 if rounded else 1e-10 for _ in errors]

    def _of(self, policy: str) -> list[Any]:
        return [self._stored[f"{policy}/{i}"] for i in range(len(self._stored)) if f"{policy}/{i}" in self._stored]

    def outputs(self, model: Any) -> list[Any]:
        """All that a call of a model returns, flat; of a stateful model from two calls."""
        calls = range(2 if self.spec["stateful"] else 1)
        return [one for _ in calls for one in flat(model(self.x, mask=self.mask))]


def flat(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return [one for part in value for one in flat(part)]
    return [np.asarray(value)]


def error(value: Any, truth: Any) -> float:
    """The largest error of an array, over the elements that are finite in both."""
    finite = np.isfinite(value) & np.isfinite(truth)
    errors = np.abs(value[finite].astype(np.float64) - truth[finite]) / np.maximum(1, np.abs(truth[finite]))
    return float(errors.max(initial=0))


def difference(values: Sequence[Any], truth: Sequence[Any], like: Sequence[Any], limits: Sequence[float]) -> Any:
    """The problem of `values` or None, and the largest error over its limit; `like` shows what is not finite."""
    if [value.shape for value in values] != [right.shape for right in truth]:
        return f"shapes {[v.shape for v in values]}; Keras gives {[v.shape for v in truth]}", np.inf
    if not all(np.array_equal(np.isfinite(v), np.isfinite(other)) for v, other in zip(values, like, strict=True)):
        return "values that are not finite in other places than Keras", np.inf
    errors = [error(value, right) for value, right in zip(values, truth, strict=True)]
    worst, found, limit = max((one / limit, one, limit) for one, limit in zip(errors, limits, strict=True))
    return f"error {found:.3g}, limit {limit:.3g}" if worst > 1 else None, worst


def reason(message: str) -> str:
    """A message without what differs from model to model."""
    text = re.sub(r"\S*/|\x1b?\[\d*m|Exception encountered when calling", "", message)
    return re.sub(r"\s+", " ", re.sub(r"'[^']*'|\d+", "*", text))[:160].strip()


def same_bits(values: list[Any], others: list[Any]) -> bool:
    return [value.tobytes() for value in values] == [other.tobytes() for other in others]


def judge(folder: Path) -> Verdict:
    """Load what Keras wrote, in each format, and compare; write ours.h5 for Keras to read."""
    verdict = Verdict()
    if (folder / "refused.txt").exists():
        verdict.refused_by_keras = reason((folder / "refused.txt").read_text())
        return verdict
    keras = Results(folder)
    verdict.chaotic = keras.chaotic
    for name, config in FILES.items():
        if keras.chaotic or not (folder / name).exists():
            continue
        try:
            model = nl.load(folder / name, config=config and folder / config)
            values = keras.outputs(model)
            alone = keras.spec["stateful"] or keras.spec["mask"]
            batched = values if alone else flat(model.predict(keras.x, batch_size=2))
        except MissingPackageError:
            raise
        except NumbaLSTMError as refusal:
            verdict.refused_here = f"{name}: {reason(str(refusal))}"
            continue
        except Exception as crash:
            verdict.mismatches.append(f"{name}: {type(crash).__name__}: {crash}")
            continue
        like = keras.own if keras.spec["policy"] == "float64" else keras.float32  # which overflows earlier
        words, worst = difference(values, keras.truth, like, keras.limits)
        if model.dialect != keras.spec["dialect"]:
            words = f"dialect {model.dialect}"
        if not same_bits(values, batched):
            words = "predict gives other bits than a call"
        verdict.mismatches += [f"{name}: {words}"] if words else []
        verdict.worst = max(verdict.worst, worst)
        verdict.compared += 1
    if verdict.compared and verdict.refused_here is None:
        write(model, folder, verdict, lambda other: same_bits(values, keras.outputs(other)))
    return verdict


def write(model: Any, folder: Path, verdict: Verdict, right: Callable[[Any], bool]) -> None:
    """ours.h5 for Keras; that file and those of this package's formats have to give the same bits here."""
    for name in ("ours.npz", "ours.safetensors", "ours.h5"):
        try:
            nl.save(model, folder / name)
            if not right(nl.load(folder / name)):
                verdict.mismatches.append(f"{name}: other bits")
        except NumbaLSTMError as refusal:
            verdict.not_written = f"{name}: {reason(str(refusal))}"
        except Exception as crash:
            verdict.mismatches.append(f"{name}: {type(crash).__name__}: {crash}")


def judge_reading(folder: Path, verdict: Verdict) -> None:
    """Keras must compute with ours.h5 as with the saved model, unless a file of its own fails alike."""
    keras = Results(folder)
    with np.load(folder / "read.npz") as file:
        stored = dict(file)
    ours, raised = values_of("ours.h5", stored)
    truth, limits = keras.own, [1e-12 if keras.spec["policy"] == "float64" else 4 * HALF_ULP] * len(keras.own)
    if keras.spec["policy"] == "float32":  # two runs of one model are rounded differently
        truth, limits = keras.truth, keras.limits
    words = raised or difference(ours, truth, keras.own, limits)[0]
    if not words:
        return
    for name in ("model.h5", "model.keras", "again.h5"):
        theirs, fault = values_of(name, stored)
        if raised and fault:
            alike = reason(raised) == reason(fault)
        else:  # again.h5 has other weights
            alike = name != "again.h5" and not raised and not fault and not difference(ours, theirs, theirs, limits)[0]
        if alike:
            verdict.not_reread = reason(words)
            return
    verdict.mismatches.append(f"ours.h5 in Keras: {words}")


def values_of(name: str, stored: dict[str, Any]) -> tuple[list[Any], str | None]:
    """The outputs of Keras with a file, or the error that it raised."""
    values = [stored[f"{name}/{i}"] for i in range(len(stored)) if f"{name}/{i}" in stored]
    return values, str(stored[f"{name}/error"]) if f"{name}/error" in stored else None
