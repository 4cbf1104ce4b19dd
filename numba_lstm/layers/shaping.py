"""Layers that change the shape, or pass each timestep to another layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, ClassVar, Self, Unpack

import numpy as np

from numba_lstm.checks import check_bool, check_choice, check_int, shown
from numba_lstm.errors import ConfigError, ShapeError
from numba_lstm.layers.base import CommonArguments, Shape, check_batch_shape, choose_dialect, follow
from numba_lstm.layers.call import Array, CallContext, Mask
from numba_lstm.layers.layer import Layer
from numba_lstm.layers.lstm import LSTM
from numba_lstm.layers.registry import layer_from_config, register, to_entry
from numba_lstm.semantics.dialects import Dialect
from numba_lstm.semantics.sizes import NewWeight


@register
class TimeDistributed(Layer):
    """`layer` at each timestep: (batch, timesteps, ...) -> (batch, timesteps, ...).

    A mask with an axis more, (batch, timesteps, inner timesteps), gives `layer` its slices, where that heeds masks.
    Source: TensorFlow 1.15, Keras 2.15 and 3.15 `TimeDistributed`.
    """

    def __init__(self, layer: Layer, **common: Unpack[CommonArguments]) -> None:
        if not isinstance(layer, Layer):
            raise ConfigError(f"layer of TimeDistributed is {shown(layer)}; expected a layer, such as Dense(10)")
        if getattr(layer, "stateful", False) or getattr(layer, "return_state", False):
            raise ConfigError("layer of TimeDistributed has stateful or return_state set; expected a layer without")
        follow([layer], "TimeDistributed", common)
        super().__init__(**common)
        self.layer = layer
        self.takes_mask, self.makes_mask = layer.takes_mask, layer.makes_mask
        self._step_by_step = False  # as TensorFlow 1.15 computes where it knows the batch: masks stay outside

    def _parts(self) -> list[Layer]:
        return [self.layer]

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Build `layer` for one timestep of inputs of `input_shape`."""
        shape = check_batch_shape(input_shape, self.name)
        self.layer.build(self._inner(shape))
        self._step_by_step = self.dialect == "tf1" and shape[0] is not None
        self._settle(built=True)

    def expect(self, input_shape: Shape) -> None:
        """Let the weights of `layer` be made when they are first looked at."""
        super().expect(input_shape)
        self.layer.expect(self._inner(input_shape))

    def new_weights(self, input_shape: Sequence[int | None]) -> list[NewWeight]:
        """Those of `layer`."""
        return self.layer.new_weights(self._inner(input_shape))

    def _inner(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        if len(shape) < 3:
            raise ShapeError(
                f"{self.name}: inputs have shape {tuple(shape)}; expected (batch, timesteps, ...); "
                "let the layer before it return sequences"
            )
        return (shape[0], *shape[2:])

    def run(self, x: Array, mask: Mask | None, context: CallContext) -> Array:
        """The outputs of `layer` for all timesteps of all rows at once, each with its slice of the mask."""
        self._inner(x.shape)
        batch, timesteps = x.shape[:2]
        takes_mask = self.layer.takes_mask and not (self._step_by_step and isinstance(self.layer, LSTM))
        # A mask over the timesteps alone says nothing about what is inside one of them.
        inner_mask = _rows(mask) if mask is not None and mask.ndim > 2 and takes_mask else None
        outputs: Array = self.layer.run(_rows(x), inner_mask, context._replace(first_row=context.first_row * timesteps))
        return outputs.reshape(batch, timesteps, *outputs.shape[1:])

    def compute_mask(self, x: Array, mask: Mask | None = None) -> Mask | None:
        """The mask as `layer` changes it, timestep by timestep; otherwise the mask, of the timesteps alone.

        In Keras 3 the mask as it came. In TensorFlow 1.15, too, around a layer that makes masks (its models do so when
        they are called, not in predict) and where the batch is fixed.
        """
        if self.dialect == "keras3" or self._step_by_step or (self.dialect == "tf1" and self.layer.makes_mask):
            return mask
        own = self.layer.compute_mask(_rows(x), None if mask is None else _rows(mask))
        if own is not None:
            return own.reshape(x.shape[:2] + own.shape[1:])
        return None if mask is None else np.asarray(mask.any(axis=tuple(range(2, mask.ndim))))

    def as_inputs(self, inputs: Any, dtype: str) -> Array:
        """`inputs` of rank 3 or more, as `layer` takes them."""
        x = self.layer.as_inputs(inputs, dtype) if self.takes_indices else super().as_inputs(inputs, dtype)
        self._inner(x.shape)
        return x

    @property
    def takes_indices(self) -> bool:
        """Whether `layer` takes indices."""
        return self.layer.takes_indices

    def output_shape(self, input_shape: Sequence[int | None]) -> Any:
        """The shape of the outputs of `layer`, with the timesteps put in."""
        inner = self.layer.output_shape(self._inner(input_shape))
        return (inner[0], input_shape[1], *inner[1:])

    def weight_names(self) -> list[str]:
        """The names of the weights of `layer`."""
        return self.layer.weight_names()

    def get_weights(self) -> list[Array]:
        """The weights of `layer`."""
        return self.layer.get_weights()

    def set_weights(self, weights: Sequence[Any], *, copy: bool = True) -> None:
        """Take over the weights of `layer`."""
        self.layer.set_weights(weights, copy=copy)
        self._settle(built=self.layer.built)

    @property
    def losses(self) -> list[float]:
        """The penalties of `layer`."""
        return self.layer.losses

    def apply_constraints(self) -> None:
        """Project the weights of `layer`."""
        self.layer.apply_constraints()

    def reseed(self, seed: int, number: int) -> int:
        """Seed `layer`."""
        return self.layer.reseed(seed, number)

    def get_config(self) -> dict[str, Any]:
        """The configuration as the dialect's Keras writes it."""
        return {**super().get_config(), "layer": to_entry(self.layer, self.dialect)}

    @classmethod
    def prepare_arguments(cls, arguments: dict[str, Any], dialect: Dialect) -> None:
        """Make the layer."""
        arguments["layer"] = layer_from_config(arguments.get("layer"), dialect)


def _rows(array: Array) -> Array:
    """The timesteps of all rows, one after the other: (batch, timesteps, ...) -> (batch * timesteps, ...)."""
    return array.reshape(array.shape[0] * array.shape[1], *array.shape[2:])


@register
class RepeatVector(Layer):
    """The same vector `n` times: (batch, features) -> (batch, n, features).

    Source: TensorFlow 1.15, Keras 2.15 and 3.15 `RepeatVector`.
    """

    supports_masking: ClassVar[bool] = False

    def __init__(self, n: int, **common: Unpack[CommonArguments]) -> None:
        super().__init__(**common)
        self.n = check_int(n, "n", 1, 2**31)

    def run(self, x: Array, mask: Mask | None, context: CallContext) -> Array:
        """The repeated vectors."""
        self.output_shape(x.shape)
        return np.repeat(x[:, np.newaxis], self.n, axis=1)

    def output_shape(self, input_shape: Sequence[int | None]) -> Any:
        """(batch, n, features)."""
        if len(input_shape) != 2:
            raise ShapeError(f"{self.name}: inputs have shape {tuple(input_shape)}; expected (batch, features)")
        return (input_shape[0], self.n, input_shape[1])

    def get_config(self) -> dict[str, Any]:
        """The configuration as the dialect's Keras writes it."""
        return {**super().get_config(), "n": self.n}


@register
class Flatten(Layer):
    """All axes but the first made into one: (batch, timesteps, features) -> (batch, timesteps * features).

    Source: TensorFlow 1.15, Keras 2.15 and 3.15 `Flatten`.
    """

    supports_masking: ClassVar[bool] = False

    def __init__(self, data_format: str | None = None, **common: Unpack[CommonArguments]) -> None:
        super().__init__(**common)
        self.data_format = "channels_last"
        if data_format is not None:
            check_choice(data_format, "data_format", ("channels_last", "channels_first"))
            self.data_format = data_format

    def run(self, x: Array, mask: Mask | None, context: CallContext) -> Array:
        """The flattened rows; "channels_first" puts the second axis last before."""
        if self.data_format == "channels_first" and x.ndim > 2:
            x = np.moveaxis(x, 1, -1)
        return x.reshape(x.shape[0], prod(x.shape[1:]))

    def output_shape(self, input_shape: Sequence[int | None]) -> Any:
        """(batch, all features), None where an axis is open."""
        rest = input_shape[1:]
        return (input_shape[0], None if None in rest else prod(n for n in rest if n is not None))

    def get_config(self) -> dict[str, Any]:
        """The configuration as the dialect's Keras writes it."""
        return {**super().get_config(), "data_format": self.data_format}


@register
class InputLayer(Layer):
    """The inputs of a model: `batch_input_shape` has the batch axis, None where an axis is open.

    A `Sequential` takes its input shape from it. Source: Keras 2.15 and 3.15 `InputLayer`.
    """

    def __init__(  # type: ignore[misc]  # input_shape and batch_size have places of their own here
        self,
        input_shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        **common: Unpack[CommonArguments],
    ) -> None:
        if common.get("batch_input_shape") is None:
            if input_shape is None:
                raise ConfigError("InputLayer has no shape; expected input_shape or batch_input_shape")
            common["batch_input_shape"] = (batch_size, *input_shape)
        super().__init__(**common)

    def run(self, x: Array, mask: Mask | None, context: CallContext) -> Array:
        """The inputs."""
        return x

    def get_config(self) -> dict[str, Any]:
        """The configuration as the dialect's Keras writes it."""
        config = {
            "batch_shape" if self.dialect == "keras3" else "batch_input_shape": list(self.batch_input_shape or ()),
            "dtype": self._written_dtype or self.dtype,
            "sparse": False,
            "ragged": False,
            "name": self.name,
        }
        return {**config, "optional": False} if self.dialect == "keras3" else config

    @classmethod
    def from_config(cls, config: Mapping[str, Any], dialect: Dialect | None = None) -> Self:
        """A layer from what `get_config` of any dialect wrote; its dtype may be that of indices."""
        dialect = choose_dialect(config, dialect)
        layer = super().from_config({key: value for key, value in config.items() if key != "dtype"}, dialect)
        layer._written_dtype = config.get("dtype")
        return layer

    @classmethod
    def prepare_arguments(cls, arguments: dict[str, Any], dialect: Dialect) -> None:
        """Refuse sparse, ragged and optional inputs; Keras 3 calls the shape batch_shape."""
        for key in ("sparse", "ragged", "optional"):
            value = arguments.pop(key, False)
            if value is not None and check_bool(value, f"{key} of InputLayer"):
                raise ConfigError(f"{key} of InputLayer is True; expected False; give padded arrays and a mask")
        if "batch_shape" in arguments:
            arguments["batch_input_shape"] = arguments.pop("batch_shape")
