"""The common base of RNN and Bidirectional: sequences in, outputs and states out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from numba_lstm.cell import LSTMCell
from numba_lstm.checks import check_choice, shown
from numba_lstm.errors import ConfigError, ShapeError
from numba_lstm.inputs import as_float_array
from numba_lstm.layers.base import Shape, check_batch_shape
from numba_lstm.layers.call import Array, CallContext, Mask, as_step_mask, start_call
from numba_lstm.layers.call_inputs import adopt
from numba_lstm.layers.layer import Layer
from numba_lstm.layers.standalone import MASKED_OUTPUTS
from numba_lstm.semantics.dialects import Dialect
from numba_lstm.semantics.sizes import check_weights


class Recurrent(Layer):
    """A layer that runs cells over the timesteps of a sequence."""

    return_sequences: bool
    return_state: bool
    stateful: bool
    time_major: bool
    takes_mask = True
    # The rule of a Keras that gives other outputs at masked timesteps; see `standalone`.
    masked_outputs: str | None = None

    @property
    def cells(self) -> list[LSTMCell]:
        """All cells, in the order of the weights and states."""
        raise NotImplementedError

    @property
    def state_units(self) -> list[int]:
        """The units of each cell, in the order of the states."""
        return [cell.units for cell in self.cells]

    def __call__(  # type: ignore[override]  # Keras's order of arguments is another one here
        self,
        inputs: Any,
        initial_state: Any = None,
        *,
        mask: Any = None,
        training: bool = False,
        dropout_mask: Any = None,
        recurrent_dropout_mask: Any = None,
        first_row: int = 0,
        device: str = "cpu",
        precision: str | None = None,
    ) -> Any:
        """The outputs for `inputs` (batch, timesteps, input_dim); with `time_major` the first two axes change places.

        `initial_state` is [h, c], (batch, units) each, or one pair a cell; except in Keras 3 it may follow the inputs
        in a list, [inputs, h, c]. `mask` (batch, timesteps) is False where a timestep is to be skipped; it may have
        holes, and NaN there does no harm. `dropout_mask` (4 or 1, batch,
        input_dim) and `recurrent_dropout_mask` (4 or 1, batch, units), scaled already, are used instead of drawing;
        with several cells each is a list, one entry a cell. `first_row` says where row 0 stands in a larger batch, and
        so which drawn masks it gets. `precision` is "float32", "float64" or "bf16", instead of the layer's dtype. With
        `device` "cuda" or "auto", inputs on a GPU are read in place and the results are `DeviceArray`s on it.

        Raises `ShapeError`, `DTypeError`, `ConfigError`, `DeviceError`.
        """
        if initial_state is None and self.dialect != "keras3" and _has_states(inputs):
            inputs, *initial_state = inputs
        with adopt(
            device,
            self.name,
            inputs,
            mask=mask,
            initial_state=initial_state,
            dropout_mask=dropout_mask,
            recurrent_dropout_mask=recurrent_dropout_mask,
        ) as adopted:
            context = start_call(self.dtype, adopted, training=training, first_row=first_row, precision=precision)
            x = self.as_inputs(adopted.inputs, context.dtype)
            step_mask = as_step_mask(adopted["mask"], f"{self.name}: mask", x.shape[:2], self.time_axes)
            self.build_for(x)
            outputs, states = self.run_sequence(
                x,
                step_mask,
                context,
                initial_state=adopted["initial_state"],
                dropout_masks=self.masks_by_cell(adopted["dropout_mask"], "dropout_mask"),
                recurrent_dropout_masks=self.masks_by_cell(adopted["recurrent_dropout_mask"], "recurrent_dropout_mask"),
            )
            return self.returned(outputs, states)

    def run(self, x: Array, mask: Mask | None, context: CallContext) -> Any:
        """The computation from states of zeros, or the recorded ones."""
        return self.returned(*self.run_sequence(x, mask, context))

    def run_sequence(
        self,
        x: Array,
        mask: Mask | None,
        context: CallContext,
        *,
        initial_state: Any = None,
        dropout_masks: Sequence[Any] | None = None,
        recurrent_dropout_masks: Sequence[Any] | None = None,
    ) -> tuple[Any, list[Array]]:
        """The outputs, and the final states h, c, h, c, ..."""
        raise NotImplementedError

    def returned(self, outputs: Any, states: list[Array]) -> Any:
        """The result of a call: the outputs, and the states if they were asked for."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The configuration as the dialect's Keras writes it; `masked_outputs`, where it is set, is this package's."""
        config = super().get_config()
        return config if self.masked_outputs is None else {**config, "masked_outputs": self.masked_outputs}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], dialect: Dialect | None = None) -> Self:
        """A layer from what `get_config` of any dialect wrote; without `dialect` the format tells it."""
        rule = config.get("masked_outputs") if isinstance(config, Mapping) else None
        if rule is not None:
            config = {key: value for key, value in config.items() if key != "masked_outputs"}
        layer = super().from_config(config, dialect)
        if rule is not None:
            layer._settle(masked_outputs=check_choice(rule, "masked_outputs", MASKED_OUTPUTS))
        return layer

    @property
    def time_axes(self) -> str:
        """The axes of a mask, in words."""
        return "(timesteps, batch)" if self.time_major else "(batch, timesteps)"

    def as_inputs(self, inputs: Any, dtype: str) -> Array:
        """`inputs` of rank 3 in `dtype`; raises `ShapeError` where there are no timesteps or too many features."""
        shape = f"{self.time_axes[:-1]}, input_dim)"
        name = f"{self.name}: inputs"
        expected = f"{shape}; for a single sequence, add the batch axis"
        x = as_float_array(inputs, name, dtype, 3, expected, on_gpu=True)
        if x.shape[0 if self.time_major else 1] == 0:
            raise ShapeError(f"{name} have shape {x.shape}; expected one timestep or more")
        self._check_input_dim(x.shape, name)
        return x

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the weights for inputs of `input_shape`, (batch, timesteps, input_dim)."""
        shape = check_batch_shape(input_shape, self.name)
        self.check_rank(shape)
        self._check_input_dim(shape, f"{self.name}: inputs")
        check_weights(self, shape, self.dtype)
        self._build(shape)
        self._settle(built=True)

    def check_rank(self, shape: Sequence[int | None]) -> None:
        """Raise `ShapeError` unless `shape` is that of sequences with a known input_dim."""
        if len(shape) != 3 or not shape[-1]:
            raise ShapeError(
                f"{self.name}: input_shape is {shown(tuple(shape))}; expected {self.time_axes[:-1]}, input_dim); "
                "let the layer before it return sequences"
            )

    def _build(self, shape: Shape) -> None:
        raise NotImplementedError

    def _check_input_dim(self, shape: Shape, name: str) -> None:
        input_dim = self.cells[0].input_dim
        if input_dim is not None and shape[2] != input_dim:
            raise ShapeError(f"{name} have shape {shape}; expected {input_dim} features in the last axis = input_dim")

    def masks_by_cell(self, masks: Any, name: str) -> Sequence[Any] | None:
        """One entry a cell, or None: a single cell's mask need not be in a list."""
        if masks is None:
            return None
        count = len(self.cells)
        if count == 1 and not (isinstance(masks, list | tuple) and len(masks) == 1):
            return [masks]
        if not isinstance(masks, list | tuple) or len(masks) != count:
            came = f"{len(masks)} entries" if isinstance(masks, list | tuple) else f"a {type(masks).__name__}"
            raise ShapeError(f"{self.name}: {name} is {came}; expected a list of {count}, one entry a cell")
        return masks

    def reset_states(self, states: Any = None) -> None:
        """Set the recorded states to zero, or to `states`; only for a stateful layer."""
        raise NotImplementedError

    def forget_states(self) -> None:
        """Begin anew from zeros, with a batch of any size."""
        raise NotImplementedError

    def _check_stateful(self) -> None:
        if not self.stateful:
            raise ConfigError(f"{self.name} keeps no states to reset; expected a layer with stateful=True")

    @property
    def losses(self) -> list[float]:
        """The penalties of the weight regularizers, cell by cell."""
        return [loss for cell in self.cells for loss in cell.losses]

    def apply_constraints(self) -> None:
        """Project the weights of all cells onto their constraints."""
        for cell in self.cells:
            cell.apply_constraints()


def _has_states(inputs: Any) -> bool:
    """Whether these are inputs and states in a list, as Keras 2 takes them."""
    return isinstance(inputs, list | tuple) and len(inputs) > 1 and getattr(inputs[0], "ndim", 0) == 3
