"""Stored hashes of outputs: no change of structure or speed changes a bit of them.

`python tests/test_bits.py` writes the file anew; that is right only where results are meant to change, and then the
CHANGELOG says which. Weights and inputs are uniform, so they need nothing but NumPy's generator.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from support.paths import DATA

import numba_lstm as nl
from numba_lstm import doctor as diagnosis

STORED = DATA / "bits.json"
CASES = 300


def drawn(rng: Any, *shape: int) -> Any:
    return (2 * rng.random(shape) - 1).astype("f")


def one_of(rng: Any, *values: Any) -> Any:
    return values[int(rng.random() * len(values))]


def with_weights(rng: Any, layer: Any, shape: tuple[int | None, ...]) -> Any:
    layer.build(shape)
    scale = 1 / np.sqrt(max(4, shape[-1] or 0))
    layer.set_weights([np.abs(w) if "variance" in name else w for name, w in uniform(rng, layer, scale)])
    return layer


def uniform(rng: Any, layer: Any, scale: float) -> Any:
    return [
        (name, scale * drawn(rng, *w.shape)) for name, w in zip(layer.weight_names(), layer.get_weights(), strict=True)
    ]


def lstm(rng: Any, common: dict[str, Any], **options: Any) -> Any:
    return nl.LSTM(
        one_of(rng, 1, 5, 16, 17, 40, 70),
        activation=one_of(rng, "tanh", "tanh", "tanh", "relu", "softsign", "softmax"),
        recurrent_activation=one_of(rng, "sigmoid", "hard_sigmoid"),
        use_bias=one_of(rng, True, True, False),
        implementation=2 if common["dialect"] == "keras3" else one_of(rng, 1, 2),
        **common,
        **options,
    )


def single(rng: Any, common: dict[str, Any]) -> Any:
    """One layer, with masks of every kind, states, and dropout masks given or drawn."""
    width, batch, steps = one_of(rng, 1, 3, 20), one_of(rng, 1, 2, 5, 7, 50), one_of(rng, 1, 9, 30)
    dropped = one_of(rng, False, False, True)
    options = {"dropout": 0.25, "recurrent_dropout": one_of(rng, 0.0, 0.5), "seed": 5} if dropped else {}
    layer = lstm(
        rng,
        common,
        return_sequences=one_of(rng, True, False),
        return_state=one_of(rng, True, False),
        go_backwards=one_of(rng, True, False),
        **options,
    )
    with_weights(rng, layer, (None, None, width))
    masked = one_of(rng, None, None, 0.8, 0.3)
    given: dict[str, Any] = {}
    if one_of(rng, True, False):
        given["initial_state"] = [drawn(rng, batch, layer.units), drawn(rng, batch, layer.units)]
    x = drawn(rng, batch, steps, width)
    return layer(x, mask=None if masked is None else rng.random((batch, steps)) < masked, training=dropped, **given)


def model(rng: Any, common: dict[str, Any]) -> Any:
    """Layers of every kind one above the other: whole, in windows, of unequal lengths, and step by step."""
    width = one_of(rng, 2, 6)
    layers, shape = [], (None, None, width)
    for _ in range(one_of(rng, 1, 2, 3)):
        layer = lstm(rng, common, return_sequences=True)
        kind = one_of(rng, "lstm", "lstm", "bidirectional", "dense", "layer norm", "batch norm")
        if kind == "bidirectional":
            layer = nl.Bidirectional(
                layer, merge_mode=one_of(rng, "concat", "sum", "mul", "ave"), dialect=common["dialect"]
            )
        layers.append(with_weights(rng, layer, shape))
        shape = layer.output_shape(shape)
        if kind == "dense":
            activation = one_of(rng, None, "relu", "softmax", "tanh")
            layers.append(nl.TimeDistributed(nl.Dense(9, activation=activation, **common), dialect=common["dialect"]))
        elif kind == "layer norm" and common["dialect"] != "tf1":
            layers.append(nl.LayerNormalization(**common))
        elif kind == "batch norm":
            layers.append(nl.BatchNormalization(**common))
        if layers[-1] is not layer:
            layers[-1] = with_weights(rng, layers[-1], shape)
            shape = layers[-1].output_shape(shape)
    whole = nl.Sequential(layers)
    whole.build((None, None, width))
    batch, steps = one_of(rng, 1, 4, 33), one_of(rng, 1, 25)
    x = drawn(rng, batch, steps, width)
    results = [whole.predict(x, lengths=one_of(rng, None, rng.integers(0, steps + 1, batch)))]
    results.append(whole.predict(drawn(rng, 40, width), windows=(12, one_of(rng, 1, 3))))
    if all(isinstance(layer, nl.LSTM | nl.TimeDistributed) for layer in layers):
        session = whole.session(batch)
        results += [session.step(x[:, t]) for t in range(min(steps, 3))]
    return results


def hashed(result: Any) -> str:
    parts = result if isinstance(result, list | tuple) else [result]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part.dtype} {part.shape}".encode() + np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()[:12]


def computed(number: int) -> str:
    rng = np.random.Generator(np.random.PCG64(number))
    common = {"dialect": one_of(rng, "tf1", "keras2", "keras3"), "dtype": one_of(rng, "float32", "float32", "float64")}
    return hashed((single if number % 2 else model)(rng, common))


def check(numbers: range) -> None:
    stored = json.loads(STORED.read_text())
    assert len(stored) == CASES
    assert [number for number in numbers if computed(number) != stored[number]] == []


needs_fma = pytest.mark.skipif(not diagnosis._kernels()["fma"], reason="bits are promised where the processor has FMA")


@needs_fma
def test_bits_are_those_that_were_stored() -> None:
    check(range(12))


@needs_fma
@pytest.mark.slow
def test_all_of_them() -> None:
    check(range(12, CASES))


if __name__ == "__main__":
    STORED.parent.mkdir(exist_ok=True)
    STORED.write_text(json.dumps([computed(number) for number in range(CASES)], indent=0) + "\n")
