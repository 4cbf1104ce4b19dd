"""The attributes of ONNX nodes: their types, how each is stored, and the attributes of each operation.

A file declares the type of every attribute (AttributeProto.type), and has a separate field for the values of each
type. Source: onnx.proto3, and the operators' pages of ONNX, opsets 1 to 24.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from numba_lstm.checks import shown
from numba_lstm.errors import FileFormatError

CLOSE = 1e-7  # how near an alpha or beta must be, which is stored as a float32


class Kind(NamedTuple):
    """A type of attributes, and the number of the field that holds them."""

    name: str
    field: int
    many: bool = False


# By the number that AttributeProto.type has.
KINDS: Mapping[int, Kind] = {
    1: Kind("FLOAT", 2),
    2: Kind("INT", 3),
    3: Kind("STRING", 4),
    4: Kind("TENSOR", 5),
    5: Kind("GRAPH", 6),
    6: Kind("FLOATS", 7, True),
    7: Kind("INTS", 8, True),
    8: Kind("STRINGS", 9, True),
    9: Kind("TENSORS", 10, True),
    10: Kind("GRAPHS", 11, True),
    11: Kind("SPARSE_TENSOR", 22),
    12: Kind("SPARSE_TENSORS", 23, True),
    13: Kind("TYPE_PROTO", 14),
    14: Kind("TYPE_PROTOS", 15, True),
}
KIND_OF_FIELD: Mapping[int, Kind] = {kind.field: kind for kind in KINDS.values()}
# Types whose fields proto3 leaves out where they hold 0 or no text.
DEFAULTS: Mapping[str, float | int | str] = {"FLOAT": 0.0, "INT": 0, "STRING": ""}

# The type of each attribute, which is the same in all operations.
TYPES = {
    "activations": "STRINGS",
    "activation_alpha": "FLOATS",
    "activation_beta": "FLOATS",
    "allowzero": "INT",
    "alpha": "FLOAT",
    "approximate": "STRING",
    "axes": "INTS",
    "axis": "INT",
    "batch_axis": "INT",
    "beta": "FLOAT",
    "broadcast": "INT",
    "clip": "FLOAT",
    "consumed_inputs": "INTS",
    "direction": "STRING",
    "end": "INT",
    "ends": "INTS",
    "hidden_size": "INT",
    "input_forget": "INT",
    "is_test": "INT",
    "layout": "INT",
    "num_outputs": "INT",
    "output_sequence": "INT",
    "perm": "INTS",
    "ratio": "FLOAT",
    "round_mode": "STRING",
    "saturate": "INT",
    "seed": "INT",
    "shape": "INTS",
    "sparse_value": "SPARSE_TENSOR",
    "split": "INTS",
    "start": "INT",
    "starts": "INTS",
    "time_axis": "INT",
    "to": "INT",
    "transA": "INT",
    "transB": "INT",
    "value": "TENSOR",
    "value_float": "FLOAT",
    "value_floats": "FLOATS",
    "value_int": "INT",
    "value_ints": "INTS",
    "value_string": "STRING",
    "value_strings": "STRINGS",
}
_BROADCAST = ("axis", "broadcast", "consumed_inputs")
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "Add": _BROADCAST,
    "Cast": ("round_mode", "saturate", "to"),
    "Concat": ("axis",),
    "Constant": tuple(name for name in TYPES if name == "sparse_value" or name.startswith("value")),
    "ConstantOfShape": ("value",),
    "Div": _BROADCAST,
    "Dropout": ("consumed_inputs", "is_test", "ratio", "seed"),
    "Elu": ("alpha", "consumed_inputs"),
    "Equal": ("axis", "broadcast"),
    "Expand": (),
    "Flatten": ("axis",),
    "Gather": ("axis",),
    "Gelu": ("approximate",),
    "Gemm": ("alpha", "beta", "broadcast", "transA", "transB"),
    "HardSigmoid": ("alpha", "beta", "consumed_inputs"),
    "Identity": (),
    "LSTM": (
        *("activations", "activation_alpha", "activation_beta", "clip", "direction", "hidden_size", "input_forget"),
        *("layout", "output_sequence"),
    ),
    "LogSoftmax": ("axis",),
    "MatMul": (),
    "Mul": _BROADCAST,
    "Relu": ("consumed_inputs",),
    "Reshape": ("allowzero", "consumed_inputs", "shape"),
    "ReverseSequence": ("batch_axis", "time_axis"),
    "Shape": ("end", "start"),
    "Sigmoid": ("consumed_inputs",),
    "Slice": ("axes", "ends", "starts"),
    "Softmax": ("axis",),
    "Softplus": (),
    "Softsign": (),
    "Split": ("axis", "num_outputs", "split"),
    "Squeeze": ("axes",),
    "Sub": _BROADCAST,
    "Tanh": ("consumed_inputs",),
    "Transpose": ("perm",),
    "Unsqueeze": ("axes",),
    "Where": (),
}


def check_attributes(op: str, kinds: Mapping[str, str], where: str) -> None:
    """Raise `FileFormatError` unless an operation of ONNX's own has these attributes, of these types.

    Unknown operations may have any.
    """
    known = ATTRIBUTES.get(op)
    if known is None:
        return
    for name, kind in kinds.items():
        if name not in known:
            expected = f"some of: {', '.join(known)}" if known else "none"
            raise FileFormatError(
                f"{where} has the attribute {shown(name)}, which the operation {op} does not have; expected "
                f"{expected}; export it again"
            )
        if kind != TYPES[name]:
            raise FileFormatError(
                f"{where}: attribute {shown(name)} is of the type {kind}; expected {TYPES[name]}; export it again"
            )
    if op == "Constant" and len(kinds) != 1:
        raise FileFormatError(f"{where} is a Constant with the attributes {shown(list(kinds))}; expected one of them")


def hard_sigmoid(alpha: float, beta: float) -> str | None:
    """The name here of ONNX's HardSigmoid, max(0, min(1, alpha * x + beta)); None if no version of Keras has it."""
    if abs(beta - 0.5) > CLOSE:
        return None
    slopes = {"hard_sigmoid": 0.2, "hard_sigmoid_keras3": 1 / 6}
    return next((name for name, slope in slopes.items() if abs(alpha - slope) <= CLOSE), None)
