"""Run by a Python that has Keras: load .h5 files, write their outputs. Arguments: for each the file, x.npy, y.npy."""

from __future__ import annotations

import os
import sys

import numpy as np


def main(arguments: list[str]) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    try:
        import keras
    except ImportError:  # Keras 2 is a part of TensorFlow 2.15
        from tensorflow import keras
    for path, x, y in zip(arguments[0::3], arguments[1::3], arguments[2::3], strict=True):
        model = keras.models.load_model(path, compile=False)
        np.save(y, np.asarray(model.predict(np.load(x), verbose=0)))
    print(keras.__version__)


if __name__ == "__main__":
    main(sys.argv[1:])
