"""Models of the layers around an LSTM, run by the real Keras: made keras_layers.npz with TensorFlow 2.15.1.

usage: PYTHONPATH=tests python -m support.make_keras_layers  (needs TensorFlow; nothing of this package)

Each model is stored as its configuration (JSON), inputs, weights and outputs in float32.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from support.paths import DATA


def models(layers: Any, x: Any, words: Any) -> dict[str, tuple[list[Any], Any]]:
    dense, lstm, both, each = layers.Dense, layers.LSTM, layers.Bidirectional, layers.TimeDistributed
    return {
        "masking": ([layers.Masking(), lstm(4, return_sequences=True), lstm(3), dense(2, activation="softmax")], x),
        "masking_backwards": (
            [layers.Masking(), lstm(4, return_sequences=True, go_backwards=True), lstm(3, return_sequences=True)],
            x,
        ),
        "bidirectional": (
            [layers.Masking(), both(lstm(4, return_sequences=True)), each(dense(2, activation="tanh"))],
            x,
        ),
        "bidirectional_twice": (
            [
                layers.Masking(),
                both(lstm(4, return_sequences=True), merge_mode="ave"),
                both(layers.RNN(layers.LSTMCell(3)), merge_mode="mul"),
            ],
            x,
        ),
        "embedding": (
            [
                layers.Embedding(9, 4, mask_zero=True),
                both(lstm(3, return_sequences=True)),
                lstm(2, return_sequences=True, go_backwards=True),
                layers.Activation("softmax"),
            ],
            words,
        ),
        "flatten": ([lstm(4, return_sequences=True), layers.Flatten(), dense(3), layers.Activation("relu")], x),
        "repeat_vector": ([lstm(4), layers.RepeatVector(5), lstm(3, return_sequences=True), each(dense(2))], x),
        "reverse_state_order": (
            [layers.RNN(layers.StackedRNNCells([layers.LSTMCell(3) for _ in range(2)], reverse_state_order=True))],
            x,
        ),
        "time_distributed": ([each(lstm(3)), lstm(2)], np.stack([x, -x], axis=1)),
        "dropout": (
            [layers.SpatialDropout1D(0.3), lstm(4, dropout=0.2, return_sequences=True), layers.Dropout(0.5), dense(1)],
            x,
        ),
    }


def main() -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import tensorflow as tf

    random = np.random.RandomState(2015)
    x = random.standard_normal((5, 7, 3)).astype(np.float32)
    x[1, 4:], x[2, :2], x[3] = 0, 0, 0
    words = random.randint(0, 9, (5, 7))
    words[1, 4:], words[4, :3] = 0, 0
    stored: dict[str, Any] = {"tensorflow": tf.__version__}
    for name, (row, inputs) in models(tf.compat.v1.keras.layers, x, words).items():
        model = tf.keras.Sequential(row)
        model(inputs)
        weights = [(random.standard_normal(w.shape) / 2).astype(np.float32) for w in model.get_weights()]
        model.set_weights(weights)
        stored[f"{name}/config"] = json.dumps(json.loads(model.to_json())["config"])
        stored[f"{name}/x"], stored[f"{name}/y"] = inputs, model(inputs).numpy()
        stored |= {f"{name}/w{i}": weight for i, weight in enumerate(weights)}
    np.savez_compressed(DATA / "keras_layers.npz", **stored)


if __name__ == "__main__":
    main()
