"""Weights and activations in the form in which the driver hands them to the kernels."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from numba_lstm.errors import ConfigError
from numba_lstm.kernels.arguments import Cell, Functions
from numba_lstm.kernels.codes import CODES, COMMON, CUSTOM, HARD_SIGMOID, LAST_COMMON, LINEAR, SIGMOID, SOFTMAX, TANH
from numba_lstm.kernels.pack import Array, address, as_kept, bf16_dtype, pack_gates, pack_units
from numba_lstm.kernels.target import INTERPRETED
from numba_lstm.kernels.undisturbed import load, undisturbed
from numba_lstm.semantics.dialects import ACTIVATIONS, SYSTEM_NAMES, Dialect

Activation = str | Callable[[Any], Any] | None

# Neighbouring k that are summed from zero before the next block is added. Short chains let the few sums of a small
# cell overlap; long ones cost nothing there and round less than one chain of all k. Part of the promise of equal
# bits (docs/reliability.md): the cell's shape alone decides, and a change here changes results.
SMALL_UNITS, BLOCK_LENGTH_SMALL, BLOCK_LENGTH = 16, 8, 128
# bf16 has an order of its own. What it rounds away is far more than a longer chain does.
BLOCK_LENGTH_BF16 = 512


@dataclass(eq=False)
class PackedCell:
    """A cell's weights in the kernels' layout, and the activations, each the ``function`` of kernels.apply.

    With them what calls keep as long as the weights are these: other weights are another object.
    """

    cell: Cell
    activation: Any
    recurrent_activation: Any
    dtype: np.dtype[Any]  # of inputs, sums, states and outputs
    weight_dtype: np.dtype[Any]  # of the packed kernels: the same, or uint16 or uint32 for bf16, see kernels.pack
    arrays: tuple[Array, Array, Array]  # what the cell's addresses point to
    steps: dict[tuple[int, int], Any] = field(default_factory=dict)  # `call_plan.SmallSteps` by the inputs' shape
    on_gpus: dict[int, Any] = field(default_factory=dict)  # copies in the memory of GPUs, by their numbers
    compiled: dict[Any, Any] = field(default_factory=dict)  # kernels for arguments of certain types

    @property
    def functions(self) -> Functions | None:
        """Both activations for kernels; None if they are computed in registers."""
        return None if self.activation is None else Functions(self.activation, self.recurrent_activation)

    @property
    def operand_dtype(self) -> np.dtype[Any]:
        """The dtype of inputs and h in products: uint16 for bf16 if the kernels are words of two, otherwise dtype."""
        return np.dtype(np.uint16) if self.weight_dtype == np.uint32 else self.dtype

    @property
    def dtypes(self) -> tuple[Any, Any, Any]:
        """A number of each dtype, which tell the kernels what the memory at an address holds."""
        return self.dtype.type(0), self.weight_dtype.type(0), self.operand_dtype.type(0)


@dataclass(frozen=True, eq=False)
class PackedDense:
    """A dense layer's weights in the kernels' layout, or with no kernel an activation by itself."""

    input_dim: int
    units: int
    activation: int
    function: Any  # of apply.apply
    dtype: np.dtype[Any]
    kernel: Array | None = None
    bias: Array | None = None


def activation_code(activation: Activation, dialect: Dialect) -> tuple[int, Any]:
    """An activation as the kernels take it: a number, and the ``function`` of kernels.apply.

    Raises ConfigError for a name that the dialect does not know, for a function that is not compiled, and for one that
    does not take a number to a number.
    """
    if activation is None:
        return LINEAR, COMMON
    if isinstance(activation, str):
        name = ACTIVATIONS[dialect].get(activation)
        if name is None:
            known = ", ".join(sorted(ACTIVATIONS[dialect]))
            raise ConfigError(
                f"activation {activation!r} is not one of {SYSTEM_NAMES[dialect]}'s; expected one of {known}"
            )
        code = CODES[name]
        return code, COMMON if code <= LAST_COMMON else True
    if not hasattr(activation, "py_func") and not INTERPRETED:
        raise ConfigError(
            f"activation {activation!r} is plain Python; expected a name, None or a function decorated with @numba.njit"
        )
    if not INTERPRETED and activation not in _checked:
        _check_function(activation)
        _checked.add(activation)
    return CUSTOM, activation


_checked: weakref.WeakSet[Any] = weakref.WeakSet()


def spans_units(cell: PackedCell) -> bool:
    """Whether an activation needs all units of a row at once, as softmax does."""
    codes = cell.cell.activation, cell.cell.recurrent_activation
    return any(SOFTMAX <= code < CUSTOM for code in codes)


def _check_function(activation: Any) -> None:
    """Raise ConfigError unless numba can compile the function from one number to one number."""
    expected = f"activation {activation.py_func.__name__} is expected to take one number and return one"
    numba = load("numba")
    probe = numba.njit(lambda x: activation(x))
    try:
        undisturbed(probe.compile, (numba.float64,))
    except numba.core.errors.NumbaError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        reason = next((line for line in lines if line and not line.startswith("Failed in nopython mode")), "")
        raise ConfigError(f"{expected}; numba cannot compile it: {reason}") from error
    returned = probe.nopython_signatures[0].return_type
    if not isinstance(returned, numba.types.Float | numba.types.Integer | numba.types.Boolean):
        raise ConfigError(f"{expected}; it returns {returned}")


def pack_cell(
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array | None,
    *,
    activation: Activation,
    recurrent_activation: Activation,
    dialect: Dialect,
    dtype: str,
) -> PackedCell:
    """kernel (input_dim, 4 * units), recurrent_kernel (units, 4 * units), bias (4 * units,) or None; gates i f c o.

    dtype: "float32", "float64", or "bf16" for bf16 kernels and float32 for all else.
    """
    units = recurrent_kernel.shape[0]
    numbers, weight_dtype = (np.dtype(np.float32), bf16_dtype()) if dtype == "bf16" else (np.dtype(dtype),) * 2
    code, function = activation_code(activation, dialect)
    recurrent_code, recurrent_function = activation_code(recurrent_activation, dialect)
    if code == TANH and recurrent_code in (SIGMOID, HARD_SIGMOID):
        function = recurrent_function = None  # computed in registers, see kernels.cpu.sequence
    elif True in (function, recurrent_function) and not (callable(function) or callable(recurrent_function)):
        function = recurrent_function = True  # one compiled kernel for all such cells
    if bias is None:
        bias = np.zeros(4 * units, numbers)
    arrays = (
        pack_gates(as_kept(kernel, weight_dtype)),
        pack_gates(as_kept(recurrent_kernel, weight_dtype)),
        pack_gates(bias.astype(numbers, copy=False)[np.newaxis]),
    )
    kernel_at, recurrent_kernel_at, bias_at = map(address, arrays)
    block_length = BLOCK_LENGTH_BF16 if dtype == "bf16" else BLOCK_LENGTH
    if units <= SMALL_UNITS:
        block_length = BLOCK_LENGTH_SMALL
    cell = Cell(
        kernel=kernel_at,
        recurrent_kernel=recurrent_kernel_at,
        bias=bias_at,
        input_dim=kernel.shape[0],
        units=units,
        block_length=block_length // 2 if weight_dtype == np.uint32 else block_length,
        activation=code,
        recurrent_activation=recurrent_code,
    )
    return PackedCell(cell, function, recurrent_function, numbers, weight_dtype, arrays)


def pack_dense(
    kernel: Array, bias: Array | None, *, activation: Activation, dialect: Dialect, dtype: str
) -> PackedDense:
    """kernel (input_dim, units), bias (units,) or None."""
    numbers = np.dtype(dtype)
    if bias is None:
        bias = np.zeros(kernel.shape[1], numbers)
    return PackedDense(
        kernel.shape[0],
        kernel.shape[1],
        *activation_code(activation, dialect),
        numbers,
        pack_units(kernel.astype(numbers, copy=False)),
        pack_units(bias.astype(numbers, copy=False)[np.newaxis]),
    )


def pack_activation(width: int, *, activation: Activation, dialect: Dialect, dtype: str) -> PackedDense:
    """An activation by itself, of rows of this width."""
    return PackedDense(width, width, *activation_code(activation, dialect), np.dtype(dtype))
