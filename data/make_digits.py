"""Train the digits model with the real Keras: LSTM(32) reads a digit row by row, Dense(10) names it.

Run it where TensorFlow 2.15.1 and scikit-learn are installed: ``python data/make_digits.py``.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from provenance import make_repeatable, store
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HELD_OUT = 360

make_repeatable(1797)
digits = load_digits()
images = (digits.images / 16).astype(np.float32)  # (1797, 8, 8): eight timesteps of eight pixels
x_train, x, labels_train, labels = train_test_split(
    images, digits.target, test_size=HELD_OUT, stratify=digits.target, random_state=0
)

model = tf.keras.Sequential(
    [tf.keras.layers.Input((8, 8)), tf.keras.layers.LSTM(32), tf.keras.layers.Dense(10, activation="softmax")],
    name="digits",
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x_train, labels_train, batch_size=32, epochs=60, verbose=0)

y = model.predict(x, verbose=0)
accuracy = float(np.mean(y.argmax(axis=1) == labels))
arrays = {"x": x, "y": y, "labels": labels.astype(np.uint8)}
store("digits", model, arrays, {"trained_on": len(x_train), "held_out": HELD_OUT, "accuracy": accuracy}, "scikit-learn")
