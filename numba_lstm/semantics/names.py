"""The names that each dialect gives its initializers, regularizers, constraints and activations.

Source: the tables behind `get` in TensorFlow 1.15, Keras 2.15 and Keras 3.15.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from numba_lstm.semantics import constraints, initializers, regularizers
from numba_lstm.semantics.dialects import Dialect

Kind = Literal["initializer", "regularizer", "constraint"]
Factory = Callable[..., Any]

# The name Keras writes for an activation that it also knows by another one.
WRITTEN_ACTIVATIONS: Mapping[Dialect, Mapping[str, str]] = {
    "tf1": {},
    "keras2": {"silu": "swish"},
    "keras3": {"swish": "silu", "hard_swish": "hard_silu", "hard_sigmoid_keras3": "hard_sigmoid"},
}


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _named(*classes: type) -> dict[str, Factory]:
    return {name: cls for cls in classes for name in (cls.__name__, _snake(cls.__name__))}


def _written_out(preset: Factory) -> Factory:
    def make(seed: initializers.Seed = None) -> initializers.VarianceScaling:
        scaling: initializers.VarianceScaling = preset(seed).scaling()
        return scaling

    return make


def _constant(value: Any) -> initializers.Constant:
    return initializers.Constant(value)


def _l1_tf1(l: Any = 0.01) -> regularizers.L1L2:  # noqa: E741 - its name in Keras
    return regularizers.L1L2(l1=0.01 if l is None else l)


def _l2_tf1(l: Any = 0.01) -> regularizers.L1L2:  # noqa: E741 - its name in Keras
    return regularizers.L1L2(l2=0.01 if l is None else l)


def _l1(l1: Any = 0.01, l: Any = None) -> regularizers.L1:  # noqa: E741 - its name in Keras
    return regularizers.L1(l1 if l is None else l)


def _l2(l2: Any = 0.01, l: Any = None) -> regularizers.L2:  # noqa: E741 - its name in Keras
    return regularizers.L2(l2 if l is None else l)


def _l1_l2(l1: Any = 0.01, l2: Any = 0.01) -> regularizers.L1L2:
    return regularizers.L1L2(l1, l2)


_PLAIN_INITIALIZERS = (
    initializers.Zeros,
    initializers.Ones,
    initializers.RandomUniform,
    initializers.RandomNormal,
    initializers.TruncatedNormal,
    initializers.GlorotUniform,
    initializers.GlorotNormal,
    initializers.Orthogonal,
    initializers.Identity,
)
HE_AND_LECUN = (
    initializers.HeUniform,
    initializers.HeNormal,
    initializers.LecunUniform,
    initializers.LecunNormal,
)
_SHORT_INITIALIZERS: Mapping[str, Factory] = {
    "zero": initializers.Zeros,
    "one": initializers.Ones,
    "uniform": initializers.RandomUniform,
    "normal": initializers.RandomNormal,
}
_SINCE_KERAS_2 = _named(*_PLAIN_INITIALIZERS, *HE_AND_LECUN, initializers.VarianceScaling)
_PLAIN_CONSTRAINTS = _named(constraints.MaxNorm, constraints.MinMaxNorm, constraints.NonNeg, constraints.UnitNorm)
_OLD_CONSTRAINTS: Mapping[str, Factory] = {
    **_named(constraints.RadialConstraint),
    "maxnorm": constraints.MaxNorm,
    "nonneg": constraints.NonNeg,
    "unitnorm": constraints.UnitNorm,
}

# What each dialect's `get` accepts as a name, or as the class_name of a configuration.
TABLES: Mapping[Kind, Mapping[Dialect, Mapping[str, Factory]]] = {
    "initializer": {
        "tf1": {
            **_named(*_PLAIN_INITIALIZERS, initializers.Constant),
            **_SHORT_INITIALIZERS,
            "VarianceScaling": initializers.VarianceScaling,
            **{_snake(cls.__name__): _written_out(cls) for cls in HE_AND_LECUN},
        },
        "keras2": {
            **_SINCE_KERAS_2,
            **_named(initializers.Constant),
            **_SHORT_INITIALIZERS,
            **{name + "V2": make for name, make in _SINCE_KERAS_2.items() if name[0].isupper()},
            "ConstantV2": initializers.Constant,
            **{_snake(cls.__name__) + "V2": cls for cls in HE_AND_LECUN},
            "glorot_uniformV2": initializers.GlorotUniform,
            "glorot_normalV2": initializers.GlorotNormal,
        },
        "keras3": {
            **_SINCE_KERAS_2,
            **_SHORT_INITIALIZERS,
            "Constant": _constant,
            "constant": _constant,
            "IdentityInitializer": initializers.Identity,
            "OrthogonalInitializer": initializers.Orthogonal,
        },
    },
    "regularizer": {
        "tf1": {"L1L2": regularizers.L1L2, "l1": _l1_tf1, "l2": _l2_tf1, "l1_l2": _l1_l2},
        "keras2": {
            **{"L1": _l1, "l1": _l1, "L2": _l2, "l2": _l2, "L1L2": regularizers.L1L2, "l1_l2": _l1_l2},
            **_named(regularizers.OrthogonalRegularizer),
        },
        "keras3": {
            **_named(regularizers.L1, regularizers.L2, regularizers.OrthogonalRegularizer),
            **{"L1L2": regularizers.L1L2, "l1l2": regularizers.L1L2},
        },
    },
    "constraint": {
        "tf1": {**_PLAIN_CONSTRAINTS, **_OLD_CONSTRAINTS},
        "keras2": {**_PLAIN_CONSTRAINTS, **_OLD_CONSTRAINTS},
        "keras3": _PLAIN_CONSTRAINTS,
    },
}
BASES: Mapping[Kind, type] = {
    "initializer": initializers.Initializer,
    "regularizer": regularizers.Regularizer,
    "constraint": constraints.Constraint,
}
