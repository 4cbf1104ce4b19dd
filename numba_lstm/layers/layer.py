"""The base class of layers: called with an array, a layer returns an array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from numba_lstm.backends.cuda.arrays import in_main_memory
from numba_lstm.errors import ConfigError
from numba_lstm.inputs import as_float_array
from numba_lstm.layers.base import Component, check_batch_shape
from numba_lstm.layers.call import Array, CallContext, Mask, as_step_mask, start_call
from numba_lstm.layers.call_inputs import adopt
from numba_lstm.semantics.sizes import NewWeight


class Layer(Component):
    """A layer of a model.

    Called with an array it returns an array, or a list where Keras returns one. `build(input_shape)` makes the
    weights; the first call does so if nobody did. Shapes carry the batch axis, None where it is open.
    """

    supports_masking: ClassVar[bool] = True
    takes_mask: bool = False  # whether the outputs depend on the mask that comes in
    makes_mask: bool = False  # whether it makes a mask from its inputs
    in_keras: ClassVar[bool] = True  # whether Keras has a layer of this name

    @property
    def takes_indices(self) -> bool:
        """Whether the inputs are indices rather than numbers to compute with."""
        return False

    def __call__(
        self,
        inputs: Any,
        training: bool = False,
        mask: Any = None,
        *,
        first_row: int = 0,
        device: str = "cpu",
        precision: str | None = None,
    ) -> Any:
        """The outputs for `inputs`; `mask` (batch, timesteps) is False where a timestep is to be skipped."""
        with adopt(device, self.name, inputs, mask=mask) as adopted:
            context = start_call(self.dtype, adopted, training=training, first_row=first_row, precision=precision)
            x = self.as_inputs(in_main_memory(adopted.inputs), context.dtype)
            step_mask = as_step_mask(in_main_memory(adopted["mask"]), f"{self.name}: mask", self.mask_axes(x.shape))
            self.build_for(x)
            return adopted.returned(self.run(x, step_mask, context))

    def run(self, x: Array, mask: Mask | None, context: CallContext) -> Any:
        """The computation, for inputs that went through `as_inputs` and a layer that is built."""
        raise NotImplementedError

    def as_inputs(self, inputs: Any, dtype: str) -> Array:
        """`inputs` as this layer takes them, to be computed in `dtype`."""
        return as_float_array(inputs, f"{self.name}: inputs", dtype)

    def mask_axes(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The axes that a mask for inputs of `shape` may have, two or more of them: all but the features."""
        return shape[: max(2, len(shape) - (not self.takes_indices))]

    def mask_after(self, x: Array, mask: Mask | None) -> Mask | None:
        """The mask that goes on in a model: it ends at a layer that does not support masking, as in Keras."""
        return self.compute_mask(x, mask) if self.supports_masking else None

    def compute_mask(self, x: Array, mask: Mask | None = None) -> Mask | None:
        """The mask that goes on to the next layer; raises `ConfigError` where Keras's method of this name raises."""
        if self.supports_masking or mask is None:
            return mask
        if self.dialect == "keras3":
            return None
        raise ConfigError(
            f"{self.name}: {type(self).__name__} does not support masking, and a mask came; "
            "put a layer before it that uses the mask up, such as an LSTM with return_sequences=False"
        )

    def build_for(self, x: Array) -> None:
        """Build for inputs like `x`, if that is still to be done."""
        if not self.built:
            self.build((None, *x.shape[1:]))

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the weights for inputs of `input_shape`, batch axis included."""
        self.output_shape(check_batch_shape(input_shape, self.name))
        self._settle(built=True)

    def new_weights(self, input_shape: Sequence[int | None]) -> list[NewWeight]:
        """The weights that `build` would make for inputs of `input_shape`; none where there are weights."""
        return []

    def output_shape(self, input_shape: Sequence[int | None]) -> Any:
        """The shape of the outputs for inputs of `input_shape`, both with the batch axis."""
        return tuple(input_shape)

    def reseed(self, seed: int, number: int) -> int:
        """Draw weights and dropout masks from `seed` from now on, as number `number` in the model; returns the next."""
        return number
