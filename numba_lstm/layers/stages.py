"""Layers as stages of a plan: cells, dense layers and activations, which the backend runs without the layers' help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from numba_lstm.backends.cpu import packing, policy
from numba_lstm.layers.call import Array, CallContext, dtype_of
from numba_lstm.layers.dense import Activation, Dense
from numba_lstm.layers.dropout import Dropout, SpatialDropout1D
from numba_lstm.layers.layer import Layer
from numba_lstm.layers.lstm import LSTM
from numba_lstm.layers.rnn import RNN
from numba_lstm.layers.shaping import TimeDistributed

if TYPE_CHECKING:
    from numba_lstm.backends.cpu.call_plan import CallPlan, Stage

# Those whose `run` does nothing beyond their stages; a class derived from one of them may.
_PLANNED = frozenset({RNN, LSTM, Dense, Activation, Dropout, SpatialDropout1D, TimeDistributed})


def stages_of(layer: Layer, width: int, precision: str) -> list[Stage] | None:
    """The stages of a layer in inference, for inputs of `width` features; None if it has others.

    Masks, states from earlier calls and the axes of time_major are not in them.
    """
    from numba_lstm.backends.cpu import call_plan  # late: it loads LLVM

    inner = layer.layer if isinstance(layer, TimeDistributed) else layer
    if isinstance(layer, RNN):
        cells = layer.cells
        return [
            call_plan.CellStage(
                cell.packed(precision), layer.go_backwards and i == 0, layer.return_sequences or cell is not cells[-1]
            )
            for i, cell in enumerate(cells)
        ]
    if isinstance(inner, Dense):
        return [inner.packed(dtype_of(precision))]
    if isinstance(inner, Activation):
        return [
            packing.pack_activation(
                width, activation=inner.activation, dialect=inner.dialect, dtype=dtype_of(precision)
            )
        ]
    return [] if isinstance(inner, Dropout) else None


class SmallCalls:
    """Calls of a model in inference, with inputs of one shape: plans for them, as many as threads call it at a time.

    They hold as long as no weights change: after that a call returns None, and another object has to be made.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        stages: Sequence[Sequence[Any]],
        new_plan: Callable[[], CallPlan],
        context: CallContext,
    ) -> None:
        self.dtype = context.dtype
        self._new_plan = new_plan
        self._idle: list[CallPlan] = []
        self._weights: list[tuple[Callable[[str], Any], str, Any]] = []  # where to find them, and which they were
        self._dropping: list[RNN] = []
        for layer, part in zip(layers, stages, strict=True):
            inner = layer.layer if isinstance(layer, TimeDistributed) else layer
            if isinstance(layer, RNN):
                cells = zip(layer.cells, part, strict=True)
                self._weights += [(cell.packed, context.precision, stage.cell) for cell, stage in cells]
                if any(cell.dropout or cell.recurrent_dropout for cell in layer.cells):
                    self._dropping.append(layer)
            elif isinstance(inner, Dense):
                self._weights.append((inner.packed, context.dtype, part[0]))

    def __call__(self, x: Array) -> Array | None:
        """The outputs, an array of their own, for `x` of that shape and of `dtype`; None if weights have changed."""
        for packed, precision, expected in self._weights:
            if packed(precision) is not expected:
                return None
        try:
            plan = self._idle.pop()
        except IndexError:
            plan = self._new_plan()
        outputs = plan.run(x)
        self._idle.append(plan)
        for layer in self._dropping:
            layer.renew_masks()
        return outputs


def call_small(
    known: dict[tuple[str, tuple[int, ...]], SmallCalls | None], layers: Sequence[Layer], x: Array, context: CallContext
) -> Array | None:
    """The outputs of `layers` for inputs that fit them; None where no plan is for these layers and this shape.

    known: by precision and shape, what was found out by earlier calls; it is added to. context: of a call on the CPU,
    in inference and without masks.
    """
    key = context.precision, x.shape
    if key in known:
        calls = known.get(key)
        outputs = None if calls is None else calls(x)
        if calls is None or outputs is not None:
            return outputs
    if len(known) >= policy.MOST_SHAPES:
        known.clear()
    calls = known[key] = _small_calls(layers, x.shape, context)
    return None if calls is None else calls(x)


def _small_calls(layers: Sequence[Layer], shape: tuple[int, ...], context: CallContext) -> SmallCalls | None:
    from numba_lstm import driver  # late: it loads LLVM

    last = layers[-1]
    if len(shape) != 3 or (isinstance(last, RNN) and last.return_state):
        return None
    width, stages = shape[2], []
    for layer in layers:
        inner = layer.layer if isinstance(layer, TimeDistributed) else layer
        if type(layer) not in _PLANNED or type(inner) not in _PLANNED:
            return None
        if isinstance(layer, RNN) and (layer.stateful or layer.time_major):
            return None
        part = stages_of(layer, width, context.precision)
        if part is None:
            return None
        stages.append(part)
        if part:
            width = part[-1].units
    new_plan = driver.plan([stage for part in stages for stage in part], *shape[:2]) if any(stages) else None
    return None if new_plan is None else SmallCalls(layers, stages, new_plan, context)
