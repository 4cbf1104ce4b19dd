"""Run by a Python that has Keras, 2.15 or 3: makes models, saves them in every format, computes; reads our files.

usage: keras_side.py [--read FOLDER] [--make FOLDER DIALECT SEED...]

Each model has a folder of its own, named by its seed: spec.json, the files that Keras wrote, and results.npz with the
inputs and the outputs in float32, in float64 and in the model's own policy; refused.txt where Keras refuses it.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
if find_spec("torch"):
    os.environ.setdefault("KERAS_BACKEND", "torch")  # heeded by Keras 3 only

import keras
import models
import numpy as np

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
KERAS3 = keras.__version__.startswith("3.")
if KERAS3:
    from keras.src.backend.common import dtypes
    from keras.src.ops import nn

    # Keras 3 rounds float64 results of matmul and tanh to float32 on torch and jax; the truth must not.
    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"
    # On torch a LayerNormalization of the timesteps alone fails, or normalizes the features where there are as many.
    nn.is_continuous_axis = lambda axis, original=nn.is_continuous_axis: original(axis) and list(axis) != [1]
    set_policy, tensor, cast = keras.config.set_dtype_policy, keras.ops.convert_to_tensor, keras.ops.cast
    to_numpy: Any = keras.ops.convert_to_numpy
else:
    import tensorflow as tf
    from keras.src.layers.rnn import gru_lstm_utils

    keras = tf.keras
    set_policy, tensor, cast, to_numpy = keras.mixed_precision.set_global_policy, tf.constant, tf.cast, np.asarray
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.run_functions_eagerly(True)
    # The function for a GPU, which is traced beside that for a CPU, takes a fifth of the time.
    gru_lstm_utils.function_register = lambda *_, **__: None
gc.freeze()  # each clear_session() looks through all objects but these


def part(spec: dict[str, Any], dtype: dict[str, Any], **more: Any) -> Any:
    """A layer or cell of Keras from its data, with `dtype` given to all that it holds."""
    if spec["class"] == "Sequential":
        return keras.Sequential([part(layer, dtype) for layer in spec["layers"]])
    kw = {**spec["kw"], **dtype, **more}
    if "cells" in spec:
        cells = [part(cell, dtype) for cell in spec["cells"]]
        kw["cell"] = keras.layers.StackedRNNCells(cells, **dtype) if spec["stack"] else cells[0]
    kw |= {key: part(spec[key], dtype) for key in ("layer", "backward_layer") if key in spec}
    made = getattr(keras.layers, spec["class"])(**kw)
    if "freeze" in spec:
        (getattr(made, spec["freeze"]) if spec["freeze"] else made).trainable = False
    return made


def fresh(policy: str) -> None:
    """Nothing left of the models before."""
    keras.backend.clear_session()
    # An input is of this type, and a normalization of Keras 3 computes in the type of what comes in.
    keras.backend.set_floatx("float64" if policy == "float64" else "float32")
    set_policy(policy)


def set_weights(spec: dict[str, Any], weights: list[Any]) -> None:
    names = [getattr(weight, "path", weight.name) for weight in weights]
    for weight, value in zip(
        weights, models.weights(spec, names, [tuple(weight.shape) for weight in weights]), strict=True
    ):
        weight.assign(value.astype(getattr(weight.dtype, "name", weight.dtype)))


def build(spec: dict[str, Any]) -> Any:
    """The model to be saved, with its weights."""
    explicit = spec["explicit"] and spec["policy"].startswith("mixed")
    fresh("float32" if explicit else spec["policy"])
    shape = [None if i == spec["open"] else n for i, n in enumerate(spec["shape"])]
    batch_shape = [spec["batch"] if spec["fixed_batch"] else None, *shape]
    if spec["time_major"]:
        batch_shape[:2] = batch_shape[1::-1]
    dtype = {"dtype": spec["policy"]} if spec["explicit"] else {}
    first = {"batch_input_shape": batch_shape} if spec["style"] == "argument" else {}
    layers = [part(layer, dtype, **({} if i else first)) for i, layer in enumerate(spec["layers"])]
    start = keras.Input(batch_shape=batch_shape, **({"dtype": "int32"} if spec["indices"] and spec["seed"] % 2 else {}))
    if spec["style"] == "functional":
        value = start
        for layer in layers:
            value = layer(value)
        model = keras.Model(start, value)
    else:
        model = keras.Sequential([start, *layers] if spec["style"] == "input" else layers)
        if spec["style"] == "built":
            model.build(batch_shape)
    set_weights(spec, model.weights)
    return model


def chain(spec: dict[str, Any], policy: str) -> Any:
    """A function that calls the layers one after the other, in another precision than the model's own."""
    fresh(policy)
    layers = [part(layer, {}) for layer in spec["layers"]]

    def call(x: Any, mask: Any = None) -> Any:
        value = tensor(x)
        if mask is not None:
            value._keras_mask = mask
        for layer in layers:
            value = layer(value)
        return value

    call.layers = layers  # type: ignore[attr-defined]
    x, mask = models.inputs(spec)
    call(as_given(x, policy), None if mask is None else tensor(mask))  # which makes the weights
    set_weights(spec, [weight for layer in layers for weight in layer.weights])
    return call


