"""Graphs of one LSTM with attributes of every kind, and what onnxruntime makes of them: made onnx_variants.npz.

usage: PYTHONPATH=tests python -m support.make_onnx_variants  (needs onnx 1.23 and onnxruntime 1.32)

Of each variant there is the file, an input and onnxruntime's output, for weights that are drawn at random, and a word:
"right" if a model here must give that output, otherwise what the error must say. Nothing of this package is used.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from support.paths import DATA

TARGET = DATA / "onnx_variants.npz"
BATCH, TIMESTEPS, FEATURES, UNITS = 2, 4, 3, 2
RIGHT, UNKNOWN = "right", "which is not supported"
SIXTH = 1 / 6


def lstm(word: str, *activations: str, alpha: Any = (), beta: Any = (), **more: Any) -> tuple[str, dict[str, Any], Any]:
    attributes: dict[str, Any] = {"activations": list(activations)} if activations else {}
    attributes |= {key: value for key, value in (("activation_alpha", alpha), ("activation_beta", beta)) if value}
    return word, {**attributes, **more}, []


def behind(word: str, *nodes: tuple[str, dict[str, Any], Any]) -> tuple[str, dict[str, Any], Any]:
    return word, {}, list(nodes)


ONES = np.ones((1, BATCH, UNITS), "f")
VARIANTS = {
    "plain": lstm(RIGHT),
    "names_in_other_cases": lstm(RIGHT, "SIGMOID", "tanh", "Tanh"),
    "hard_default": lstm(RIGHT, "HardSigmoid", "Tanh", "Tanh"),
    "hard_keras2": lstm(RIGHT, "HardSigmoid", "Tanh", "Tanh", alpha=[0.2], beta=[0.5]),
    "hard_keras3": lstm(RIGHT, "HardSigmoid", "Tanh", "Tanh", alpha=[SIXTH], beta=[0.5]),
    "hard_keras3_no_beta": lstm(RIGHT, "HardSigmoid", "Tanh", "Tanh", alpha=[SIXTH]),
    "hard_others": lstm("with alpha and beta", "HardSigmoid", "Tanh", "Tanh", alpha=[0.25], beta=[0.5]),
    "hard_beta": lstm("with alpha and beta", "HardSigmoid", "Tanh", "Tanh", alpha=[0.2], beta=[0.4]),
    "hard_candidate": lstm(RIGHT, "Sigmoid", "HardSigmoid", "HardSigmoid", alpha=[SIXTH, SIXTH]),
    "hard_half_given": lstm("the same for the candidate", "Sigmoid", "HardSigmoid", "HardSigmoid", alpha=[SIXTH]),
    "hard_both": lstm(RIGHT, *["HardSigmoid"] * 3, alpha=[0.2, SIXTH, SIXTH], beta=[0.5] * 3),
    "hard_two_ways": lstm(
        RIGHT, *["HardSigmoid", "Tanh", "Tanh"] * 2, alpha=[0.2, SIXTH], beta=[0.5, 0.5], direction="bidirectional"
    ),
    "hard_both_ways": lstm(
        RIGHT, *["HardSigmoid", "Tanh", "Tanh"] * 2, alpha=[SIXTH, SIXTH], beta=[0.5, 0.5], direction="bidirectional"
    ),
    "alphas_in_order": lstm(RIGHT, "HardSigmoid", "Elu", "Elu", alpha=[SIXTH, 1.0, 1.0], beta=[0.5]),
    "elu": lstm(RIGHT, "Sigmoid", "Elu", "Elu"),
    "elu_half": lstm("with alpha and beta [0.5]", "Sigmoid", "Elu", "Elu", alpha=[0.5, 0.5]),
    "soft": lstm(RIGHT, "Softsign", "Softplus", "Softplus"),
    "relu": lstm(RIGHT, "Sigmoid", "Relu", "Relu"),
    "leaky": lstm(UNKNOWN, "Sigmoid", "LeakyRelu", "LeakyRelu", alpha=[0.1, 0.1]),
    "leaky_default": lstm(UNKNOWN, "Sigmoid", "LeakyRelu", "LeakyRelu"),
    "thresholded": lstm(UNKNOWN, "Sigmoid", "ThresholdedRelu", "ThresholdedRelu", alpha=[0.5, 0.5]),
    "affine": lstm(UNKNOWN, "Sigmoid", "Affine", "Affine", alpha=[1.0, 1.0], beta=[0.25, 0.25]),
    "scaled_tanh": lstm(UNKNOWN, "Sigmoid", "ScaledTanh", "ScaledTanh", alpha=[1.7, 1.7], beta=[0.6, 0.6]),
    "output_differs": lstm("the same for the candidate", "Sigmoid", "Tanh", "Relu"),
    "clip": lstm("has clip", clip=0.5),
    "input_forget": lstm("has input_forget set", input_forget=1),
    "no_input_forget": lstm(RIGHT, input_forget=0),
    "peepholes": lstm("has peepholes", P=np.full((1, 3 * UNITS), 0.5, "f")),
    "lengths": lstm("sequence_lens that are no input", L=np.array([TIMESTEPS, 2], "i4")),
    "lengths_whole": lstm(RIGHT, L=np.array([TIMESTEPS] * BATCH, "i4")),
    "states": lstm("fixed initial states", h=ONES, c=ONES),
    "states_zero": lstm(RIGHT, h=0 * ONES, c=0 * ONES),
    "node_hard_default": behind(RIGHT, ("HardSigmoid", {}, [])),
    "node_hard_keras2": behind(RIGHT, ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}, [])),
    "node_hard_keras3": behind(RIGHT, ("HardSigmoid", {"alpha": SIXTH}, [])),
    "node_hard_both": behind(RIGHT, ("HardSigmoid", {"alpha": SIXTH}, []), ("HardSigmoid", {}, [])),
    "node_hard_others": behind("'HardSigmoid'", ("HardSigmoid", {"alpha": 0.3}, [])),
    "node_hard_beta": behind("'HardSigmoid'", ("HardSigmoid", {"alpha": SIXTH, "beta": 0.4}, [])),
    "node_elu_half": behind("'Elu'", ("Elu", {"alpha": 0.5}, [])),
    "node_leaky": behind("'LeakyRelu'", ("LeakyRelu", {"alpha": 0.5}, [])),
    "cast_to_integers": behind("'Cast'", ("Cast", {"to": 7}, []), ("Cast", {"to": 1}, [])),
    "cast_to_float": behind(RIGHT, ("Cast", {"to": 1}, [])),
    "dropout": behind(RIGHT, ("Dropout", {}, [np.array(0.5, "f"), np.array(False)])),
    "dropout_in_training": behind("'Dropout'", ("Dropout", {"seed": 1}, [np.array(0.9, "f"), np.array(True)])),
    "bias": behind(RIGHT, ("MatMul", {}, [np.ones((UNITS, 3), "f")]), ("Add", {}, [np.arange(3, dtype="f")])),
    "bias_of_time": behind(
        "something else than whole rows",
        ("MatMul", {}, [np.eye(UNITS, TIMESTEPS, dtype="f")]),
        ("Transpose", {"perm": [0, 2, 1]}, []),
        ("Add", {}, [np.arange(TIMESTEPS, dtype="f")]),
        ("Transpose", {"perm": [0, 2, 1]}, []),
    ),
}


def graph(name: str, time_major: bool, rng: np.random.Generator) -> tuple[bytes, Any]:
    """The file and an input of a variant."""
    from onnx import helper, numpy_helper

    _, attributes, nodes = VARIANTS[name]
    inputs = {key: attributes[key] for key in "LhcP" if key in attributes}
    attributes = {key: value for key, value in attributes.items() if key not in inputs}
    count = 2 if attributes.get("direction") == "bidirectional" else 1
    shapes = {"W": (count, 4 * UNITS, FEATURES), "R": (count, 4 * UNITS, UNITS), "B": (count, 8 * UNITS)}
    arrays = {key: (1.5 * rng.standard_normal(shape)).astype("f") for key, shape in shapes.items()} | inputs
    names = ["X" if time_major else "x", "W", "R", "B", *(key if key in inputs else "" for key in "LhcP")]
    made = [] if time_major else [helper.make_node("Transpose", ["X"], ["x"], perm=[1, 0, 2])]
    made.append(helper.make_node("LSTM", names, ["Y"], hidden_size=UNITS, **attributes))
    made.append(helper.make_node("Transpose", ["Y"], ["y"], perm=[0, 2, 1, 3] if time_major else [2, 0, 1, 3]))
    arrays["shape"] = np.array([0, 0, count * UNITS])
    made.append(helper.make_node("Reshape", ["y", "shape"], ["v0"]))
    for number, (op, options, others) in enumerate(nodes):
        arrays |= {f"a{number}{i}": array for i, array in enumerate(others)}
        sources = [f"v{number}", *(f"a{number}{i}" for i in range(len(others)))]
        made.append(helper.make_node(op, sources, [f"v{number + 1}"], **options))
    size = (TIMESTEPS, BATCH, FEATURES) if time_major else (BATCH, TIMESTEPS, FEATURES)
    ends = [[(helper.make_tensor_value_info("X", 1, size))], [helper.make_tensor_value_info(f"v{len(nodes)}", 1, None)]]
    stored = [numpy_helper.from_array(array, key) for key, array in arrays.items()]
    made_graph = helper.make_graph(made, "g", *ends, stored)
    model = helper.make_model(made_graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString(), rng.standard_normal(size).astype("f")


def main() -> None:
    import onnxruntime

    rng, stored = np.random.default_rng(11), {}
    for number, name in enumerate(VARIANTS):
        content, x = graph(name, number % 2 == 0, rng)
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        parts = {"file": np.frombuffer(content, np.uint8), "x": x, "y": session.run(None, {"X": x})[0]}
        parts["word"] = np.array(VARIANTS[name][0])
        stored |= {f"{name}/{key}": part for key, part in parts.items()}
    np.savez_compressed(TARGET, **stored)


if __name__ == "__main__":
    main()
