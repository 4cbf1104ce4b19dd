"""Sequential: layers one after the other, from inputs to outputs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from numba_lstm.backends.cuda.arrays import in_main_memory
from numba_lstm.checks import check_int
from numba_lstm.errors import ConfigError, ShapeError
from numba_lstm.inference import predict
from numba_lstm.inputs import as_array
from numba_lstm.layers.call import Array, CallContext, Mask, as_step_mask, start_call
from numba_lstm.layers.call_inputs import adopt
from numba_lstm.layers.fit import axes_to_add, check_timesteps, with_axes
from numba_lstm.layers.fuse import giving_the_last, run_layers
from numba_lstm.layers.recurrent import Recurrent
from numba_lstm.layers.stages import SmallCalls, call_small
from numba_lstm.model_layers import ModelLayers
from numba_lstm.semantics.sizes import check_outputs

if TYPE_CHECKING:
    from numba_lstm.session import Session


class Sequential(ModelLayers):
    """A model of layers in a row.

    Called with inputs (batch, timesteps, input_dim), or indices (batch, timesteps) for an `Embedding`, it returns what
    the last layer returns; of a layer before it that returns states only the outputs go on. All layers are of one
    dialect, and the model computes in float64 if one of them is float64. Source: Keras 2.15 and 3.15 `Sequential`.

    >>> from numba_lstm import LSTM, Dense
    >>> model = Sequential([LSTM(4, return_sequences=True), Dense(2)])
    >>> model.build((None, None, 3))
    >>> model.count_params(), model.output_shape
    (138, (None, None, 2))
    """

    def __call__(
        self,
        x: Any,
        training: bool = False,
        mask: Any = None,
        *,
        first_row: int = 0,
        device: str = "cpu",
        precision: str | None = None,
    ) -> Any:
        """The results of the last layer for inputs `x`; `mask` (batch, timesteps) is False where a step is skipped.

        It goes to the first layer, as in Keras: a `Masking` or an `Embedding` puts its own in the place of it. With
        `device` "cuda" or "auto", inputs on a GPU are read in place and the results are `DeviceArray`s on it.
        Raises `ShapeError`, `DTypeError`, `ConfigError`, `DeviceError`.
        """
        if mask is None and training is False and type(first_row) is int and first_row == 0:
            outputs = self._small_call(x, device, precision)
            if outputs is not None:
                return outputs
        with adopt(device, self.name, x, mask=mask) as adopted:
            context = start_call(self.dtype, adopted, training=training, first_row=first_row, precision=precision)
            return adopted.returned(self.forward(adopted.inputs, adopted["mask"], context))

    def forward(self, x: Any, mask: Any, context: CallContext, padded: bool = False) -> Any:
        """The outputs of a call; `padded`: the mask marks what is padding, and holds beside the masks of layers."""
        x, step_mask = self._prepared(x, mask, context)
        if step_mask is None and not context.training and context.device == "cpu":
            outputs = call_small(self._small_calls, self._layers, x, context)
            if outputs is not None:
                return outputs
        if padded:
            context = context._replace(padding=step_mask)
        return run_layers(self._layers, x, step_mask, context)[0]

    @cached_property
    def _small_calls(self) -> dict[tuple[str, tuple[int, ...]], SmallCalls | None]:
        """By precision and shape of the inputs; None for those that are not small. See `call_small`."""
        return {}

    def _small_call(self, x: Any, device: Any, precision: Any) -> Array | None:
        """The outputs for inputs of a shape that came before; None if they did not, or something has changed."""
        is_plain = type(x) is np.ndarray and isinstance(device, str) and (precision is None or type(precision) is str)
        if not is_plain or (device != "auto" and device != "cpu"):
            return None
        calls = self._small_calls.get((self._dtype if precision is None else precision, x.shape))
        return calls(x) if calls is not None and x.dtype == calls.dtype else None

    def _changed(self) -> None:
        """Layers or shapes are others than before."""
        super()._changed()
        self.__dict__.pop("_small_calls", None)

    def __getstate__(self) -> dict[str, Any]:
        """A copy has lists of its own, and no plans: they know their memory by address."""
        lists = {"_layers": self.layers, "_recurrent": self.recurrent_layers}
        return {name: value for name, value in {**self.__dict__, **lists}.items() if name != "_small_calls"}

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = 0,
        steps: int | None = None,
        *,
        lengths: Any = None,
        window: int | None = None,
        stride: int = 1,
        windows: Sequence[int] | None = None,
        device: str = "auto",
        precision: str | None = None,
    ) -> Any:
        """The outputs for all rows of `x`, `batch_size` of them at a time, which changes no bit; None: all at once.

        In a stateful model row i of a batch goes on where row i of the batch before ended, as in Keras, so there
        `batch_size` says what follows what. `verbose` and `steps` are Keras's: the first changes nothing, and `steps`
        of an array say how many batches it makes where `batch_size` does not.

        `lengths` (batch,) says how many timesteps of each row count; the rest is padding, in addition to the masks of
        layers. `window` runs the model on every window of that many timesteps, `stride` apart, of a record (timesteps,
        input_dim), giving (windows, ...), or of each record of a batch, giving (batch, windows, ...); the
        windows are not copied. `windows` = (window, stride) is the same. Raises what a call raises.
        """
        if batch_size is None and steps is None and lengths is None and window is None and windows is None:
            outputs = self._small_call(x, device, precision) if stride == 1 else None
            if outputs is not None:
                return outputs
        if window is not None:
            if windows is not None:
                raise ConfigError("window and windows are both given; expected one of them")
            windows = (window, stride)
        elif stride != 1 and windows is None:
            raise ConfigError("stride is given without window; expected both")
        if steps is not None and batch_size is None:
            rows = len(as_array(x, "x"))
            batch_size = -(-rows // check_int(steps, "steps", 1, max(1, rows))) or None
        return predict(self, x, batch_size, lengths, windows, device, precision)

    def session(self, batch: int = 1) -> Session:
        """A `Session` for `batch` rows: the model one timestep a call, in microseconds, the states kept in between.

        Raises `ConfigError` for layers that cannot go timestep by timestep (`Bidirectional`, go_backwards and others).

        >>> from numba_lstm import LSTM
        >>> session = Sequential([LSTM(4, batch_input_shape=(None, None, 3))]).session()
        >>> session.step([0.1, 0.2, 0.3]).shape, [state.shape for state in session.state]
        ((4,), [(1, 4), (1, 4)])
        """
        from numba_lstm import session  # late: it loads LLVM

        if not self._built:
            self.build()
        return session.Session(self, batch)

    def run_rows(
        self,
        x: Any,
        *,
        mask: Any = None,
        padded: bool = False,
        initial_state: Sequence[Any] | None = None,
        carry_state: bool = False,
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
        stateful layer neither uses nor keeps its recorded states here, unless with `carry_state`. `padded`: the mask
        marks padding, and holds in addition to the masks of layers. `first_row` and `draw` fix the dropout masks.
        With `time_major` inputs, mask and outputs have their first two axes the other way round. `last_only` gives the
        last timestep of a sequence. Raises what a call raises.
        """
        with adopt(device, self.name, x, mask=mask, initial_state=initial_state) as adopted:
            context = start_call(
                self.dtype, adopted, training=training, first_row=first_row, precision=precision, draw=draw
            )
            context = context._replace(stateless=not carry_state, final_states=return_state)
            x, mask = adopted.inputs, adopted["mask"]
            swap = time_major != self.time_major
            if swap:
                x, mask = _swapped(x, "inputs"), None if mask is None else _swapped(mask, "mask")
            x, step_mask = self._prepared(x, mask, context)
            context = context._replace(padding=step_mask if padded else None)
            layers = giving_the_last(self._layers) if last_only else self._layers
            initial_state = adopted["initial_state"]
            if initial_state is not None and len(initial_state) != 2 * len(self.state_units):
                raise ShapeError(
                    f"{self.name}: initial_state has {len(initial_state)} arrays; expected "
                    f"{2 * len(self.state_units)}, h and c of every cell"
                )
            outputs, states = run_layers(layers, x, step_mask, context, initial_state)
            if isinstance(outputs, list):
                self.check_one_output(self._layers[-1])
                outputs = outputs[0]
            if outputs.ndim > 2:
                if last_only:
                    outputs = (outputs[-1] if self.time_major else outputs[:, -1]).copy()
                elif swap:
                    outputs = outputs.swapaxes(0, 1)
            return adopted.returned(outputs), states if return_state else []

    def _prepared(self, x: Any, mask: Any, context: CallContext) -> tuple[Array, Mask | None]:
        """Inputs and mask as arrays that fit the model, which is built for them if it is not yet."""
        if isinstance(self.first_layer, Recurrent):
            if mask is None and type(x) is np.ndarray and x.shape == self._fitting and x.dtype == context.dtype:
                return (x if x.flags.aligned else x.copy()), None
        else:
            x, mask = in_main_memory(x), in_main_memory(mask)
        if self._batch_shape is not None:
            x = as_array(x, f"{self.first_layer.name}: inputs", on_gpu=True)
            x = with_axes(x, axes_to_add(x.shape, self._batch_shape, self.dialect))
        x = self.first_layer.as_inputs(x, context.dtype)
        step_mask = as_step_mask(mask, f"{self.name}: mask", self.first_layer.mask_axes(x.shape))
        if not self._built:
            any_timesteps = self._any_timesteps or self._batch_shape is None
            any_rows = (x.shape[0], None, *x.shape[2:]) if self.time_major else (None, *x.shape[1:])
            self.build(self._batch_shape or any_rows)
            self._any_timesteps = any_timesteps
        if x.shape != self._fitting:
            self._check_shape(x.shape)
            check_outputs(self._layers, x.shape, context.dtype)
            self._fitting = x.shape
        return x, step_mask

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise `ShapeError` for inputs other than the model was made for; the number of rows does not count."""
        expected, batch, time = self._batch_shape or (), int(self.time_major), int(not self.time_major)
        fits = len(shape) == len(expected) and all(
            axis in (batch, time) or n is None or n == shape[axis] for axis, n in enumerate(expected)
        )
        if not fits:
            axes = ["batch" if axis == batch else n for axis, n in enumerate(expected)]
            words = ", ".join("timesteps" if n is None else str(n) for n in axes)
            raise ShapeError(f"{self.name}: inputs have shape {shape}; expected ({words})")
        check_timesteps(self.name, shape[time], self.timesteps)

    def reset_states(self) -> None:
        """Set the recorded states of all stateful layers to zero."""
        for layer in self.recurrent_layers:
            if layer.stateful:
                layer.reset_states()


def _swapped(value: Any, name: str) -> Array:
    array = as_array(value, name, on_gpu=True)
    if array.ndim < 2:
        raise ShapeError(f"{name} has shape {array.shape}; expected (timesteps, batch, ...)")
    return array.swapaxes(0, 1)
