"""Outputs of the real Keras for stateful models: makes tests/data/stateful/keras.npz, one system after the other.

usage: PYTHONPATH=tests python -m support.make_keras_stateful tf1|keras2|keras3

Needs TensorFlow 1.15 (Python 3.7), TensorFlow 2.15 or Keras 3 with torch, and nothing of this package.
"""

import os
import sys

import numpy as np

from support.make_keras_masks import system
from support.paths import DATA

FILE = DATA / "stateful" / "keras.npz"


def layers(lib, kind):
    if kind == "plain":
        return [lib.LSTM(3, stateful=True)]
    if kind == "mixed":
        return [lib.LSTM(3, stateful=True, return_sequences=True), lib.LSTM(2)]
    if kind == "bidi":
        return [lib.Bidirectional(lib.LSTM(3, stateful=True, return_sequences=True)), lib.Dense(2)]
    return [lib.RNN([lib.LSTMCell(3), lib.LSTMCell(2)], stateful=True)]


def main(name):
    keras, _ = system(name)
    stored = dict(np.load(FILE)) if os.path.exists(FILE) else {}
    x = stored["x"] = np.random.RandomState(1).randn(6, 4, 3).astype("float32")
    for kind in ("plain", "mixed", "bidi", "rnn"):
        for batch in (1, 2, 3):
            given = tensor = keras.Input((4, 3), batch_size=batch)
            for layer in layers(keras.layers, kind):
                tensor = layer(tensor)
            model = keras.Model(given, tensor)
            random = np.random.RandomState(3)
            model.set_weights([(random.randn(*w.shape) * 0.7).astype("float32") for w in model.get_weights()])
            for number in (0, 1):
                stored[f"{name}/{kind}/{batch}/y{number}"] = model.predict(x, batch_size=batch)
    np.savez_compressed(FILE, **stored)


if __name__ == "__main__":
    main(sys.argv[1])
