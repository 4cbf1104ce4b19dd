"""Layers that choose timesteps. Keras has none of them by itself; other systems' models need them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import numpy as np

from numba_lstm.checks import check_bool
from numba_lstm.errors import ShapeError
from numba_lstm.layers.base import CommonArguments
from numba_lstm.layers.call import Array, CallContext, Mask
from numba_lstm.layers.layer import Layer
from numba_lstm.layers.registry import register


class _Timesteps(Layer):
    """A layer that looks at the axis of time; with `time_major` that is the first one."""

    in_keras: ClassVar[bool] = False

    def __init__(self, time_major: bool = False, **common: Unpack[CommonArguments]) -> None:
        super().__init__(**common)
        self.time_major = check_bool(time_major, "time_major")

    def _axis(self, shape: Sequence[int | None]) -> int:
        if len(shape) < 3:
            raise ShapeError(f"{self.name}: inputs have shape {tuple(shape)}; expected (batch, timesteps, features)")
        return 0 if self.time_major else 1

    def get_config(self) -> dict[str, Any]:
        """The configuration, in the way of the dialect's Keras."""
        return {**super().get_config(), "time_major": self.time_major}


@register
class LastTimestep(_Timesteps):
    """The last timestep of a sequence, masked or not: (batch, timesteps, features) -> (batch, features).

    What PyTorch's ``outputs[:, -1]`` is. Behind a `Bidirectional` that is not what return_sequences=False gives: the
    backward layer has read one timestep by then, not all.
    """

    def run(self, x: Array, mask: Mask | None, context: CallContext) -> Array:
        """The timestep, an array of its own."""
        return np.ascontiguousarray(np.take(x, -1, self._axis(x.shape)))

    def compute_mask(self, x: Array, mask: Mask | None = None) -> Mask | None:
        """None: there are no timesteps any more."""
        return None

    def output_shape(self, input_shape: Sequence[int | None]) -> Any:
        """(batch, features)."""
        axis = self._axis(input_shape)
        return (*input_shape[:axis], *input_shape[axis + 1 :])


@register
class ReverseTimesteps(_Timesteps):
    """The timesteps in reverse order, as after a layer with go_backwards; the mask is left as it is."""

    def run(self, x: Array, mask: Mask | None, context: CallContext) -> Array:
        """The timesteps turned round."""
        return np.ascontiguousarray(np.flip(x, self._axis(x.shape)))

    def output_shape(self, input_shape: Sequence[int | None]) -> Any:
        """That of the inputs."""
        self._axis(input_shape)
        return tuple(input_shape)
