"""Train the sunspot model with the real Keras: 22 yearly numbers in, the next year's number out.

``RNN(tf.compat.v1.keras.layers.LSTMCell(16))`` at its defaults, then Dense(1). Run it where TensorFlow 2.15.1 and
statsmodels are installed: ``python data/make_sunspots.py``.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from provenance import make_repeatable, store
from statsmodels.datasets import sunspots

WINDOW = 22  # two solar cycles
LAST_TRAINING_YEAR = 1929
SCALE = 100.0  # the model works on hundreds of sunspots

make_repeatable(1700)
data = sunspots.load_pandas().data
years = data["YEAR"].to_numpy().astype(int)
record = (data["SUNACTIVITY"].to_numpy()[:, None] / SCALE).astype(np.float32)  # (309, 1), the years 1700 to 2008

# Window i ends the year before the one it foretells: 1722 + i. The last one looks beyond the record, at 2009.
x = np.stack([record[i : i + WINDOW] for i in range(len(record) - WINDOW + 1)])
target = record[WINDOW:]
training = years[WINDOW:] <= LAST_TRAINING_YEAR

model = tf.keras.Sequential(
    [
        tf.keras.layers.Input((WINDOW, 1)),
        tf.keras.layers.RNN(tf.compat.v1.keras.layers.LSTMCell(16)),
        tf.keras.layers.Dense(1),
    ],
    name="sunspots",
)
model.compile(tf.keras.optimizers.Adam(0.005), "mse")
model.fit(x[:-1][training], target[training], batch_size=16, epochs=60, verbose=0)

y = model.predict(x, verbose=0)
held_out = ~training


def mean_error(forecast: np.ndarray) -> float:
    """Mean absolute error over the held-out years, in sunspots."""
    return float(SCALE * np.abs(forecast - target)[held_out].mean())


measured = {
    "trained_on_years": f"{years[WINDOW]}-{LAST_TRAINING_YEAR}",
    "held_out_years": f"{LAST_TRAINING_YEAR + 1}-{years[-1]}",
    "mean_error": mean_error(y[:-1]),
    "mean_error_of_repeating_last_year": mean_error(record[WINDOW - 1 : -1]),
}
store("sunspots", model, {"record": record, "x": x, "y": y}, measured, "statsmodels")
