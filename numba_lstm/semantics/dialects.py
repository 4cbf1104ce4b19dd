"""Differences between versions of Keras, as plain data.

A dialect is one of ``"tf1"`` (TensorFlow 1.15 and 2.0, ``tf.compat.v1.keras``), ``"keras2"`` (TensorFlow 2.15,
Keras 2.15) and ``"keras3"`` (Keras 3.15).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Dialect = Literal["tf1", "keras2", "keras3"]

DIALECTS: tuple[Dialect, ...] = ("tf1", "keras2", "keras3")

# The name of each system in messages.
SYSTEM_NAMES: Mapping[Dialect, str] = {
    "tf1": "TensorFlow 1.15",
    "keras2": "TensorFlow 2.15 (Keras 2)",
    "keras3": "Keras 3",
}

# Keras's name of an activation -> the function of numba_lstm.kernels.activations that computes it.
_COMMON = {
    "elu": "elu",
    "exponential": "exponential",
    "linear": "linear",
    "relu": "relu",
    "selu": "selu",
    "sigmoid": "sigmoid",
    "softmax": "softmax",
    "softplus": "softplus",
    "softsign": "softsign",
    "tanh": "tanh",
}
_SINCE_KERAS_2 = {
    "gelu": "gelu",
    "leaky_relu": "leaky_relu",
    "log_softmax": "log_softmax",
    "mish": "mish",
    "relu6": "relu6",
    "silu": "silu",
    "swish": "silu",
}

# For models from ONNX with Keras 3's hard_sigmoid and a feature that Keras 3 lacks: timesteps first, or Keras 2's.
_OF_ONNX = {"hard_sigmoid_keras3": "hard_sigmoid_keras3"}

ACTIVATIONS: Mapping[Dialect, Mapping[str, str]] = {
    "tf1": {**_COMMON, **_OF_ONNX, "hard_sigmoid": "hard_sigmoid"},
    "keras2": {**_COMMON, **_SINCE_KERAS_2, **_OF_ONNX, "hard_sigmoid": "hard_sigmoid"},
    "keras3": {
        **_COMMON,
        **_OF_ONNX,
        **_SINCE_KERAS_2,
        "celu": "elu",  # its alpha is 1 where it is given by name
        "hard_shrink": "hard_shrink",
        "hard_sigmoid": "hard_sigmoid_keras3",
        "hard_silu": "hard_silu",
        "hard_swish": "hard_silu",
        "hard_tanh": "hard_tanh",
        "log_sigmoid": "log_sigmoid",
        "soft_shrink": "soft_shrink",
        "sparse_plus": "sparse_plus",
        "sparse_sigmoid": "sparse_sigmoid",
        "sparsemax": "sparsemax",
        "squareplus": "squareplus",
        "tanh_shrink": "tanh_shrink",
    },
}

# Activations over the whole last axis of an array rather than element by element.
ROW_ACTIVATIONS = frozenset({"softmax", "log_softmax", "sparsemax"})
