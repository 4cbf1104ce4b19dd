"""RNN: a cell, or a stack of cells, over the timesteps of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from numba_lstm.cell import LSTMCell
from numba_lstm.checks import check_bool, shown
from numba_lstm.errors import ConfigError, ShapeError
from numba_lstm.layers.base import CommonArguments, Shape, follow
from numba_lstm.layers.call import Array, CallContext, Mask
from numba_lstm.layers.layer import Layer
from numba_lstm.layers.recurrent import Recurrent
from numba_lstm.layers.registry import cell_from_config, register, to_entry
from numba_lstm.layers.stacked import StackedRNNCells
from numba_lstm.layers.standalone import states_for_outputs
from numba_lstm.layers.states import checked_states, paired, read_only, recalled, set_to_zero, zero_states
from numba_lstm.semantics.dialects import Dialect
from numba_lstm.semantics.sizes import NewWeight

if TYPE_CHECKING:
    from numba_lstm.backends.cpu.stacked import CellCall


@register
class RNN(Recurrent):
    """Run `cell` - an `LSTMCell`, a list of them or `StackedRNNCells` - over (batch, timesteps, input_dim).

    Returns the last output (batch, units), or with ``return_sequences`` all of them (batch, timesteps, units), and with
    ``return_state`` a list: the outputs, then h and c (a pair for each cell of a stack). ``go_backwards`` takes the
    timesteps last to first and leaves the outputs in that order. A masked step repeats the output before it, zeros at
    the start, or gives zeros with ``zero_output_for_mask``. ``stateful`` starts each call from the states of the last.
    ``time_major`` has the first two axes of inputs, mask and outputs the other way round. ``unroll`` changes nothing
    but this: as in Keras, with ``go_backwards`` and ``zero_output_for_mask`` the zeros then stand where the mask has
    them, not where the steps were processed.
    Source: TensorFlow 1.15, Keras 2.15 and 3.15 `RNN`.

    >>> import numpy as np
    >>> layer = RNN([LSTMCell(4), LSTMCell(2)], return_state=True)
    >>> output, lower, upper = layer(np.ones((5, 7, 3)))
    >>> output.shape, [state.shape for state in lower]
    ((5, 2), [(5, 4), (5, 4)])
    """

    has_length = True

    def __init__(
        self,
        cell: LSTMCell | StackedRNNCells | Sequence[LSTMCell],
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        time_major: bool = False,
        zero_output_for_mask: bool = False,
        **common: Unpack[CommonArguments],
    ) -> None:
        if isinstance(cell, list | tuple):
            cell = StackedRNNCells(cell)
        if not isinstance(cell, LSTMCell | StackedRNNCells):
            raise ConfigError(f"cell is {shown(cell)}; expected an LSTMCell, a list of them or StackedRNNCells")
        follow([cell], "RNN", common)
        super().__init__(**common)
        self.cell: LSTMCell | StackedRNNCells = cell
        self.return_sequences = check_bool(return_sequences, "return_sequences")
        self.return_state = check_bool(return_state, "return_state")
        self.go_backwards = check_bool(go_backwards, "go_backwards")
        self.stateful = check_bool(stateful, "stateful")
        self.unroll = check_bool(unroll, "unroll")
        self.time_major = check_bool(time_major, "time_major")
        self.zero_output_for_mask = check_bool(zero_output_for_mask, "zero_output_for_mask")
        if self.time_major and self.dialect == "keras3":
            raise ConfigError("time_major is True; Keras 3 has no such argument; swap the first two axes of the inputs")
        self._states: list[Array] | None = None  # h, c, h, c, ... of a stateful layer, once it has run
        self._batch: int | None = None  # a stateful layer's batch, once it is known

    @property
    def states(self) -> list[Array] | None:
        """The recorded states h, c, h, c, ... of a stateful layer, read-only; None before it has run.

        Setting them is `reset_states`.
        """
        if self._states is None:
            return None
        return [read_only(state) for state in self._states]

    @states.setter
    def states(self, value: Any) -> None:
        self.reset_states(value)

    def _parts(self) -> list[LSTMCell | StackedRNNCells]:
        return [self.cell]

    @property
    def cells(self) -> list[LSTMCell]:
        """The cells, the lowest first."""
        return list(self.cell.cells) if isinstance(self.cell, StackedRNNCells) else [self.cell]

    @property
    def state_size(self) -> list[int] | list[list[int]]:
        """[units, units], of h and of c; of a stack one entry a cell."""
        return self.cell.state_size

    def get_initial_state(self, inputs: Any = None, batch_size: int | None = None) -> list[Any]:
        """[h, c], zeros (batch, units) each, and a pair a cell for a stack; the batch is that of `inputs`.

        Instead of the inputs their number of rows may be given, as in Keras 3, or as `batch_size`.
        """
        if inputs is not None and not isinstance(inputs, int):
            shape = np.shape(inputs)
            if len(shape) < 2:
                raise ShapeError(f"{self.name}: inputs have shape {shape}; expected {self.time_axes[:-1]}, input_dim)")
            inputs = shape[1 if self.time_major else 0]
        return list(self.cell.get_initial_state(batch_size=batch_size if inputs is None else inputs))

    def run_sequence(
        self,
        x: Array,
        mask: Mask | None,
        context: CallContext,
        *,
        initial_state: Any = None,
        dropout_masks: Sequence[Any] | None = None,
        recurrent_dropout_masks: Sequence[Any] | None = None,
        zero_output: bool | None = None,
    ) -> tuple[Array, list[Array]]:
        """The outputs, and the final states h, c, h, c, ...; `zero_output` stands in for zero_output_for_mask."""
        zero_output = self.zero_output_for_mask if zero_output is None else zero_output
        masks = dropout_masks, recurrent_dropout_masks
        return run_stack([self], x, mask, context, initial_state, masks, zero_output)[:2]

    def cell_calls(
        self,
        batch: int,
        mask: Mask | None,
        context: CallContext,
        initial_state: Any = None,
        dropout_masks: Sequence[Any] | None = None,
        recurrent_dropout_masks: Sequence[Any] | None = None,
        *,
        zero_output: bool | None = None,
    ) -> list[CellCall]:
        """The arguments of the cells, from the lowest; once they have been, `finished` has to follow."""
        from numba_lstm.backends.cpu import stacked  # late: it loads LLVM

        self._check_masks(context, dropout_masks)
        if mask is not None and mask.ndim != 2:
            raise ShapeError(
                f"{self.name}: the mask that comes in has shape {mask.shape}; expected {self.time_axes}; mask the "
                "timesteps in a layer before it"
            )
        zero_output = self.zero_output_for_mask if zero_output is None else zero_output
        step_mask = mask.swapaxes(0, 1) if self.time_major and mask is not None else mask
        states = self._start(initial_state, batch, context)
        if self.dialect != "keras3":
            self._renew_masks(context)
        calls = []
        for i, cell in enumerate(self.cells):
            last = cell is self.cells[-1]
            backwards = self.go_backwards and i == 0
            drop, recurrent_drop = cell.masks_for_call(
                batch,
                context.training,
                dropout_mask=None if dropout_masks is None else dropout_masks[i],
                recurrent_dropout_mask=None if recurrent_dropout_masks is None else recurrent_dropout_masks[i],
                first_row=context.first_row,
                draw=context.draw,
                on_gpu=context.device == "cuda",
            )
            call = stacked.CellCall(
                cell.packed(context.precision),
                states[2 * i],
                states[2 * i + 1],
                mask=step_mask,
                dropout_mask=drop,
                recurrent_dropout_mask=recurrent_drop,
                go_backwards=backwards,
                return_sequences=self.return_sequences or not last,
                zero_output_for_mask=zero_output and last and not self.zeroes_afterwards(zero_output),
            )
            calls.append(call)
            if backwards and step_mask is not None:
                # The outputs stand in the order of processing then; for the cells above the mask has to follow.
                step_mask = step_mask[:, ::-1]
        return calls

    def finished(
        self,
        outputs: Array,
        final: list[Array],
        mask: Mask | None,
        context: CallContext,
        *,
        zero_output: bool | None = None,
    ) -> Array:
        """The outputs of the cells as those of the layer, axes apart, and the final states recorded."""
        zero_output = self.zero_output_for_mask if zero_output is None else zero_output
        if self.zeroes_afterwards(zero_output) and mask is not None:
            set_to_zero(outputs, mask.swapaxes(0, 1) if self.time_major else mask)
        if self.dialect == "keras3":
            self._renew_masks(context)
        if self.stateful and not context.stateless:
            self._states = [state.copy() for state in final]
        return outputs

    def zeroes_afterwards(self, zero_output: bool) -> bool:
        """Whether the zeros of masked steps stand where the mask has them, not where the steps were processed."""
        return zero_output and self.unroll and self.go_backwards and self.return_sequences

    def _check_masks(self, context: CallContext, dropout_masks: Sequence[Any] | None) -> None:
        """Raise `ConfigError` where Keras itself cannot draw the masks."""

    def _start(self, initial_state: Any, batch: int, context: CallContext) -> list[Array]:
        """The states to start from."""
        dtype, given = context.dtype, None
        if initial_state is not None:
            on_gpu, name = context.device == "cuda", f"{self.name}: initial_state"
            given = checked_states(initial_state, name, self.state_units, batch, dtype, on_gpu)
        if not self.stateful or context.stateless:
            return zero_states(self.state_units, batch, dtype) if given is None else given
        if self._batch is not None and batch != self._batch:
            remedy = "" if self._fixed_batch() == self._batch else "; reset_states() lets another batch follow"
            raise ShapeError(
                f"{self.name}: inputs have {batch} rows; expected {self._batch}, the batch of this stateful layer; "
                f"predict(x, batch_size={self._batch}) takes them one batch after the other, each from the states of "
                f"the one before{remedy}"
            )
        self._batch = batch
        recorded = None if self._states is None else [recalled(state, dtype, context) for state in self._states]
        # Keras 2 heeds a given state only while all that it recorded is zero.
        if given is not None and self.dialect == "keras2" and recorded is not None and any(s.any() for s in recorded):
            given = None
        return given or recorded or zero_states(self.state_units, batch, dtype)

    def _renews_masks(self) -> bool:
        """Whether each call draws new dropout masks: TensorFlow 1.15 leaves that to the caller for a bare cell."""
        return self.dialect != "tf1"

    def _renew_masks(self, context: CallContext) -> None:
        if context.draw is None:
            self.renew_masks()

    def renew_masks(self) -> None:
        """Let the next call draw new dropout masks, if each call does."""
        if self._renews_masks():
            for cell in self.cells:
                cell.reset_dropout_mask()
                cell.reset_recurrent_dropout_mask()

    def returned(self, outputs: Any, states: list[Array]) -> Any:
        """The outputs, or [outputs, h, c], or [outputs, [h, c], [h, c], ...] for a stack."""
        if not self.return_state:
            return outputs
        return [outputs, *(paired(states) if isinstance(self.cell, StackedRNNCells) else states)]

    def reset_states(self, states: Any = None) -> None:
        """Set the recorded states to zero, which lets another batch size follow, or to `states`, [h, c] or as returned.

        Raises `ConfigError` if the layer is not stateful, `ShapeError` for other shapes.
        """
        self._check_stateful()
        if states is None:
            self._states, self._batch = None, self._fixed_batch()
            return
        checked = checked_states(states, f"{self.name}: states", self.state_units, self._batch, self.dtype)
        self._states, self._batch = [state.copy() for state in checked], checked[0].shape[0]

    def forget_states(self) -> None:
        """Begin anew from zeros, with a batch of any size."""
        self._states, self._batch = None, None

    def _fixed_batch(self) -> int | None:
        return None if self.batch_input_shape is None else self.batch_input_shape[1 if self.time_major else 0]

    def compute_mask(self, x: Array, mask: Mask | None = None) -> Mask | None:
        """The mask goes on with a sequence, and ends with the last output."""
        return mask if self.return_sequences else None

    def output_shape(self, input_shape: Sequence[int | None]) -> Any:
        """The shape of the outputs; with return_state a list of it and the states' shapes."""
        self.check_rank(input_shape)
        first, second = input_shape[0], input_shape[1]
        batch = second if self.time_major else first
        units = self.cells[-1].units
        shape = (first, second, units) if self.return_sequences else (batch, units)
        return [shape, *((batch, n) for n in self.state_units for _ in "hc")] if self.return_state else shape

    def expect(self, input_shape: Shape) -> None:
        """Let the cell's weights for inputs of `input_shape` be made when they are first looked at."""
        super().expect(input_shape)
        if isinstance(self.cell, StackedRNNCells):
            self.cell.expect(input_shape)
        else:
            self.cell.expect(input_shape[-1])

    def _build(self, shape: Shape) -> None:
        self.cell.build(shape[-1] or 0)
        if self.stateful:
            self._batch = shape[1 if self.time_major else 0]

    def new_weights(self, input_shape: Sequence[int | None]) -> list[NewWeight]:
        """Those of the cell, or of all cells of the stack."""
        return self.cell.new_weights(input_shape[-1] or 0)

    def weight_names(self) -> list[str]:
        """The names of the cell's weights."""
        return self.cell.weight_names()

    def get_weights(self) -> list[Array]:
        """The cell's weights: kernel, recurrent_kernel, bias, of each cell of a stack in turn."""
        return self.cell.get_weights()

    def set_weights(self, weights: Sequence[Any], *, copy: bool = True) -> None:
        """Take over the cell's weights, in the order of `get_weights`; they settle the input_dim if nothing did."""
        self.cell.set_weights(weights, copy=copy)
        self._settle(built=True)

    def reseed(self, seed: int, number: int) -> int:
        """Seed the cells: each counts as one."""
        for cell in self.cells:
            cell.reseed(seed, layer_number=number)
            number += 1
        return number

    def twin(self, name: str) -> RNN:
        """A layer with the same arguments, another name and weights and states of its own."""
        twin = copy(self)
        twin._states, twin._batch = None, None
        cells = [LSTMCell(**cell.arguments()) for cell in self.cells]
        for new, own in zip(cells, self.cells, strict=True):
            new.keep_settings(own)
        cell: LSTMCell | StackedRNNCells = cells[0]
        if isinstance(self.cell, StackedRNNCells):
            cell = copy(self.cell)
            cell._settle(cells=cells, built=False)
        twin._settle(name=name, built=False, cell=cell)
        return twin

    def get_config(self) -> dict[str, Any]:
        """The configuration as the dialect's Keras writes it."""
        return {**super().get_config(), **self._options(), "cell": to_entry(self.cell, self.dialect)}

    def _options(self) -> dict[str, Any]:
        names = ["return_sequences", "return_state", "go_backwards", "stateful", "unroll"]
        if self.dialect != "keras3":
            names.append("time_major")
        # The older Keras write zero_output_for_mask only where it is set.
        if self.dialect == "keras3" or self.zero_output_for_mask:
            names.append("zero_output_for_mask")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def prepare_arguments(cls, arguments: dict[str, Any], dialect: Dialect) -> None:
        """Make the cell."""
        arguments["cell"] = cell_from_config(arguments.get("cell"), dialect)


