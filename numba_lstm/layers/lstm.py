"""LSTM: the layer that brings its own cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Unpack

from numba_lstm.cell import LSTMCell
from numba_lstm.errors import ConfigError
from numba_lstm.layers.base import CommonArguments
from numba_lstm.layers.call import CallContext
from numba_lstm.layers.registry import register
from numba_lstm.layers.rnn import RNN
from numba_lstm.semantics.config import cell_defaults, deserialize_object, serialize_object
from numba_lstm.semantics.dialects import Dialect

Activation = str | Callable[..., Any] | None


def _of_the_cell(name: str) -> property:
    """An attribute of the cell, which Keras gives to the layer too."""
    return property(lambda layer: getattr(layer.cells[0], name), doc=f"`{name}` of the cell.")


@register
class LSTM(RNN):
    """`RNN` over an `LSTMCell` that it makes itself; the arguments are those of both.

    The defaults are those of `tf.compat.v1.keras.layers.LSTM` in every dialect. Each call draws new dropout masks.
    The penalty of `activity_regularizer` belongs to training: it is kept for the configuration only.
    Source: TensorFlow 1.15, Keras 2.15 and 3.15 `LSTM`.

    >>> import numpy as np
    >>> layer = LSTM(4, return_sequences=True, return_state=True, seed=1)
    >>> outputs, h, c = layer(np.ones((2, 7, 3)), mask=[[True] * 7, [True] * 5 + [False] * 2])
    >>> outputs.shape, h.shape, bool((outputs[1, 4] == outputs[1, 6]).all())
    ((2, 7, 4), (2, 4), True)
    """

    def __init__(
        self,
        units: int,
        activation: Activation = "tanh",
        recurrent_activation: Activation = "hard_sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        implementation: int = 1,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        time_major: bool = False,
        zero_output_for_mask: bool = False,
        seed: Any = None,
        **common: Unpack[CommonArguments],
    ) -> None:
        cell = LSTMCell(
            units,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            unit_forget_bias=unit_forget_bias,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            implementation=implementation,
            dtype=common.get("dtype", "float32"),
            dialect=common.get("dialect", "tf1"),
            seed=seed,
        )
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            time_major=time_major,
            zero_output_for_mask=zero_output_for_mask,
            **common,
        )
        self.activity_regularizer = deserialize_object(
            activity_regularizer, self.dialect, "regularizer", "activity_regularizer"
        )

    units = _of_the_cell("units")
    activation = _of_the_cell("activation")
    recurrent_activation = _of_the_cell("recurrent_activation")
    use_bias = _of_the_cell("use_bias")
    kernel_initializer = _of_the_cell("kernel_initializer")
    recurrent_initializer = _of_the_cell("recurrent_initializer")
    bias_initializer = _of_the_cell("bias_initializer")
    unit_forget_bias = _of_the_cell("unit_forget_bias")
    kernel_regularizer = _of_the_cell("kernel_regularizer")
    recurrent_regularizer = _of_the_cell("recurrent_regularizer")
    bias_regularizer = _of_the_cell("bias_regularizer")
    kernel_constraint = _of_the_cell("kernel_constraint")
    recurrent_constraint = _of_the_cell("recurrent_constraint")
    bias_constraint = _of_the_cell("bias_constraint")
    dropout = _of_the_cell("dropout")
    recurrent_dropout = _of_the_cell("recurrent_dropout")
    implementation = _of_the_cell("implementation")
    seed = _of_the_cell("seed")

    def _check_masks(self, context: CallContext, dropout_masks: Sequence[Any] | None) -> None:
        cell = self.cells[0]
        draws = context.training and cell.dropout > 0 and (dropout_masks is None or dropout_masks[0] is None)
        if self.dialect == "keras3" and draws and cell.implementation == 1 and not cell.recurrent_dropout:
            raise ConfigError(
                f"{self.name}: LSTM(dropout={cell.dropout}, implementation=1) fails in Keras 3 when training=True; "
                "use implementation=2, or RNN over an LSTMCell"
            )

    def _renews_masks(self) -> bool:
        return True

    def get_config(self) -> dict[str, Any]:
        """The configuration as the dialect's Keras writes it."""
        config = super().get_config()
        own = config.pop("cell")["config"]
        cell = {key: value for key, value in own.items() if key not in ("name", "trainable", "dtype")}
        regularizer = serialize_object(self.activity_regularizer, self.dialect, "activity_regularizer")
        return {**config, **cell, "activity_regularizer": regularizer}

    @classmethod
    def prepare_arguments(cls, arguments: dict[str, Any], dialect: Dialect) -> None:
        """Fill in the defaults of the dialect's own class."""
        for key, value in cell_defaults(dialect).items():
            arguments.setdefault(key, value)
