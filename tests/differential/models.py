"""Random models as plain data, with their weights and inputs. Needs NumPy only: Keras's interpreter imports it too.

A model is a dict: how it is put together (`style`, `batch`, `shape`, ...) and `layers`, each with its `class`, the
keyword arguments `kw`, and the parts that it wraps: `cells`, `layers`, or `layer` and `backward_layer`. A part with
`freeze` is frozen after it was made, or a direction of it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Layer = dict[str, Any]

COMMON = "elu exponential gelu hard_sigmoid leaky_relu linear mish relu relu6 selu sigmoid silu softplus softsign swish"
KERAS3 = "celu hard_shrink hard_silu hard_swish hard_tanh log_sigmoid soft_shrink sparse_plus sparse_sigmoid squareplus"
ACTIVATIONS = {"keras2": [*COMMON.split(), "tanh"], "keras3": [*COMMON.split(), *KERAS3.split(), "tanh", "tanh_shrink"]}
ROW_ACTIVATIONS = {"keras2": ["softmax"], "keras3": ["softmax", "log_softmax", "sparsemax"]}
POLICIES = {"float32": 0.7, "float64": 0.1, "mixed_float16": 0.1, "mixed_bfloat16": 0.1}
NAMES = ["encoder", "kernel", "bias_1", "forward_lstm", "lstm_cell", "layer", "cell_0", "LSTM"]
CELL_OPTIONS = {"use_bias": False, "unit_forget_bias": False, "dropout": 0.3, "recurrent_dropout": 0.2}
CELL_OPTIONS |= {"implementation": 1, "kernel_initializer": "he_normal", "recurrent_regularizer": "l2"}
CELL_OPTIONS |= {"bias_constraint": "max_norm"}


class Draw:
    """One model being drawn."""

    def __init__(self, dialect: str, seed: int) -> None:
        self.rng = np.random.default_rng([seed, 2 if dialect == "keras2" else 3])
        self.dialect, self.seed = dialect, seed
        self.names = list(self.rng.permutation(NAMES))
        self.layers: list[Layer] = []
        self.timesteps = self.whole(1, 7)
        self.fixed = self.chance(0.6)  # whether the model knows the timesteps
        self.time_major = dialect == "keras2" and self.chance(0.05)
        self.stateful = not self.time_major and self.chance(0.08)

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def whole(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def pick(self, values: Any) -> Any:
        return values[self.whole(0, len(values) - 1)]

    def units(self) -> int:
        return int(self.pick([1, 2, 3, 3, 4, 4, 5, 8, 17]))

    def activation(self, usual: str) -> str:
        return usual if self.chance(0.5) else str(self.pick(ACTIVATIONS[self.dialect]))

    def part(self, class_name: str, **kw: Any) -> Layer:
        """A layer or cell, now and then with a name, or frozen in one way or the other."""
        layer: Layer = {"class": class_name, "kw": kw}
        if self.names and self.chance(0.08):
            kw["name"] = str(self.names.pop())
        if self.chance(0.1):
            kw["trainable"] = False
        elif self.chance(0.06):
            layer["freeze"] = ""
        return layer

    def cell_arguments(self) -> dict[str, Any]:
        kw: dict[str, Any] = {"units": self.units()}
        if self.chance(0.4):
            kw |= {"activation": self.activation("tanh"), "recurrent_activation": self.activation("sigmoid")}
        return kw | {name: value for name, value in CELL_OPTIONS.items() if self.chance(0.15)}

    def rnn(self, sequences: bool, **options: Any) -> Layer:
        """LSTM, RNN over a cell, or RNN over a stack of cells."""
        kw: dict[str, Any] = {"return_sequences": sequences, **options}
        kw |= {name: True for name in ("go_backwards", "zero_output_for_mask") if self.chance(0.15)}
        if self.fixed and self.chance(0.15):
            kw["unroll"] = True
        if self.chance(0.55):
            return self.part("LSTM", **self.cell_arguments(), **kw)
        alone = "stateful" in options and self.dialect == "keras3"  # which fails with a stack
        cells = [self.part("LSTMCell", **self.cell_arguments()) for _ in range(1 if alone else self.pick([1, 1, 2, 3]))]
        return {**self.part("RNN", **kw), "cells": cells, "stack": not alone and (len(cells) > 1 or self.chance(0.3))}

    def bidirectional(self, sequences: bool, **options: Any) -> Layer:
        forward = self.rnn(sequences, **options)
        layer = self.part("Bidirectional", merge_mode=self.pick(["concat", "concat", "sum", "mul", "ave"]))
        layer["layer"] = forward
        if self.chance(0.15):
            layer["freeze"] = self.pick(["forward_layer", "backward_layer"])
        if self.dialect == "keras3":
            forward["kw"].pop("go_backwards", None)  # there both would read backwards, which it refuses
        if self.chance(0.4):
            layer["backward_layer"] = backward = self.rnn(sequences, **options)
            backward["kw"]["go_backwards"] = not forward["kw"].get("go_backwards", False)
            if layer["kw"]["merge_mode"] != "concat" or (self.dialect == "keras3" and self.chance(0.8)):
                ends = [(one.get("cells") or [one])[-1] for one in (forward, backward)]
                ends[1]["kw"]["units"] = ends[0]["kw"]["units"]
        return layer

    def recurrent(self, sequences: bool) -> Layer:
        options = {name: True for name in ("time_major", "stateful") if getattr(self, name)}
        return (self.bidirectional if self.chance(0.35) else self.rnn)(sequences, **options)

    def pointwise(self, rank: int = 2) -> Layer:
        """A layer that works on the features, with any axes before them."""
        kind = self.pick(["Dense", "Dense", "Dropout", "BatchNormalization", "LayerNormalization", "Activation"])
        if kind == "Dense":
            kw = {"units": self.units(), "activation": self.activation("relu"), "use_bias": self.chance(0.8)}
            return self.part(kind, **kw)
        if kind == "Dropout":
            return self.part(kind, rate=0.0 if self.time_major else 0.4)
        if kind == "Activation":
            return self.part(kind, activation=self.pick(ACTIVATIONS[self.dialect]))
        kw = {name: False for name in ("center", "scale") if self.chance(0.2)}
        if kind == "LayerNormalization" and rank == 3 and self.fixed and self.chance(0.2):
            kw["axis"] = self.pick([1, [1, 2], [2]])
        return self.part(kind, epsilon=self.pick([1e-3, 1e-2]), **kw)

    def masking(self) -> Layer:
        return self.part("Masking", mask_value=self.pick([0.0, 0.0, -1.0, 0.5]))

    def distributed(self, rank: int) -> tuple[Layer, int]:
        """A TimeDistributed and the rank of its outputs."""
        inner, pick = self.pointwise(), self.rng.random()
        if rank == 4 and pick < 0.6:
            sequences = self.chance(0.4)
            inner = self.bidirectional(sequences) if self.chance(0.4) else self.rnn(sequences)
            rank = 4 if sequences else 3
        elif rank == 4 and pick < 0.7:
            inner = self.masking()
        elif rank == 4 and pick < 0.78:
            inner, rank = self.part("Flatten") if self.chance(0.5) else self.nested(self.rnn(False)), 3
        return {**self.part("TimeDistributed"), "layer": inner}, rank

    def nested(self, *layers: Layer) -> Layer:
        return {"class": "Sequential", "kw": {}, "layers": list(layers)}

    def draw_layers(self, rank: int) -> None:
        """Layers of those that fit the rank: 2 vectors, 3 sequences, 4 sequences of sequences."""
        most, recurrent = self.whole(1, 5), 0
        while len(self.layers) < 9 and (len(self.layers) < most or not recurrent):
            pick = self.rng.random()
            if rank == 2 and pick < 0.5 and not self.time_major:
                self.timesteps, rank = self.whole(1, 5), 3
                layer = self.part("RepeatVector", n=self.timesteps)
            elif rank == 2 or pick > 0.75:
                layer = self.pointwise(rank)
            elif rank == 4 or (0.55 < pick < 0.65 and not self.time_major):
                layer, rank = self.distributed(rank)
                recurrent += layer["layer"]["class"] in ("LSTM", "RNN", "Bidirectional")
            elif pick < 0.45:
                sequences = self.chance(0.6 if len(self.layers) + 1 < most else 0.4)
                layer = self.recurrent(sequences)
                layer = self.nested(layer) if self.chance(0.01) else layer
                recurrent, rank = recurrent + 1, 3 if sequences else 2
            elif pick < 0.55:
                layer = self.masking()
            elif pick < 0.7 and recurrent and self.fixed and not self.time_major:
                layer, rank = self.part("Flatten"), 2
            else:
                layer = self.part("SpatialDropout1D", rate=0.0 if self.time_major else 0.2)
            self.layers.append(layer)
        if self.chance(0.3):
            row = self.pick(ROW_ACTIVATIONS[self.dialect]) if self.chance(0.4) else "sigmoid"
            self.layers.append(self.part("Dense", units=self.whole(1, 4), activation=row))

    def model(self) -> dict[str, Any]:
        rank = 3 if self.time_major or self.stateful else self.pick([2, 3, 3, 3, 3, 3, 3, 3, 4])
        shape = [[], [], [], [self.timesteps], [self.whole(1, 4), self.timesteps]][rank] + [self.whole(1, 5)]
        indices = 0
        if rank > 2 and not self.time_major and self.chance(0.25):
            indices, shape = self.whole(2, 9), shape[:-1]
            kw = {"input_dim": indices, "output_dim": self.units(), "mask_zero": self.chance(0.6)}
            if self.dialect == "keras2" and rank == 3 and self.fixed and self.chance(0.3):
                kw["input_length"] = self.timesteps
            self.layers.append(self.part("Embedding", **kw))
        elif rank > 2 and self.chance(0.4):
            self.layers.append(self.masking())
        self.draw_layers(rank)
        style = self.pick(["functional", "functional", "input", "input", "built"])
        if style == "functional" and self.chance(0.1):
            if self.layers[-1]["class"] in ("LSTM", "RNN"):
                self.layers[-1]["kw"]["return_state"] = True
            elif self.layers[-1]["class"] == "Bidirectional":
                self.layers[-1]["kw"]["merge_mode"] = None
        return {
            "style": "argument" if style == "built" and self.dialect == "keras2" and self.seed % 2 else style,
            "shape": shape,  # of a row
            "open": None if self.fixed or rank == 2 else rank - 3,  # the axis of it that the model leaves open
            "batch": self.whole(1, 4),
            "fixed_batch": self.stateful or self.chance(0.1),
            "time_major": self.time_major,
            "stateful": self.stateful,
            "indices": indices,
            "mask": rank == 3 and not self.time_major and self.chance(0.1),  # whether the call is given one
            "policy": str(self.rng.choice(list(POLICIES), p=list(POLICIES.values()))),
            "explicit": self.chance(0.5),  # the policy is given to each layer, not set for all
            "scale": self.pick([0.5, 1.0, 1.0, 1.5]),
            "layers": self.layers,
        }


def draw(dialect: str, seed: int) -> dict[str, Any]:
    """The model of a seed."""
    return {"dialect": dialect, "seed": seed, **Draw(dialect, seed).model()}


def parts(layers: list[Layer]) -> list[Layer]:
    """All layers and cells, those within others too."""
    found = []
    for layer in layers:
        inner = [layer[key] for key in ("layer", "backward_layer") if key in layer]
        found += [layer, *parts([*inner, *layer.get("cells", []), *layer.get("layers", [])])]
    return found


def weights(spec: dict[str, Any], names: list[str], shapes: list[tuple[int, ...]]) -> list[Any]:
    """Uniform random weights for variables of these names and shapes; those that scale are around 1."""
    rng = np.random.default_rng([spec["seed"], 5])
    made = []
    for name, shape in zip(names, shapes, strict=True):
        spread = 1.7 * spec["scale"] / np.sqrt(shape[0]) if len(shape) > 1 else 0.5
        values = rng.uniform(-spread, spread, shape) + ("variance" in name or "gamma" in name)
        made.append(values.astype(np.float32))
    return made


def inputs(spec: dict[str, Any]) -> tuple[Any, Any]:
    """The inputs, with masked timesteps at the start, at the end, between and in whole rows; and a mask, or None."""
    rng = np.random.default_rng([spec["seed"], 7])
    shape = (spec["batch"], *spec["shape"])
    steps = shape if spec["indices"] else shape[:-1]
    skipped = rng.random(steps) < rng.choice([0.0, 0.3, 0.6])
    if len(steps) > 1 and rng.random() < 0.7:
        for row in np.ndindex(steps[:-1]):
            length, place = rng.integers(0, steps[-1] + 1), np.arange(steps[-1])
            skipped[row] |= [place < length, place >= length, place < 0, place < 0, place >= 0][rng.integers(0, 5)]
    if spec["indices"]:
        x = rng.integers(1, spec["indices"], shape).astype(np.int32)
        x[skipped] = 0
    else:
        x = rng.standard_normal(shape).astype(np.float32)
        values = [part["kw"]["mask_value"] for part in parts(spec["layers"]) if part["class"] == "Masking"]
        if values and len(steps) > 1:
            x[skipped] = values[0]
    x = x.swapaxes(0, 1).copy() if spec["time_major"] else x
    return x, rng.random(shape[:2]) < 0.6 if spec["mask"] else None


def nudged(x: Any, number: int) -> Any:
    """The same inputs, each number moved by an ulp or not: results are as right or wrong, and rounded differently."""
    moved = x * (1 + np.random.default_rng(number).integers(-1, 2, x.shape) * 2.0**-23)
    masked = np.isin(x, (0.0, -1.0, 0.5))  # what Masking looks for
    return np.where(masked, x, moved).astype(x.dtype) if x.dtype == np.float32 else x
