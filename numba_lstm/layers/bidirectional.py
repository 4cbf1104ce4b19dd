"""Bidirectional: a sequence read both ways."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Unpack

import numpy as np

from numba_lstm.backends.cuda.arrays import DeviceArray
from numba_lstm.cell import LSTMCell
from numba_lstm.checks import shown
from numba_lstm.errors import ConfigError
from numba_lstm.layers.base import CommonArguments, Shape, check_weight_count, follow
from numba_lstm.layers.call import Array, CallContext, Mask
from numba_lstm.layers.recurrent import Recurrent
from numba_lstm.layers.registry import layer_from_config, register, to_entry
from numba_lstm.layers.rnn import RNN
from numba_lstm.layers.states import flat_states
from numba_lstm.semantics.dialects import Dialect
from numba_lstm.semantics.sizes import NewWeight

_MERGE_MODES = ("concat", "sum", "mul", "ave", None)
_COMMON_OPTIONS = ("return_sequences", "return_state", "stateful", "time_major")


@register
class Bidirectional(Recurrent):
    """Run `layer` forwards and `backward_layer` backwards, and merge their outputs.

    Both are the objects that are given, with their weights; without `backward_layer` one is made from the
    configuration of `layer`, `go_backwards` turned round, with weights of its own. `merge_mode` is "concat", "sum",
    "mul", "ave" or None, which returns both outputs. The backward outputs of a sequence are turned round first, and
    masked steps give zeros in a sequence. Weights and states are those of `layer`, then those of the backward layer.
    `weights`, an argument of Keras, must be None.
    Source: TensorFlow 1.15, Keras 2.15 and 3.15 `Bidirectional`.

    >>> import numpy as np
    >>> from numba_lstm import LSTM
    >>> Bidirectional(LSTM(4, return_sequences=True))(np.ones((5, 7, 3))).shape
    (5, 7, 8)
    """

    def __init__(
        self,
        layer: RNN,
        merge_mode: str | None = "concat",
        weights: None = None,
        backward_layer: RNN | None = None,
        **common: Unpack[CommonArguments],
    ) -> None:
        if not isinstance(layer, RNN):
            raise ConfigError(f"layer of Bidirectional is {shown(layer)}; expected an LSTM or RNN layer")
        if weights is not None:
            hint = "; backward_layer is the argument after it" if isinstance(weights, Recurrent) else ""
            raise ConfigError(
                f"weights of Bidirectional is {shown(weights)}; expected None; give weights with set_weights{hint}"
            )
        follow([layer, *([backward_layer] if isinstance(backward_layer, RNN) else [])], "Bidirectional", common)
        super().__init__(**common)
        if merge_mode not in _MERGE_MODES:
            raise ConfigError(
                f"merge_mode is {shown(merge_mode)}; expected one of 'concat', 'sum', 'mul', 'ave' or None"
            )
        self.layer = layer
        self.merge_mode = merge_mode
        self._own_backward_layer = backward_layer is None
        self.backward_layer = _turned_round(layer) if backward_layer is None else backward_layer
        self._check_layers()
        self.return_sequences = layer.return_sequences
        self.return_state = layer.return_state
        self.stateful = layer.stateful
        self.time_major = layer.time_major

    def _check_layers(self) -> None:
        forward, backward = self.layer, self.backward_layer
        if not isinstance(backward, RNN) or backward is forward:
            raise ConfigError(f"backward_layer is {shown(backward)}; expected another LSTM or RNN layer, or None")
        if forward.go_backwards == backward.go_backwards:
            raise ConfigError(
                f"go_backwards is {forward.go_backwards} in both layers of Bidirectional; expected True in one of them"
            )
        for option in _COMMON_OPTIONS:
            if getattr(forward, option) != getattr(backward, option):
                raise ConfigError(
                    f"{option} is {getattr(forward, option)} in the forward layer and {getattr(backward, option)} in "
                    "the backward layer; expected the same in both"
                )
        outputs = forward.cells[-1].units, backward.cells[-1].units
        if self.merge_mode in ("sum", "mul", "ave") and outputs[0] != outputs[1]:
            raise ConfigError(
                f"merge_mode is {self.merge_mode!r} for outputs of {outputs[0]} and {outputs[1]} units; expected "
                "equal ones; use 'concat' or None"
            )

    def _parts(self) -> list[RNN]:
        return [self.layer, self.backward_layer]

    @property
    def forward_layer(self) -> RNN:
        """The same as `layer`, by the name Keras gives it."""
        return self.layer

    @property
    def cells(self) -> list[LSTMCell]:
        """The forward layer's cells, then the backward layer's."""
        return [*self.layer.cells, *self.backward_layer.cells]

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
        """The merged outputs, or both in a list; and the final states of both layers."""
        states = None
        if initial_state is not None:
            states = flat_states(initial_state, f"{self.name}: initial_state", len(self.cells))
        count = len(self.layer.cells)

        def one_direction(layer: RNN, cells: slice) -> tuple[Array, list[Array]]:
            both = slice(2 * cells.start, cells.stop and 2 * cells.stop)
            return layer.run_sequence(
                x,
                mask,
                context,
                initial_state=None if states is None else states[both],
                dropout_masks=None if dropout_masks is None else dropout_masks[cells],
                recurrent_dropout_masks=None if recurrent_dropout_masks is None else recurrent_dropout_masks[cells],
                zero_output=self.return_sequences and self.masked_outputs is None,
            )

        from numba_lstm import driver  # late: it loads LLVM

        rows = x.shape[1 if self.time_major else 0]
        # A GPU's threads are its own: the directions follow one another there.
        work = x.size // x.shape[-1] * self.layer.count_params() if context.device == "cpu" else 0
        (forward, ends), (backward, backward_ends) = driver.side_by_side(
            [
                partial(one_direction, self.layer, slice(0, count)),
                partial(one_direction, self.backward_layer, slice(count, None)),
            ],
            rows,
            work,
        )
        if self.return_sequences:
            backward = backward[(slice(None),) * (0 if self.time_major else 1) + (slice(None, None, -1),)]
        return self._merged(forward, backward), [*ends, *backward_ends]

    def _merged(self, forward: Any, backward: Any) -> Any:
        if isinstance(forward, DeviceArray) and self.merge_mode is not None:
            from numba_lstm.backends.cuda import copies  # late: it imports numba's CUDA

            return copies.merge(forward, backward, self.merge_mode)
        if self.merge_mode == "concat":
            return np.concatenate([forward, backward], axis=-1)
        # Sums and products of activations may overflow to infinity, as they do in Keras.
        with np.errstate(over="ignore", invalid="ignore"):
            if self.merge_mode == "sum":
                return forward + backward
            if self.merge_mode == "mul":
                return forward * backward
            if self.merge_mode == "ave":
                return (forward + backward) / 2
        return [forward, backward]

    def returned(self, outputs: Any, states: list[Array]) -> Any:
        """The outputs, or a list of them and of the states of both layers."""
        if not self.return_state:
            return outputs
        count = 2 * len(self.layer.cells)
        _, *forward = self.layer.returned(None, states[:count])
        _, *backward = self.backward_layer.returned(None, states[count:])
        return [*(outputs if self.merge_mode is None else [outputs]), *forward, *backward]

    def reset_states(self, states: Any = None) -> None:
        """Set the recorded states of both layers to zero, or to `states`: the forward layer's, then the backward's."""
        self._check_stateful()
        if states is None:
            self.layer.reset_states()
            self.backward_layer.reset_states()
            return
        flat = flat_states(states, f"{self.name}: states", len(self.cells))
        count = 2 * len(self.layer.cells)
        self.layer.reset_states(flat[:count])
        self.backward_layer.reset_states(flat[count:])

    def forget_states(self) -> None:
        """Begin anew from zeros, with a batch of any size."""
        self.layer.forget_states()
        self.backward_layer.forget_states()

    def compute_mask(self, x: Array, mask: Mask | None = None) -> Mask | None:
        """The mask goes on with a sequence, and ends with the last output."""
        return mask if self.return_sequences else None

    def output_shape(self, input_shape: Sequence[int | None]) -> Any:
        """The shape of the merged outputs; a list where a call returns one."""
        shapes = []
        states: list[Any] = []
        for layer in (self.layer, self.backward_layer):
            shape = layer.output_shape(input_shape)
            shapes.append(tuple(shape[0]) if self.return_state else shape)
            states += shape[1:] if self.return_state else []
        if self.merge_mode == "concat":
            shapes = [(*shapes[0][:-1], shapes[0][-1] + shapes[1][-1])]
        elif self.merge_mode is not None:
            shapes = shapes[:1]
        return shapes[0] if len(shapes) == 1 and not states else [*shapes, *states]

    def expect(self, input_shape: Shape) -> None:
        """Let the weights of both layers be made when they are first looked at."""
        super().expect(input_shape)
        for layer in self._parts():
            layer.expect(input_shape)

    def _build(self, shape: Shape) -> None:
        self.layer.build(shape)
        self.backward_layer.build(shape)

    def new_weights(self, input_shape: Sequence[int | None]) -> list[NewWeight]:
        """Those of both layers."""
        return self.layer.new_weights(input_shape) + self.backward_layer.new_weights(input_shape)

    def reseed(self, seed: int, number: int) -> int:
        """Seed both layers."""
        return self.backward_layer.reseed(seed, self.layer.reseed(seed, number))

    def weight_names(self) -> list[str]:
        """``forward/kernel`` and so on, ``backward/kernel`` and so on."""
        return [
            *(f"forward/{name}" for name in self.layer.weight_names()),
            *(f"backward/{name}" for name in self.backward_layer.weight_names()),
        ]

    def get_weights(self) -> list[Array]:
        """The forward layer's weights, then the backward layer's."""
        return [*self.layer.get_weights(), *self.backward_layer.get_weights()]

    def set_weights(self, weights: Sequence[Any], *, copy: bool = True) -> None:
        """Take over the forward layer's weights, then the backward layer's."""
        check_weight_count(self.name, weights, self.weight_names())
        count = len(self.layer.weight_names())
        self.layer.set_weights(weights[:count], copy=copy)
        self.backward_layer.set_weights(weights[count:], copy=copy)
        self._settle(built=True)

    def get_config(self) -> dict[str, Any]:
        """The configuration as the dialect's Keras writes it: Keras 3 writes both layers, renamed, the others one."""
        config = {**super().get_config(), "merge_mode": self.merge_mode}
        if self.dialect != "keras3":
            config["layer"] = to_entry(self.layer, self.dialect)
            if not self._own_backward_layer:
                config["backward_layer"] = to_entry(self.backward_layer, self.dialect)
            return config
        for key, layer in (("layer", self.layer), ("backward_layer", self.backward_layer)):
            config[key] = to_entry(layer, self.dialect)
            config[key]["config"]["zero_output_for_mask"] = self.return_sequences
        config["layer"]["config"]["name"] = "forward_" + self.layer.name.removeprefix("forward_")
        return config

    @classmethod
    def prepare_arguments(cls, arguments: dict[str, Any], dialect: Dialect) -> None:
        """Make the layers."""
        arguments["layer"] = layer_from_config(arguments.get("layer"), dialect)
        if arguments.get("backward_layer") is not None:
            arguments["backward_layer"] = layer_from_config(arguments["backward_layer"], dialect)


def _turned_round(layer: RNN) -> RNN:
    """A layer like `layer` that reads the other way and has weights of its own."""
    twin = layer.twin("backward_" + layer.name.removeprefix("forward_"))
    # Keras 3 sets go_backwards where the others turn it round, and then refuses two layers that both go backwards.
    twin._settle(go_backwards=True if layer.dialect == "keras3" else not layer.go_backwards)
    # With a seed of their own, the cells of both layers would draw the same weights and masks.
    for number, cell in enumerate(twin.cells, len(layer.cells)):
        if cell.requested_seed is not None:
            cell.reseed(cell.requested_seed, layer_number=number)
    return twin