def run_stack(
    stack: Sequence[Layer],
    x: Array,
    mask: Mask | None,
    context: CallContext,
    initial_state: Any = None,
    dropout_masks: tuple[Sequence[Any] | None, Sequence[Any] | None] = (None, None),
    zero_output: bool | None = None,
) -> tuple[Array, list[Array], Mask | None]:
    """The outputs of `RNN` layers one above the other, the final states of all, and the mask that goes on.

    Between them `Dropout` layers may stand that do nothing in this call; all but the last return sequences. With one
    layer dropout_masks, of inputs and of h, and zero_output are as in `RNN.run_sequence`.
    """
    from numba_lstm import driver  # late: it loads LLVM

    layers = [layer for layer in stack if isinstance(layer, RNN)]
    last, time_major = layers[-1], layers[0].time_major
    x = x.swapaxes(0, 1) if time_major else x
    masks, parts = [], []
    calls: list[CellCall] = []
    for layer in stack:
        if isinstance(layer, RNN):
            part = slice(2 * len(calls), 2 * (len(calls) + len(layer.cells)))
            given = initial_state if initial_state is None or len(layers) == 1 else initial_state[part]
            calls += layer.cell_calls(x.shape[0], mask, context, given, *dropout_masks, zero_output=zero_output)
            parts.append(part)
            masks.append(mask)
        mask = layer.mask_after(x, mask)
    outputs, states = driver.sequences(x, calls, context.device, context.final_states)
    for rnn, part, own_mask in zip(layers, parts, masks, strict=True):
        outputs = rnn.finished(outputs, states[part], own_mask, context, zero_output=zero_output)
    if last.masked_outputs == "state" and masks[-1] is not None and not last.unroll:
        outputs = states_for_outputs(last.name, x, calls, outputs, masks[-1], context)
    return outputs.swapaxes(0, 1) if time_major and last.return_sequences else outputs, states, mask
