"""Sequential: layers one after the other, from inputs to outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from numba_lstm.chain import Chain
from numba_lstm.devices.arrays import in_main_memory
from numba_lstm.errors import ShapeError
from numba_lstm.inputs import as_array
from numba_lstm.layers.arrival import arriving
from numba_lstm.layers.call import Array, Mask, Pass, as_step_mask, start_pass
from numba_lstm.layers.layer import Layer
from numba_lstm.layers.recurrent import Recurrent
from numba_lstm.layers.together import giving_the_last, run_first
from numba_lstm.prediction import predict
from numba_lstm.sizes import check_outputs

if TYPE_CHECKING:
    from numba_lstm.session import Session


class Sequential(Chain):
    """A model of layers in a row.

    Called with inputs (batch, timesteps, input_dim), or indices (batch, timesteps) for an `Embedding`, it returns what
    the last layer returns; of a layer before it that returns states only the outputs go on. All layers are of one
    dialect, and the model computes in float64 if one of them is float64. Source: Keras 2.15 and 3.15 `Sequential`.

    >>> from numba_lstm import LSTM, Dense
    >>> model = Sequential([LSTM(4, return_sequences=True), Dense(2)])
    >>> model.build((None, None, 3))
    >>> model.count_params(), model.output_shape
    (138, (None, 2))
    """

    def __call__(
        self,
        x: Any,
        mask: Any = None,
        training: bool = False,
        *,
        first_row: int = 0,
        device: str = "cpu",
        precision: str | None = None,
    ) -> Any:
        """What the last layer returns for inputs `x`; `mask` (batch, timesteps) is False where a step is skipped.

        With `device` "cuda" or "auto", inputs on a GPU are read in place and the results are `DeviceArray`s on it.
        Raises `ShapeError`, `DTypeError`, `ConfigError`, `DeviceError`.
        """
        with arriving(device, self.name, x, mask=mask) as given:
            going = start_pass(self.dtype, given, training=training, first_row=first_row, precision=precision)
            x, step_mask = self._prepared(given.inputs, given["mask"], going)
            return given.returned(self._run(x, step_mask, going, None, self.layers)[0])

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        lengths: Any = None,
        windows: Sequence[int] | None = None,
        device: str = "auto",
        precision: str | None = None,
    ) -> Any:
        """The outputs for all rows of `x`, `batch_size` of them at a time, which changes no bit; None: all at once.

        `lengths` (batch,) says how many timesteps of each row count; the rest is padding. `windows` = (length, stride)
        runs the model on every window of a record (timesteps, input_dim), giving (windows, ...), or of each record of a
        batch, giving (batch, windows, ...); the windows are not copied. Raises what a call raises.
        """
        return predict(self, x, batch_size, lengths, windows, device, precision)

    def session(self, batch: int = 1) -> Session:
        """A `Session` for `batch` rows: the model one timestep a call, in microseconds, the states kept in between.

        Raises `ConfigError` for layers that cannot go timestep by timestep (`Bidirectional`, go_backwards and others).

        >>> from numba_lstm import LSTM
        >>> session = Sequential([LSTM(4, batch_input_shape=(None, None, 3))]).session()
        >>> session.step([0.1, 0.2, 0.3]).shape, [state.shape for state in session.state]
        ((4,), [(1, 4), (1, 4)])
        """
        from numba_lstm.session import Session

        if not self._built:
            self.build()
        return Session(self, batch)

    def run_rows(
        self,
        x: Any,
        *,
        mask: Any = None,
        initial_state: Sequence[Any] | None = None,
        training: bool = False,
        first_row: int = 0,
        time_major: bool = False,
        last_only: bool = False,
        return_state: bool = False,
        device: str = "cpu",
        precision: str | None = None,
        draw: int | None = None,
    ) -> tuple[Array, list[Array]]:
        """Some rows of a larger batch, as if all ran together: the outputs, and the final states if asked for.

        `initial_state` and the states returned are h, c, h, c, ... of every cell of the model, (batch, units) each. A
        stateful layer neither uses nor keeps its recorded states here. `first_row` and `draw` fix the dropout masks.
        With `time_major` inputs, mask and outputs have their first two axes the other way round. `last_only` gives the
        last timestep of a sequence. Raises what a call raises.
        """
        with arriving(device, self.name, x, mask=mask, initial_state=initial_state) as given:
            going = start_pass(
                self.dtype, given, training=training, first_row=first_row, precision=precision, draw=draw
            )
            going = replace(going, stateless=True, final_states=return_state)
            x, mask = given.inputs, given["mask"]
            swap = time_major != self.time_major
            if swap:
                x, mask = _swapped(x, "inputs"), None if mask is None else _swapped(mask, "mask")
            x, step_mask = self._prepared(x, mask, going)
            layers = giving_the_last(self.layers) if last_only else self.layers
            outputs, states = self._run(x, step_mask, going, given["initial_state"], layers)
            if isinstance(outputs, list):
                self.check_one_output(self.layers[-1])
                outputs = outputs[0]
            if outputs.ndim > 2:
                if last_only:
                    outputs = (outputs[-1] if self.time_major else outputs[:, -1]).copy()
                elif swap:
                    outputs = outputs.swapaxes(0, 1)
            return given.returned(outputs), states if return_state else []

    def _prepared(self, x: Any, mask: Any, going: Pass) -> tuple[Array, Mask | None]:
        """Inputs and mask as arrays that fit the model, which is built for them if it is not yet."""
        if not isinstance(self.first_layer, Recurrent):
            x, mask = in_main_memory(x), in_main_memory(mask)
        x = self.first_layer.as_inputs(x, going.dtype)
        step_mask = as_step_mask(mask, f"{self.name}: mask", x.shape[:2])
        if not self._built:
            self.build(self._batch_shape or (None, *x.shape[1:]))
        expected = self._batch_shape or ()
        if len(x.shape) != len(expected) or (not self.takes_indices and x.shape[-1] != expected[-1]):
            shape = tuple("batch" if i == int(self.time_major) else n for i, n in enumerate(expected))
            words = ", ".join("timesteps" if n is None else str(n) for n in shape)
            raise ShapeError(f"{self.name}: inputs have shape {x.shape}; expected ({words})")
        if x.shape != self._shape_in_memory:
            check_outputs(self.layers, x.shape, going.dtype)
            self._shape_in_memory = x.shape
        return x, step_mask

    def _run(
        self,
        x: Array,
        mask: Mask | None,
        going: Pass,
        initial_state: Sequence[Any] | None,
        layers: Sequence[Layer],
    ) -> tuple[Any, list[Array]]:
        if initial_state is not None and len(initial_state) != 2 * len(self.state_units):
            raise ShapeError(
                f"{self.name}: initial_state has {len(initial_state)} arrays; expected {2 * len(self.state_units)}, "
                "h and c of every cell"
            )
        states: list[Array] = []
        outputs: Any = x
        rest = layers
        while rest:
            given = None if initial_state is None else initial_state[len(states) :]
            count, outputs, final, mask = run_first(rest, outputs, mask, going, given)
            states += final
            rest = rest[count:]
        last = layers[-1]
        if isinstance(last, Recurrent):
            outputs = last.returned(outputs, states[-2 * len(last.cells) :])
        return outputs, states

    def reset_states(self) -> None:
        """Set the recorded states of all stateful layers to zero."""
        for layer in self.recurrent_layers:
            if layer.stateful:
                layer.reset_states()


def _swapped(value: Any, name: str) -> Array:
    array = as_array(value, name)
    if array.ndim < 2:
        raise ShapeError(f"{name} has shape {array.shape}; expected (timesteps, batch, ...)")
    return array.swapaxes(0, 1)
