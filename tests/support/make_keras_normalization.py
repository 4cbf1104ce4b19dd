"""Models with normalizing layers, run by the real Keras: made keras_normalization__keras2.npz and __keras3.npz.

usage: PYTHONPATH=tests python -m support.make_keras_normalization
       (needs TensorFlow 2.15.1, or Keras 3.15 on TensorFlow)

Each model is stored as the JSON that Keras writes of it, inputs, weights, and the outputs of a float32 and a float64
run with the same weights. Nothing of this package is used.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from support.paths import DATA


def masked(k: Any, layers: Any) -> Any:
    x = k.Input((7, 3))
    h = layers.LSTM(4, return_sequences=True)(layers.Masking()(x))
    h = layers.LSTM(3)(layers.LayerNormalization()(h))
    return k.Model(x, layers.Dense(2, activation="softmax")(layers.BatchNormalization()(h)))


def embedded(k: Any, layers: Any) -> Any:
    x = k.Input((7,))
    h = layers.BatchNormalization(scale=False, epsilon=1e-2)(layers.Embedding(9, 4, mask_zero=True)(x))
    return k.Model(x, layers.LayerNormalization(center=False)(layers.Bidirectional(layers.LSTM(2))(h)))


def axes(k: Any, layers: Any) -> Any:
    row = [
        layers.BatchNormalization(center=False, scale=False),
        layers.LSTM(4, return_sequences=True),
        layers.TimeDistributed(layers.LayerNormalization(scale=False, epsilon=1e-5)),
        layers.BatchNormalization(axis=1, center=False),
        layers.LayerNormalization(axis=[2, 1]),
        layers.LayerNormalization(axis=1),
        layers.TimeDistributed(layers.BatchNormalization()),
        layers.Flatten(),
        layers.Dense(3),
        layers.LayerNormalization(center=False, scale=False),
    ]
    return k.Sequential([k.Input((5, 3)), *row])


def run(k: Any, layers: Any, make: Any, x: Any, weights: Any) -> tuple[Any, Any]:
    k.backend.clear_session()
    model = make(k, layers)
    if weights is None:
        random = np.random.RandomState(len(model.layers))
        weights = [(random.standard_normal(weight.shape) / 2).astype(np.float32) for weight in model.get_weights()]
        for weight, variable in zip(weights, model.weights, strict=True):
            if "moving_variance" in getattr(variable, "path", variable.name):
                weight[...] = np.abs(weight) + 0.1
    model.set_weights(weights)
    return model, np.asarray(model(x))


def main() -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import tensorflow as tf

    k = tf.keras
    random = np.random.RandomState(315)
    x = random.standard_normal((6, 7, 3)).astype(np.float32)
    x[1, 4:], x[2, :2], x[3] = 0, 0, 0
    words = random.randint(0, 9, (6, 7)).astype(np.float32)
    words[1, 4:] = 0
    stored: dict[str, Any] = {"version": keras.__version__}
    for make, inputs in ((masked, x), (embedded, words), (axes, x[:, :5])):
        name = make.__name__
        k.backend.set_floatx("float32")
        model, y = run(k, k.layers, make, inputs, None)
        stored[f"{name}/json"] = model.to_json()
        weights = model.get_weights()
        k.backend.set_floatx("float64")
        exact = inputs.astype(np.float64)
        stored |= {f"{name}/x": inputs, f"{name}/y": y, f"{name}/y64": run(k, k.layers, make, exact, weights)[1]}
        stored |= {f"{name}/w{i}": weight for i, weight in enumerate(weights)}
    dialect = f"keras{keras.__version__[0]}"
    np.savez_compressed(DATA / f"keras_normalization__{dialect}.npz", **stored)


if __name__ == "__main__":
    main()
