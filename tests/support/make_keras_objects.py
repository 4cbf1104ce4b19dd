"""The configurations that the real Keras writes for initializers, regularizers, constraints, activations and dtypes.

usage: PYTHONPATH=tests python -m support.make_keras_objects
       (needs TensorFlow 2.15, or Keras 3; nothing of this package)

Made data/objects/keras2.json and tf1.json with TensorFlow 2.15.1 (of version 1 are its classes of `tf.compat.v1`, whose
code has stood still), and keras3.json with Keras 3.15.1. ``objects`` has kind, class, arguments and what is written
(null: there is no such class), ``names`` kind, name and what is written for it, ``activations`` name and what is
written, ``dtypes`` what a layer writes for each.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from support.paths import DATA

FOLDER = DATA / "objects"
SCALED = [f"{who}{how}" for who in ("Glorot", "He", "Lecun") for how in ("Uniform", "Normal")]
AXES = {"input_axes": [1], "output_axes": [0]}
# No two arguments of a class are alike, and none is the default.
OBJECTS: list[tuple[str, str, dict[str, Any]]] = [
    ("initializer", "Zeros", {}),
    ("initializer", "Ones", {}),
    ("initializer", "Constant", {"value": 0.25}),
    ("initializer", "Constant", {"value": [1.5, 2.0]}),
    *[("initializer", name, {}) for name in (*SCALED, "RandomUniform", "RandomNormal", "TruncatedNormal")],
    *[("initializer", name, {}) for name in ("VarianceScaling", "Orthogonal", "Identity")],
    *[("initializer", name, {"seed": 7}) for name in SCALED],
    ("initializer", "RandomUniform", {"minval": -0.5, "maxval": 0.75, "seed": 7}),
    ("initializer", "RandomNormal", {"mean": 0.5, "stddev": 0.75, "seed": 7}),
    ("initializer", "TruncatedNormal", {"mean": 0.5, "stddev": 0.75, "seed": 7}),
    ("initializer", "Orthogonal", {"gain": 2.0, "seed": 7}),
    ("initializer", "Identity", {"gain": 2.0}),
    *[
        ("initializer", "VarianceScaling", {"scale": 3.0, "mode": mode, "distribution": distribution, "seed": 7})
        for mode, distribution in (
            ("fan_out", "uniform"),
            ("fan_avg", "normal"),
            ("fan_in", "truncated_normal"),
            ("fan_in", "untruncated_normal"),
        )
    ],
    ("initializer", "GlorotNormal", {"seed": 7, **AXES}),
    ("initializer", "VarianceScaling", {"scale": 3.0, "mode": "fan_out", "distribution": "uniform", **AXES}),
    ("regularizer", "L1", {"l1": 0.3}),
    ("regularizer", "L2", {"l2": 0.4}),
    ("regularizer", "L1L2", {"l1": 0.3, "l2": 0.4}),
    ("regularizer", "OrthogonalRegularizer", {"factor": 0.3, "mode": "columns"}),
    ("constraint", "MaxNorm", {"max_value": 3, "axis": 1}),
    ("constraint", "MaxNorm", {}),
    ("constraint", "MinMaxNorm", {"min_value": 0.5, "max_value": 3.0, "rate": 0.25, "axis": 1}),
    ("constraint", "MinMaxNorm", {}),
    ("constraint", "NonNeg", {}),
    ("constraint", "UnitNorm", {"axis": 1}),
    ("constraint", "UnitNorm", {}),
    ("constraint", "RadialConstraint", {}),
]
DTYPES = ("float32", "float64", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16")
KINDS = ("initializer", "regularizer", "constraint")


def attempt(make: Callable[[], Any]) -> Any:
    """The object that Keras makes; None where it refuses."""
    try:
        return make()
    except (AttributeError, ImportError, LookupError, NotImplementedError, TypeError, ValueError):
        return None


def store(name: str, **rows: list[Any]) -> None:
    FOLDER.mkdir(exist_ok=True)
    parts = (f'"{key}": [\n' + ",\n".join(map(json.dumps, value)) + "\n]" for key, value in rows.items())
    (FOLDER / f"{name}.json").write_text("{" + ",\n".join(parts) + "}\n")


def written_by(modules: dict[str, Any], kind: str, make: Callable[[], Any], **options: Any) -> Any:
    return attempt(lambda: modules[kind].serialize(make(), **options))


def collect(modules: dict[str, Any], layer: Any, names: dict[str, list[str]]) -> dict[str, list[Any]]:
    """The rows of Keras 2 or 3."""
    activations = modules["activation"]
    return {
        "objects": [
            [kind, cls, args, written_by(modules, kind, lambda k=kind, c=cls, a=args: getattr(modules[k], c)(**a))]
            for kind, cls, args in OBJECTS
        ],
        "names": [
            [kind, name, written_by(modules, kind, lambda k=kind, n=name: modules[k].get(n))]
            for kind in KINDS
            for name in names[kind]
        ],
        "activations": [
            [name, attempt(lambda n=name: activations.serialize(activations.get(n)))] for name in names["activation"]
        ],
        "dtypes": [[name, layer(2, dtype=name).get_config()["dtype"]] for name in DTYPES],
    }


def keras3() -> None:
    import keras
    from keras.src import activations, constraints, initializers, regularizers

    modules = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}
    modules["activation"] = activations
    names = {kind: sorted(module.ALL_OBJECTS_DICT) for kind, module in modules.items()}
    store("keras3", **collect(modules, keras.layers.LSTMCell, names))


def keras2() -> None:
    import tensorflow as tf
    from keras.src import activations, constraints, initializers, regularizers
    from tensorflow.python.ops import init_ops

    initializers.populate_deserializable_objects()
    modules = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}
    names = {kind: sorted(name for name in vars(module) if name[0] != "_") for kind, module in modules.items()}
    names["initializer"] = sorted(initializers.LOCAL.ALL_OBJECTS)
    names["activation"] = sorted({*vars(activations), *activations._TF_ACTIVATIONS_V2} - {"tf", "sys", "types"})
    rows = collect({**modules, "activation": activations}, tf.keras.layers.LSTMCell, names)
    # What is found in these modules besides: functions of their own, and what they import.
    others = {"deserialize", "deserialize_keras_object", "get", "serialize", "serialize_keras_object"}
    for key in ("names", "activations"):
        rows[key] = [row for row in rows[key] if row[-1] is not None and row[-2] not in others]
    store("keras2", **rows)

    # Version 1: no class of L1, L2, He and Lecun, but functions of these names that make others.
    v1 = tf.compat.v1.keras.initializers
    made: dict[str, Callable[..., Any]] = {
        **{name: getattr(init_ops, f"{name[:-len(how)].lower()}_{how.lower()}")
           for name in SCALED[2:] for how in ("Uniform", "Normal") if name.endswith(how)},
        **{name: getattr(init_ops, name) for name in (*SCALED[:2], "Zeros", "Ones", "Constant", "VarianceScaling")},
        **{name: getattr(init_ops, name) for name in ("Orthogonal", "Identity")},
        **{name: getattr(v1, name) for name in ("RandomUniform", "RandomNormal", "TruncatedNormal")},
        "L1": lambda l1: regularizers.L1L2(l1=l1),
        "L2": lambda l2: regularizers.L1L2(l2=l2),
        "L1L2": regularizers.L1L2,
        **{name: getattr(constraints, name) for kind, name, _ in OBJECTS if kind == "constraint"},
    }  # fmt: skip
    store(
        "tf1",
        objects=[
            [kind, cls, args, written_by(modules, kind, lambda c=cls, a=args: made[c](**a), use_legacy_format=True)]
            for kind, cls, args in OBJECTS
        ],
    )


if __name__ == "__main__":
    try:
        import tensorflow  # noqa: F401
    except ImportError:
        keras3()
    else:
        keras2()
