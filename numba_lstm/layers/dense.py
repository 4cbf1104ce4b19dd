"""Dense and Activation: the layers that follow an LSTM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Unpack

from numba_lstm.backends.cpu import packing
from numba_lstm.checks import check_bool, check_input_dim, check_units
from numba_lstm.errors import ShapeError
from numba_lstm.inputs import as_float_array
from numba_lstm.layers.base import CommonArguments, check_batch_shape
from numba_lstm.layers.call import Array, CallContext, Mask
from numba_lstm.layers.layer import Layer
from numba_lstm.layers.registry import register
from numba_lstm.layers.weighted import KINDS, Weighted
from numba_lstm.semantics.config import check_activation, deserialize_object, serialize_activation, serialize_object

ActivationArgument = str | Callable[..., Any] | None


@register
class Dense(Weighted):
    """activation(inputs @ kernel + bias) over the last axis; kernel (input_dim, units), bias (units,).

    The sums run over the features in one fixed order, so that a row's result never depends on its neighbours.
    The penalty of `activity_regularizer` belongs to training: it is kept for the configuration only.
    Source: TensorFlow 1.15, Keras 2.15 and 3.15 `Dense`.

    >>> dense = Dense(1, kernel_initializer="ones")
    >>> dense([[1.0, 2.0], [3.0, 4.0]]).tolist()
    [[3.0], [7.0]]
    """

    def __init__(
        self,
        units: int,
        activation: ActivationArgument = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **common: Unpack[CommonArguments],
    ) -> None:
        super().__init__(**common)
        self.units = check_units(units)
        self.activation = check_activation(activation, "activation", self.dialect)
        self.use_bias = check_bool(use_bias, "use_bias")
        self.input_dim: int | None = None
        self.add_rules("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self.add_rules("bias", bias_initializer, bias_regularizer, bias_constraint)
        self.activity_regularizer = deserialize_object(
            activity_regularizer, self.dialect, "regularizer", "activity_regularizer"
        )
        self._packed: dict[str, packing.PackedDense] = {}

    def weight_shapes(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """kernel (input_dim, units) and bias (units,)."""
        shapes: dict[str, tuple[tuple[int, ...], str]] = {}
        shapes["kernel"] = ((self.input_dim or 0, self.units), "(input_dim, units)")
        if self.use_bias:
            shapes["bias"] = ((self.units,), "(units,)")
        return shapes

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the weights for inputs of `input_shape`, (batch, ..., input_dim)."""
        shape = check_batch_shape(input_shape, self.name)
        if self.built:
            if shape[-1] is not None:  # what flattened an open axis gives; the call will tell
                self._check_input_dim(shape)
            return
        self._fit(shape)
        self.make_weights()
        self._settle(built=True)

    def _fit(self, input_shape: Sequence[int | None]) -> None:
        self._settle(input_dim=check_input_dim(input_shape[-1], f"{self.name}: input_dim"))

    def _build_from(self, weights: Sequence[Any]) -> None:
        kernel = as_float_array(weights[0], f"{self.name}: kernel", self.dtype, 2, "(input_dim, units)")
        self._settle(input_dim=check_input_dim(kernel.shape[0], f"{self.name}: input_dim"))

    def _check_input_dim(self, shape: tuple[int | None, ...]) -> None:
        if len(shape) < 2 or shape[-1] != self.input_dim:
            raise ShapeError(
                f"{self.name}: inputs have shape {shape}; expected (batch, ..., {self.input_dim}) = "
                "(batch, ..., input_dim)"
            )

    def as_inputs(self, inputs: Any, dtype: str) -> Array:
        """`inputs` of rank 2 or more in `dtype`."""
        x = super().as_inputs(inputs, dtype)
        if x.ndim < 2:
            raise ShapeError(f"{self.name}: inputs have shape {x.shape}; expected (batch, ..., input_dim)")
        return x

    def run(self, x: Array, mask: Mask | None, context: CallContext) -> Array:
        """The outputs (batch, ..., units)."""
        from numba_lstm.backends.cpu import stateless  # late: it loads LLVM

        self._check_input_dim(x.shape)
        rows = x.reshape(-1, x.shape[-1])
        return stateless.dense(self.packed(context.dtype), rows).reshape(*x.shape[:-1], self.units)

    def packed(self, dtype: str) -> packing.PackedDense:
        """The weights as the kernels take them; kept until they change."""
        kept = self._packed  # before the weights are read: another one takes its place after they have changed
        found = kept.get(dtype)
        if found is None:
            weights = self._looked_at()
            found = kept[dtype] = packing.pack_dense(
                weights["kernel"],
                weights.get("bias"),
                activation=self.activation,
                dialect=self.dialect,
                dtype=dtype,
            )
        return found

    def _forget_packed(self) -> None:
        self._packed = {}

    def __getstate__(self) -> dict[str, Any]:
        """A copy packs its weights anew, which may become others than these."""
        return {**self.__dict__, "_packed": {}}

    def output_shape(self, input_shape: Sequence[int | None]) -> Any:
        """The inputs' shape with units in the last place."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """The configuration as the dialect's Keras writes it."""
        config = {
            **super().get_config(),
            "units": self.units,
            "activation": serialize_activation(self.activation, "activation"),
            "use_bias": self.use_bias,
        }
        for kind in KINDS:
            config.update(self.rules_config(kind))
        # Keras 3 writes an activity regularizer only where there is one, and what it quantized.
        if self.dialect != "keras3" or self.activity_regularizer is not None:
            config["activity_regularizer"] = serialize_object(
                self.activity_regularizer, self.dialect, "activity_regularizer"
            )
        return config if self.dialect != "keras3" else {**config, "quantization_config": None}


@register
class Activation(Layer):
    """An activation by itself: a name, None, or an `@njit` function of one number.

    Source: TensorFlow 1.15, Keras 2.15 and 3.15 `Activation`.
    """

    def __init__(self, activation: ActivationArgument, **common: Unpack[CommonArguments]) -> None:
        super().__init__(**common)
        self.activation = check_activation(activation, "activation", self.dialect)

    def run(self, x: Array, mask: Mask | None, context: CallContext) -> Array:
        """activation(inputs), of the same shape; softmax and its like work over the last axis."""
        from numba_lstm.backends.cpu import stateless  # late: it loads LLVM

        return stateless.activate(self.activation, self.dialect, x)

    def get_config(self) -> dict[str, Any]:
        """The configuration as the dialect's Keras writes it."""
        return {**super().get_config(), "activation": serialize_activation(self.activation, "activation")}
