"""Shared by the scripts that make this folder's models: a repeatable Keras, and a record of what made a model."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

DATA = Path(__file__).parent


def make_repeatable(seed: int) -> None:
    """Fix every random number, and let TensorFlow use one thread and only operations that repeat."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def store(
    name: str, model: tf.keras.Model, arrays: dict[str, np.ndarray], measured: dict[str, Any], *packages: str
) -> None:
    """Write model.h5, each array as .npy, and versions.json: what made them and what was measured."""
    folder = DATA / name
    folder.mkdir(exist_ok=True)
    model.save(folder / "model.h5")
    for key, array in arrays.items():
        np.save(folder / f"{key}.npy", array)
    record = {
        "python": platform.python_version(),
        "packages": {p: version(p) for p in ("keras", "numpy", "h5py", *packages)} | {"tensorflow": tf.__version__},
        "parameters": model.count_params(),
        "measured": measured,
    }
    (folder / "versions.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record["measured"]))
