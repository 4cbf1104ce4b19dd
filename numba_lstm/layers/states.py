"""The states of recurrent layers as they come and go: flat inside, h and c of one cell after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_lstm.backends.cuda.arrays import DeviceArray, in_main_memory
from numba_lstm.errors import ShapeError
from numba_lstm.inputs import as_float_array
from numba_lstm.layers.call import Array, CallContext


def flat_states(states: Any, name: str, cells: int) -> list[Any]:
    """[h, c, h, c, ...] from that or from [[h, c], [h, c], ...]; raises `ShapeError` unless there are two a cell."""
    expected = f"{name}: {{}}; expected {2 * cells} = h and c of " + ("the cell" if cells == 1 else f"{cells} cells")
    if _is_mask(states):
        raise ShapeError(expected.format("booleans came, as in a mask (batch, timesteps)") + "; give a mask as mask=")
    if not isinstance(states, list | tuple | np.ndarray) or (isinstance(states, np.ndarray) and states.ndim == 0):
        raise ShapeError(expected.format(f"states are a {type(states).__name__}"))
    flat = list(states)
    if len(flat) == cells and all(isinstance(pair, list | tuple | np.ndarray) and len(pair) == 2 for pair in flat):
        flat = [state for pair in flat for state in pair]
    if len(flat) != 2 * cells:
        raise ShapeError(expected.format(f"{len(flat)} states came"))
    return flat


def _is_mask(states: Any) -> bool:
    """Whether it is of booleans and has the two axes of a mask, where states have three or more."""
    axes, first = 0, states
    while isinstance(first, list | tuple) and first:
        axes, first = axes + 1, first[0]
    is_bool = isinstance(first, bool) or str(getattr(first, "dtype", "")).endswith("bool")
    return is_bool and axes + getattr(first, "ndim", 0) == 2


def checked_states(
    states: Any, name: str, units: Sequence[int], batch: int | None, dtype: str, on_gpu: bool = False
) -> list[Array]:
    """The states as arrays (batch, units) of `dtype`, in the flat order; `units` has one number per cell."""
    checked: list[Array] = []
    for i, state in enumerate(flat_states(states, name, len(units))):
        what = f"{name}: state {i} ({'hc'[i % 2]})"
        array = as_float_array(state, what, dtype, on_gpu=on_gpu)
        rows = batch if batch is not None else (checked[0].shape[0] if checked else array.shape[:1] and array.shape[0])
        if array.shape != (rows, units[i // 2]):
            raise ShapeError(f"{what} has shape {array.shape}; expected {(rows, units[i // 2])} = (batch, units)")
        checked.append(array)
    return checked


def zero_states(units: Sequence[int], batch: int, dtype: str) -> list[Array]:
    """States of zeros, (batch, units) each."""
    return [np.zeros((batch, n), dtype) for n in units for _ in "hc"]


def recalled(state: Any, dtype: str, context: CallContext) -> Array:
    """A recorded state, (batch, units), as this call takes it: on its GPU, or in main memory."""
    name = "a state of an earlier call"
    if context.home is None:
        return as_float_array(in_main_memory(state), name, dtype)
    if isinstance(state, DeviceArray):
        from numba_lstm.backends.cuda import ingest  # late: it imports numba's CUDA

        state = ingest.adopt(ingest.inspect(state, name), context.home)
    return as_float_array(state, name, dtype, on_gpu=True)


def read_only(state: Any) -> Any:
    """A recorded state as it is handed out: a view that refuses writing, of one in main memory."""
    if not isinstance(state, np.ndarray):
        return state
    view = state.view()
    view.flags.writeable = False
    return view


def set_to_zero(outputs: Any, mask: Any) -> None:
    """The outputs (batch, timesteps, units) of masked steps, in place."""
    if not isinstance(outputs, DeviceArray):
        outputs[~in_main_memory(mask)] = 0
        return
    from numba_lstm.backends.cuda import copies  # late: it imports numba's CUDA

    copies.fill_with_zeros(outputs, mask if isinstance(mask, DeviceArray) else copies.upload(outputs.stream, mask))


def paired(states: Sequence[Array]) -> list[list[Array]]:
    """[[h, c], [h, c], ...] from the flat order."""
    return [list(states[i : i + 2]) for i in range(0, len(states), 2)]
