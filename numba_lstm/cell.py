"""The LSTM cell of `tf.compat.v1.keras.layers.LSTMCell`: one timestep, its weights and its dropout masks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from numba_lstm.backends.cpu import packing
from numba_lstm.checks import check_dtype, check_int, shown
from numba_lstm.errors import ConfigError, ShapeError
from numba_lstm.inputs import as_float_array, check_shape
from numba_lstm.semantics.cell_weights import Array, CellWeights
from numba_lstm.semantics.dropout import DROPOUT, RECURRENT_DROPOUT, drops


class LSTMCell(CellWeights):
    """One step of a long short-term memory layer (Keras's `LSTMCell`; Hochreiter and Schmidhuber, 1997).

    With A the activation, R the recurrent_activation, and the gates in the order i, f, c, o::

        z_g = x @ kernel[:, g] + bias[g] + h @ recurrent_kernel[:, g]
        i = R(z_i)   f = R(z_f)   o = R(z_o)
        c' = f * c + i * A(z_c)
        h' = o * A(c')

    kernel is (input_dim, 4 * units), recurrent_kernel (units, 4 * units), bias (4 * units,). The arguments are those of
    TensorFlow 1.15's class, with its defaults in every dialect:

    - `activation`, `recurrent_activation`: a name that the dialect knows, an @njit function of one scalar, or None.
    - `..._initializer`, `..._regularizer`, `..._constraint`: a name, a configuration, an object or None.
    - `unit_forget_bias`: the forget gate's bias starts as ones; the other gates' still come from `bias_initializer`.
    - `dropout`, `recurrent_dropout`: rates, clipped to the range 0 to 1 as in Keras; they act when training.
    - `implementation`: 1 gives each gate its own dropout mask, 2 gives all of them the first one.
    - `dtype`: "float32" or "float64". `dialect`: "tf1", "keras2" or "keras3".
    - `trainable`: whether it is trained; kept for the configuration, and for the order of weights in a `.h5`.
    - `seed`: of new weights and of dropout masks; None takes 64 bits from the operating system (read them as `seed`).

    Raises `ConfigError` for arguments that the dialect does not accept.

    >>> cell = LSTMCell(2, kernel_initializer="ones", recurrent_initializer="zeros", dtype="float64")
    >>> h, [h, c] = cell([[1.0, 2.0]], cell.get_initial_state(batch_size=1))
    >>> h.round(3).tolist()
    [[0.76, 0.76]]
    """

    @cached_property
    def _packed(self) -> dict[str, packing.PackedCell]:
        return {}

    def packed(self, precision: str | None = None) -> packing.PackedCell:
        """The weights as the kernels take them, for the cell's dtype or another precision; kept until they change."""
        kept = self._packed  # before the weights are read: another one takes its place after they have changed
        found = kept.get(precision or self.dtype)
        if found is not None:
            return found
        self._check_built("packed")
        if precision != "bf16":
            precision = self.dtype if precision is None else check_dtype(precision)
        if precision not in kept:
            kernel, recurrent_kernel, *bias = self._weights()
            kept[precision] = packing.pack_cell(
                kernel,
                recurrent_kernel,
                bias[0] if bias else None,
                activation=self.activation,
                recurrent_activation=self.recurrent_activation,
                dialect=self.dialect,
                dtype=precision,
            )
        return kept[precision]

    def __call__(
        self,
        inputs: Any,
        states: Sequence[Any],
        training: bool | None = False,
        dropout_mask: Any = None,
        recurrent_dropout_mask: Any = None,
        *,
        first_row: int = 0,
    ) -> tuple[Array, list[Array]]:
        """One step: inputs (batch, input_dim), states [h, c] (batch, units) each -> h, [h, c].

        Masks that are given, (4 or 1, batch, input_dim) and (4 or 1, batch, units) and already scaled, are used as they
        are; without, `training` draws them if there is a rate, for the rows from `first_row` on. The first call makes
        weights if there are none. Raises `ShapeError`, `DTypeError` and `ConfigError`.
        """
        if dropout_mask is None and recurrent_dropout_mask is None and not training:
            packed = self._packed.get(self.dtype)
            steps = None if packed is None or type(inputs) is not np.ndarray else packed.steps.get(inputs.shape)
            if steps is not None and type(states) in (list, tuple) and len(states) == 2:
                h, c = states
                if steps.fit(inputs, h, c):
                    h, c = steps(packed, inputs, h, c)
                    return h, [h, c]
        from numba_lstm.backends.cpu import run  # late: it loads LLVM

        x = as_float_array(inputs, "inputs", self.dtype, 2, "(batch, input_dim)")
        if not self.built:
            self.build(x.shape[1])
        self._check_width(x.shape[1])
        if not isinstance(states, Sequence | np.ndarray) or len(states) != 2:
            raise ShapeError(f"states is {shown(states)}; expected [h, c], each (batch, units)")
        h, c = (self._state(state, name, len(x)) for state, name in zip(states, ("h", "c"), strict=True))
        mask, recurrent_mask = self.masks_for_call(
            len(x),
            training,
            dropout_mask=dropout_mask,
            recurrent_dropout_mask=recurrent_dropout_mask,
            first_row=first_row,
        )
        h, c = run.step(self.packed(), x, h, c, mask, recurrent_mask)
        return h, [h, c]

    def get_initial_state(self, inputs: Any = None, batch_size: int | None = None, dtype: Any = None) -> list[Array]:
        """[h, c], zeros (batch, units); the batch is that of `inputs` or `batch_size`."""
        if inputs is not None:
            batch_size = len(inputs)
        if batch_size is None:
            raise ConfigError("get_initial_state got neither inputs nor batch_size; expected one of them")
        shape = (check_int(batch_size, "batch_size", 0, 2**32), self.units)
        dtype = self.dtype if dtype is None else check_dtype(dtype)
        return [np.zeros(shape, dtype), np.zeros(shape, dtype)]

    def reset_dropout_mask(self) -> None:
        """Let the next dropout masks be new ones."""
        self._source.reset(DROPOUT)

    def reset_recurrent_dropout_mask(self) -> None:
        """Let the next recurrent dropout masks be new ones."""
        self._source.reset(RECURRENT_DROPOUT)

    def get_dropout_mask_for_cell(
        self, inputs: Any, training: bool | None, count: int = 1
    ) -> Array | list[Array] | None:
        """The masks of inputs (batch, input_dim), as Keras gives them: one, or a list of `count`; None at rate 0.

        Without `training` they are ones. Unlike TensorFlow's, those are not kept for calls that do train.
        """
        return self._masks_like(DROPOUT, self.dropout, "dropout", inputs, training, count)

    def get_recurrent_dropout_mask_for_cell(
        self, inputs: Any, training: bool | None, count: int = 1
    ) -> Array | list[Array] | None:
        """The masks of the state h (batch, units); see `get_dropout_mask_for_cell`."""
        return self._masks_like(RECURRENT_DROPOUT, self.recurrent_dropout, "recurrent_dropout", inputs, training, count)

    def masks_for_call(
        self,
        batch: int,
        training: bool | None,
        *,
        dropout_mask: Any = None,
        recurrent_dropout_mask: Any = None,
        first_row: int = 0,
        draw: int | None = None,
        on_gpu: bool = False,
    ) -> tuple[Array | None, Array | None]:
        """The masks a call uses, (4 or 1, batch, width) each, None where nothing is dropped.

        Given masks go first; they may lie on a GPU with `on_gpu`. Drawn ones are those of the rows from `first_row` on;
        `draw` stands in for the count of resets. With implementation 2 the first mask serves all gates.
        """
        self._check_built("masks_for_call")
        if dropout_mask is None and recurrent_dropout_mask is None and not training:
            return None, None
        rates = (self.dropout, self.recurrent_dropout)
        names = ("dropout", "recurrent_dropout")
        widths = (self.input_dim or 0, self.units)
        gates = 1 if self.implementation == 2 else 4
        masks: list[Array | None] = []
        for which, given in enumerate((dropout_mask, recurrent_dropout_mask)):
            shape = (gates, batch, widths[which])
            if given is not None:
                masks.append(self._given(given, f"{names[which]}_mask", shape, on_gpu))
            elif training and drops(rates[which], self.dialect, names[which]):
                masks.append(
                    self._source.masks(
                        which,
                        rates[which],
                        batch,
                        widths[which],
                        gates=gates,
                        first_row=first_row,
                        draw=draw,
                        dtype=self.dtype,
                    )
                )
            else:
                masks.append(None)
        return masks[0], masks[1]

    def _weights_changed(self) -> None:
        self.__dict__.pop("_packed", None)

    def __getstate__(self) -> dict[str, Any]:
        """A copy packs its weights anew: packed ones are known to the kernels by address."""
        return {name: value for name, value in self.__dict__.items() if name != "_packed"}

    def _state(self, value: Any, name: str, batch: int) -> Array:
        state = as_float_array(value, f"state {name}", self.dtype)
        check_shape(state, f"state {name}", (batch, self.units), "(batch, units)")
        return state

    def _given(self, value: Any, name: str, shape: tuple[int, ...], on_gpu: bool) -> Array:
        mask = as_float_array(value, name, self.dtype, 3, "(4 or 1, batch, width)", on_gpu=on_gpu)
        if mask.shape[0] not in (1, 4) or mask.shape[1:] != shape[1:]:
            raise ShapeError(f"{name} has shape {mask.shape}; expected (4, {shape[1]}, {shape[2]}) or (1, ...)")
        return mask[:1] if shape[0] == 1 else mask

    def _masks_like(
        self, which: int, rate: float, name: str, inputs: Any, training: bool | None, count: int
    ) -> Array | list[Array] | None:
        count = check_int(count, "count", 1, 4)
        like = as_float_array(inputs, "inputs", self.dtype, 2, "(batch, width)")
        if rate == 0 or (rate >= 1 and self.dialect == "keras3"):
            return None
        if training and drops(rate, self.dialect, name):
            masks = self._source.masks(which, rate, *like.shape, gates=count, dtype=self.dtype)
        else:
            masks = np.ones((count, *like.shape), self.dtype)
        return list(masks) if count > 1 else masks[0]
