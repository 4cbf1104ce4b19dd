"""The layers of a model in turn, neighbouring recurrent layers fused into one stack of cells that threads can share."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

from numba_lstm.backends.cuda.arrays import DeviceArray, in_main_memory
from numba_lstm.layers.call import Array, CallContext, Mask
from numba_lstm.layers.dense import Activation, Dense
from numba_lstm.layers.dropout import Dropout
from numba_lstm.layers.layer import Layer
from numba_lstm.layers.recurrent import Recurrent
from numba_lstm.layers.rnn import RNN, run_stack


def run_layers(
    layers: Sequence[Layer],
    x: Array,
    mask: Mask | None,
    context: CallContext,
    initial_state: Sequence[Any] | None = None,
) -> tuple[Any, list[Array]]:
    """The outputs of the last of `layers`, and the final states of all; RNN layers that follow one another run as one.

    initial_state: h, c, h, c, ... of all cells of `layers`, in the same order as the final states; or None.
    """
    outputs: Any = x
    states: list[Array] = []
    rest = layers
    while rest:
        if context.home is not None:
            outputs, mask = _where_it_is_computed(rest[0], outputs, mask, context)
        layer, stack = rest[0], _leading_stack(rest, context) if isinstance(rest[0], RNN) else []
        given = None
        if initial_state is not None:
            cells = [cell for each in stack or [layer] if isinstance(each, Recurrent) for cell in each.cells]
            given = initial_state[len(states) : len(states) + 2 * len(cells)]
        final: list[Array] = []
        if stack:
            outputs, final, mask = run_stack(stack, outputs, mask, context, given)
        else:
            next_mask = _mask_after(layer, outputs, mask, context)
            if isinstance(layer, Recurrent):
                outputs, final = layer.run_sequence(outputs, mask, context, initial_state=given)
            else:
                outputs = layer.run(outputs, mask, context)
            mask = next_mask
        states += final
        rest = rest[len(stack) or 1 :]
    last = layers[-1]
    if isinstance(last, Recurrent):
        outputs = last.returned(outputs, states[-2 * len(last.cells) :])
    return outputs, states


def _mask_after(layer: Layer, x: Array, mask: Mask | None, context: CallContext) -> Mask | None:
    after, padding = layer.mask_after(x, mask), in_main_memory(context.padding)
    if padding is None or mask is None or not layer.makes_mask:
        return after
    both: Mask = padding
    if after is not None:
        both = after & padding.reshape(padding.shape + (1,) * (after.ndim - padding.ndim))
    return both


def _where_it_is_computed(layer: Layer, x: Any, mask: Any, context: CallContext) -> tuple[Any, Any]:
    """Inputs and mask of a call that began on a GPU: there for recurrent layers, in main memory for the others."""
    if isinstance(layer, Recurrent):
        if isinstance(x, DeviceArray):
            return x, mask
        from numba_lstm.backends.cuda import copies  # late: it imports numba's CUDA

        return copies.upload(context.home, x), mask
    if isinstance(layer, Dropout) and layer.passes_on(context):
        return x, mask
    return in_main_memory(x), in_main_memory(mask)


def giving_the_last(layers: Sequence[Layer]) -> Sequence[Layer]:
    """The same layers, but so that the last timestep of their outputs is all that is made, where that can be had.

    That is so behind an `RNN` with at most `Dense` and `Activation` after it, which take each timestep by itself: then
    its sequence is not kept, nor copied from a GPU. The outputs have no axis of timesteps then.
    """
    end = len(layers)
    while end and isinstance(layers[end - 1], Dense | Activation):
        end -= 1
    layer = layers[end - 1] if end else None
    if not isinstance(layer, RNN) or not layer.return_sequences:
        return layers
    if layer.zeroes_afterwards(layer.zero_output_for_mask):
        return layers
    short = copy(layer)
    short._settle(return_sequences=False)
    return [*layers[: end - 1], short, *layers[end:]]


def _leading_stack(layers: Sequence[Layer], context: CallContext) -> list[Layer]:
    """RNN layers at the head of `layers` that hand on their sequences as they are, and the one after them, if any.

    Dropout between them that does nothing in this call stands in nobody's way.
    """
    stack: list[Layer] = []
    cells: set[int] = set()
    for layer in layers:
        if stack and isinstance(layer, Dropout) and layer.passes_on(context):
            stack.append(layer)
            continue
        # A cell that two layers share draws masks for one after the other.
        if not isinstance(layer, RNN) or not cells.isdisjoint(map(id, layer.cells)) or layer.masked_outputs:
            break
        stack.append(layer)
        cells.update(map(id, layer.cells))
        if not layer.return_sequences or layer.zeroes_afterwards(layer.zero_output_for_mask):
            break
    return stack