def as_given(x: Any, policy: str) -> Any:
    return x.astype(np.float64) if x.dtype == np.float32 and policy == "float64" else x


def outputs(model: Any, spec: dict[str, Any], x: Any, mask: Any) -> list[Any]:
    """All that a call returns, flat; of a stateful model from two calls, the first of them from states of zeros."""
    for layer in model.layers if spec["stateful"] else []:
        getattr(layer, "reset_state" if KERAS3 else "reset_states", lambda: None)()

    def flat(value: Any) -> list[Any]:
        if isinstance(value, (list, tuple)):
            return [one for inner in value for one in flat(inner)]
        return [to_numpy(cast(value, "float64"))]

    options = {} if mask is None else {"mask": tensor(mask)}
    return [one for _ in range(2 if spec["stateful"] else 1) for one in flat(model(x, **options))]


def make(folder: Path, spec: dict[str, Any]) -> None:
    """The files of one model."""
    x, mask = models.inputs(spec)
    results = {"x": x} if mask is None else {"x": x, "mask": mask}
    calls: dict[str, list[Any]] = {}
    # One array's rounding error is a matter of luck; these have others.
    more = [models.nudged(x, number) for number in range(16 if spec["fixed_batch"] else 32)]
    more = more if spec["fixed_batch"] else [np.concatenate(more, axis=int(spec["time_major"]))]
    masks = mask if mask is None or spec["fixed_batch"] else np.concatenate([mask] * 32)
    for policy in dict.fromkeys([spec["policy"], "float32", "float64"]):
        model = build(spec) if policy == spec["policy"] else chain(spec, policy)
        if policy == spec["policy"]:
            save(model, folder)
        values = outputs(model, spec, as_given(x, policy), mask)
        results |= {f"{policy}/{i}": value for i, value in enumerate(values)}
        calls[policy] = [outputs(model, spec, as_given(one, policy), masks) for one in more]
    for i in range(len(values)):
        found, truth = (np.concatenate([call[i] for call in calls[policy]]) for policy in ("float32", "float64"))
        finite = np.isfinite(found) & np.isfinite(truth)
        errors = np.abs(found[finite] - truth[finite]) / np.maximum(1, np.abs(truth[finite]))
        results[f"error/{i}"] = errors.max(initial=0)
    np.savez(folder / "results.npz", **results)


def save(model: Any, folder: Path) -> None:
    """In every format; what this Keras cannot write is left out, and noted."""
    (folder / "model.json").write_text(model.to_json())
    for name in ("model.h5", "model.keras", "model.weights.h5", *([] if KERAS3 else ["model_weights.h5"])):
        try:
            (model.save_weights if "weights" in name else model.save)(str(folder / name))
        except Exception as error:
            (folder / name).unlink(missing_ok=True)
            (folder / f"{name}.txt").write_text(f"{type(error).__name__}: {error}")


def read(folder: Path) -> None:
    """The outputs or errors of Keras with the file written here: read.npz; more of it where they are not as before.

    That is the same of Keras's own files; where ours is refused, also of an .h5 that Keras makes from the
    configuration: it does not say what was frozen in a Bidirectional, with which Keras 2 refuses other files.
    """
    spec = json.loads((folder / "spec.json").read_text())
    results: dict[str, Any] = {}
    with np.load(folder / "results.npz") as file:
        stored = dict(file)
    expected = [value for key, value in stored.items() if key.startswith(spec["policy"] + "/")]
    for name in ("ours.h5", "model.h5", "model.keras", "again.h5"):
        if name == "again.h5" and "ours.h5/error" not in results:
            break
        fresh("float32")
        try:
            if name == "again.h5":
                keras.models.model_from_json((folder / "model.json").read_text()).save(folder / name)
            model = keras.models.load_model(str(folder / name), compile=False)
            values = outputs(model, spec, as_given(stored["x"], spec["policy"]), stored.get("mask"))
            results |= {f"{name}/{i}": value for i, value in enumerate(values)}
        except Exception as error:
            values = []
            results[f"{name}/error"] = np.array(f"{type(error).__name__}: {str(error)[:300]}")
        if name == "ours.h5" and [v.tobytes() for v in values] == [v.tobytes() for v in expected]:
            break
    np.savez(folder / "read.npz", **results)


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--read"]:
        for path in sorted(Path(arguments[1]).glob("*/ours.h5")):
            if not (path.parent / "verdict.json").exists():
                read(path.parent)
        arguments = arguments[2:]
    for seed in map(int, arguments[3:]):
        folder = Path(arguments[1]) / str(seed)
        folder.mkdir(parents=True, exist_ok=True)
        spec = models.draw(arguments[2], seed)
        (folder / "spec.json").write_text(json.dumps(spec))
        try:
            make(folder, spec)
        except Exception as error:
            (folder / "refused.txt").write_text(f"{type(error).__name__}: {str(error)[:2000]}")


if __name__ == "__main__":
    main(sys.argv[1:])
