"""Weights and activations as the kernels take them: what is chosen, and what is refused."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from numba_lstm.backends.cpu import packing
from numba_lstm.backends.cpu.packing import PackedCell, pack_cell, pack_dense, spans_units
from numba_lstm.errors import ConfigError
from numba_lstm.kernels.codes import CODES, COMMON, CUSTOM
from numba_lstm.semantics.dialects import ACTIVATIONS


def test_unknown_names_and_plain_functions_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"activation 'swish' is not one of TensorFlow 1\.15's; expected one of elu, "
    ):
        packing.activation_code("swish", "tf1")
    two = numba.njit(lambda x, y: x + y)
    with pytest.raises(ConfigError, match=r"is expected to take one number and return one; numba cannot compile it: "):
        packing.activation_code(two, "tf1")
    pair = numba.njit(lambda x: (x, x))
    with pytest.raises(ConfigError, match=r"is expected to take one number and return one; it returns UniTuple"):
        packing.activation_code(pair, "tf1")
    with pytest.raises(
        ConfigError, match=r"is plain Python; expected a name, None or a function decorated with @numba\.njit"
    ):
        packing.activation_code(lambda x: x, "tf1")


def packed(activation: Any, recurrent_activation: Any, dtype: str = "float32", units: int = 5) -> PackedCell:
    weights = [np.zeros((width, 4 * units)) for width in (3, units)]
    return pack_cell(
        *weights, None, activation=activation, recurrent_activation=recurrent_activation, dialect="keras3", dtype=dtype
    )


@pytest.mark.parametrize(
    ("activation", "recurrent_activation", "functions", "spans"),
    [
        ("tanh", "sigmoid", None, False),  # in registers
        ("tanh", "relu", (COMMON, COMMON), False),
        ("relu", "sigmoid", (COMMON, COMMON), False),
        ("elu", "sigmoid", (True, True), False),
        (None, "gelu", (True, True), False),
        ("softmax", "sigmoid", (True, True), True),
        ("tanh", "sparsemax", (True, True), True),
    ],
)
def test_functions_that_are_compiled_in(
    activation: Any, recurrent_activation: Any, functions: Any, spans: bool
) -> None:
    cell = packed(activation, recurrent_activation)
    assert cell.functions == functions and spans_units(cell) == spans
    assert cell.cell.activation == CODES[ACTIVATIONS["keras3"][activation or "linear"]]
    assert cell.cell.recurrent_activation == CODES[ACTIVATIONS["keras3"][recurrent_activation]]


def test_a_function_of_ones_own_is_compiled_in_alone() -> None:
    own = numba.njit(lambda x: x)
    cell = packed(own, "elu")
    assert cell.functions == (own, True) and cell.cell.activation == CUSTOM


@pytest.mark.parametrize(
    ("dtype", "units", "numbers", "length"),
    [
        ("float32", 16, np.float32, 8),
        ("float32", 17, np.float32, 128),
        ("float64", 17, np.float64, 128),
        ("bf16", 17, np.float32, 512),
    ],
)
def test_dtypes_and_the_order_of_sums(dtype: str, units: int, numbers: Any, length: int) -> None:
    cell = packed("tanh", "sigmoid", dtype, units)
    words = cell.weight_dtype == np.uint32
    assert cell.cell.block_length == (length // 2 if words else length)
    assert cell.dtype == numbers and (cell.weight_dtype == numbers) == (dtype != "bf16")
    assert cell.operand_dtype == (np.uint16 if words else numbers)
    assert tuple(like.dtype for like in cell.dtypes) == (cell.dtype, cell.weight_dtype, cell.operand_dtype)
    assert (cell.cell.units, cell.cell.input_dim) == (units, 3)
    assert list(cell.cell[:3]) == [array.ctypes.data for array in cell.arrays]
    assert not cell.arrays[2].any()


def test_dense_weights() -> None:
    kernel = np.arange(15.0).reshape(3, 5)
    layer = pack_dense(kernel, None, activation="relu", dialect="tf1", dtype="float32")
    assert (layer.input_dim, layer.units, layer.activation, layer.dtype) == (3, 5, CODES["relu"], np.float32)
    assert (
        layer.kernel is not None
        and layer.kernel.dtype == np.float32
        and sorted(layer.kernel[layer.kernel > 0]) == list(range(1, 15))
    )
    with pytest.raises(ConfigError, match=r"is not one of TensorFlow 1\.15's"):
        pack_dense(kernel, None, activation="gelu", dialect="tf1", dtype="float32")
