"""The layers of a model, as many at once as can run as one stack of cells, which threads can share."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

from numba_lstm.backends.cuda.arrays import DeviceArray, in_main_memory
from numba_lstm.layers.call import Array, Mask, Pass
from numba_lstm.layers.dense import Activation, Dense
from numba_lstm.layers.dropping import Dropout
from numba_lstm.layers.layer import Layer
from numba_lstm.layers.recurrent import Recurrent
from numba_lstm.layers.rnn import RNN


def run_first(
    layers: Sequence[Layer], x: Array, mask: Mask | None, going: Pass, initial_state: Sequence[Any] | None
) -> tuple[int, Any, list[Array], Mask | None]:
    """Run the first of `layers`, or several: how many, the outputs, the final states of all of these, the mask after.

    initial_state: h, c, h, c, ... of all cells of `layers`, in the same order as the final states; or None.
    """
    if going.home is not None:
        x, mask = _where_it_is_computed(layers[0], x, mask, going)
    stack = _leading_stack(layers, going) if isinstance(layers[0], RNN) else []
    if stack:
        return len(stack), *_run_stack(stack, x, mask, going, initial_state)
    layer = layers[0]
    next_mask = _mask_after(layer, x, mask, going)
    if isinstance(layer, Recurrent):
        given = None if initial_state is None else initial_state[: 2 * len(layer.cells)]
        return 1, *layer.run_sequence(x, mask, going, initial_state=given), next_mask
    return 1, layer.run(x, mask, going), [], next_mask


def _mask_after(layer: Layer, x: Array, mask: Mask | None, going: Pass) -> Mask | None:
    after, padding = layer.mask_after(x, mask), in_main_memory(going.padding)
    if padding is None or mask is None or not layer.makes_mask:
        return after
    both: Mask = padding
    if after is not None:
        both = after & padding.reshape(padding.shape + (1,) * (after.ndim - padding.ndim))
    return both


def _where_it_is_computed(layer: Layer, x: Any, mask: Any, going: Pass) -> tuple[Any, Any]:
    """Inputs and mask of a pass that began on a GPU: there for recurrent layers, in main memory for the others."""
    if isinstance(layer, Recurrent):
        if isinstance(x, DeviceArray):
            return x, mask
        from numba_lstm.backends.cuda import copies  # late: it imports numba's CUDA

        return copies.upload(going.home, x), mask
    if isinstance(layer, Dropout) and layer.passes_on(going):
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


def _leading_stack(layers: Sequence[Layer], going: Pass) -> list[Layer]:
    """RNN layers at the head of `layers` that hand on their sequences as they are, and the one after them, if any.

    Dropout between them that does nothing in this pass stands in nobody's way.
    """
    stack: list[Layer] = []
    cells: set[int] = set()
    for layer in layers:
        if stack and isinstance(layer, Dropout) and layer.passes_on(going):
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


def _run_stack(
    stack: Sequence[Layer], x: Array, mask: Mask | None, going: Pass, initial_state: Sequence[Any] | None
) -> tuple[Array, list[Array], Mask | None]:
    from numba_lstm import driver  # late: it imports numba

    layers = [layer for layer in stack if isinstance(layer, RNN)]
    time_major = layers[0].time_major
    x = x.swapaxes(0, 1) if time_major else x
    masks, parts = [], []
    calls: list[Any] = []
    for layer in stack:
        if isinstance(layer, RNN):
            part = slice(2 * len(calls), 2 * (len(calls) + len(layer.cells)))
            given = None if initial_state is None else initial_state[part]
            calls += layer.cell_calls(x.shape[0], mask, going, given)
            parts.append(part)
            masks.append(mask)
        mask = layer.mask_after(x, mask)
    outputs, states = driver.sequences(x, calls, going.device, going.final_states)
    for rnn, part, own_mask in zip(layers, parts, masks, strict=True):
        outputs = rnn.finished(outputs, states[part], own_mask, going)
    return outputs.swapaxes(0, 1) if time_major and layers[-1].return_sequences else outputs, states, mask
