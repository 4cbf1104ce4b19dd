"""Outputs of the real Keras for the models of mask_models.py: makes tests/data/masks/SYSTEM.npz.

usage: PYTHONPATH=tests python -m support.make_keras_masks tf1|keras2|keras3

Needs TensorFlow 1.15 (Python 3.7), TensorFlow 2.15 or Keras 3 with torch, and nothing of this package. A model that
Keras refuses is stored with its error.
"""

import os
import sys

import numpy as np

from support import mask_models
from support.paths import DATA


def system(name):
    """Keras, and its way from an array to a tensor."""
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="", KERAS_BACKEND="torch")
    if name == "keras3":
        import keras

        return keras, keras.ops.convert_to_tensor
    import tensorflow

    if name == "tf1":
        tensorflow.compat.v1.enable_eager_execution()
    return tensorflow.keras, tensorflow.constant


def made(keras, entry):
    if isinstance(entry, list) and isinstance(entry[0], str):
        options = [part for part in entry[1:] if isinstance(part, dict)]
        arguments = [made(keras, part) for part in entry[1:] if not isinstance(part, dict)]
        return getattr(keras.layers, entry[0])(*arguments, **(options[0] if options else {}))
    return entry


def run(keras, to_tensor, name, spec):
    layers = [made(keras, entry) for entry in spec["layers"]]
    if spec.get("sequential"):
        first = {"shape" if hasattr(keras, "ops") else "input_shape": spec["shape"]}
        model = keras.Sequential([keras.layers.InputLayer(**first), *layers])
    else:
        tensor = given = keras.Input(spec["shape"])
        for layer in layers:
            tensor = layer(tensor)
        model = keras.Model(given, tensor)
    model.set_weights(mask_models.weights([weight.shape for weight in model.get_weights()]))
    x, mask = mask_models.inputs(name, spec)
    if mask is not None:
        y = model(to_tensor(x), mask=to_tensor(mask))
    else:
        y = model(to_tensor(x)) if spec.get("called") else model.predict(x)
    return y.detach().numpy() if hasattr(y, "detach") else np.asarray(y)


def main(name_of_system):
    keras, to_tensor = system(name_of_system)
    stored = {}
    for name, spec in mask_models.specs().items():
        try:
            stored[name + "/y"] = run(keras, to_tensor, name, spec)
        except Exception as error:
            stored[name + "/error"] = type(error).__name__
    np.savez_compressed(DATA / "masks" / name_of_system, **stored)


if __name__ == "__main__":
    main(sys.argv[1])
