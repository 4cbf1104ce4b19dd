"""Dropout between layers."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Unpack

import numpy as np

from numba_lstm.checks import check_number, check_seed, shown
from numba_lstm.errors import ConfigError, ShapeError
from numba_lstm.layers.base import CommonArguments
from numba_lstm.layers.call import Array, CallContext, Mask
from numba_lstm.layers.layer import Layer
from numba_lstm.layers.registry import register
from numba_lstm.semantics.dropout import DROPOUT, MaskSource, drops, new_seed


@register
class Dropout(Layer):
    """Sets numbers to zero when training, each with probability `rate`, and scales the others by 1 / (1 - rate).

    Each call draws anew, from a counter: a row's mask depends on the seed, the call and the row's place in the whole
    batch only. `noise_shape` has 1 where one number decides for a whole axis, and None elsewhere.
    Source: TensorFlow 1.15, Keras 2.15 and 3.15 `Dropout`.
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **common: Unpack[CommonArguments],
    ) -> None:
        super().__init__(**common)
        self.rate = check_number(rate, "rate")
        if not 0 <= self.rate <= 1:
            raise ConfigError(f"rate of {type(self).__name__} is {shown(rate)}; expected a number from 0 to 1")
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)
        if self.noise_shape is not None and (not self.noise_shape or self.noise_shape[0] is not None):
            raise ConfigError(f"noise_shape is {shown(noise_shape)}; expected None in the place of the batch")
        self.requested_seed = check_seed(seed)
        self._masks = MaskSource(new_seed() if seed is None else seed % 2**64)

    @property
    def seed(self) -> int:
        """The seed that the masks are drawn from."""
        return self._masks.seed

    def passes_on(self, context: CallContext) -> bool:
        """Whether the outputs are the inputs in this call."""
        return not context.training or self.rate == 0

    def run(self, x: Array, mask: Mask | None, context: CallContext) -> Array:
        """The inputs, thinned out when training."""
        if self.passes_on(context):
            return x
        if self.rate == 1 and self.dialect == "keras3":
            return np.zeros_like(x)
        drops(self.rate, self.dialect, f"{self.name}: rate")
        shape = self._shape(x.shape)
        drawn = self._masks.masks(
            DROPOUT,
            self.rate,
            x.shape[0],
            prod(shape),
            gates=1,
            first_row=context.first_row,
            draw=context.draw,
            dtype=context.dtype,
        )
        if context.draw is None:
            self._masks.reset(DROPOUT)
        kept = drawn.reshape(x.shape[0], *shape)
        return np.asarray(np.where(kept != 0, x * kept, x.dtype.type(0)))

    def _shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one row's mask."""
        if self.noise_shape is None:
            return shape[1:]
        given = tuple(n if n is not None else axis for n, axis in zip(self.noise_shape, shape, strict=False))
        if len(self.noise_shape) != len(shape) or any(
            n not in (1, axis) for n, axis in zip(given[1:], shape[1:], strict=True)
        ):
            raise ShapeError(
                f"{self.name}: noise_shape is {self.noise_shape} for inputs of shape {shape}; expected one entry an "
                "axis: 1, None or its length"
            )
        return given[1:]

    def reseed(self, seed: int, number: int) -> int:
        """Draw the masks from `seed`, as number `number` in the model."""
        self._masks = MaskSource(seed % 2**64, number)
        return number + 1

    def get_config(self) -> dict[str, Any]:
        """The configuration as the dialect's Keras writes it."""
        noise_shape = None if self.noise_shape is None else list(self.noise_shape)
        return {**super().get_config(), "rate": self.rate, "noise_shape": noise_shape, "seed": self.requested_seed}


@register
class SpatialDropout1D(Dropout):
    """`Dropout` that drops a feature at all timesteps of a row at once: inputs (batch, timesteps, features).

    Source: TensorFlow 1.15, Keras 2.15 and 3.15 `SpatialDropout1D`.
    """

    def __init__(self, rate: float, seed: int | None = None, **common: Unpack[CommonArguments]) -> None:
        super().__init__(rate, (None, 1, None), seed, **common)

    def get_config(self) -> dict[str, Any]:
        """The configuration as the dialect's Keras writes it."""
        config = super().get_config()
        config["noise_shape"] = None
        if self.dialect == "keras3":
            del config["noise_shape"], config["trainable"]
            config["dtype"] = self.dtype
        return config

    @classmethod
    def prepare_arguments(cls, arguments: dict[str, Any], dialect: Any) -> None:
        """TensorFlow writes a noise_shape that it does not use."""
        arguments.pop("noise_shape", None)
