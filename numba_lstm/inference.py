"""`Sequential.predict`: ragged batches, sliding windows and batches cut in pieces, all through ordinary calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from numba_lstm.backends.cuda.arrays import DeviceArray, in_main_memory
from numba_lstm.checks import check_int, shown
from numba_lstm.errors import ConfigError, DTypeError, ShapeError
from numba_lstm.inputs import as_array, as_float_array
from numba_lstm.layers.call import Array, CallContext, Mask, start_call
from numba_lstm.layers.call_inputs import adopt
from numba_lstm.layers.fit import with_axes

if TYPE_CHECKING:
    from numba_lstm.model import Sequential

# Rows of windows at once: the layers after the first hold their outputs in memory, the first one sums over the inputs.
_WINDOWS_AT_ONCE = 2048


def predict(
    model: Sequential,
    x: Any,
    batch_size: int | None,
    lengths: Any,
    windows: Sequence[int] | None,
    device: str,
    precision: str | None,
) -> Any:
    """The results of `Sequential.predict`, which explains the arguments."""
    with adopt(device, model.name, x, lengths=lengths) as adopted:
        context = start_call(model.dtype, adopted, training=False, first_row=0, precision=precision)
        size = None if batch_size is None else check_int(batch_size, "batch_size", 1, 2**63 - 1)
        x, takes_indices = adopted.inputs, model.takes_indices
        array = (
            as_array(in_main_memory(x), "x") if takes_indices else as_float_array(x, "x", context.dtype, on_gpu=True)
        )
        if windows is not None:
            if lengths is not None:
                raise ConfigError("lengths and a window are both given; expected one of them")
            results = _windowed(model, array, *_checked_windows(windows), size, context)
        elif size is None and lengths is None and not model.stateful:
            results = model.forward(array, None, context)
        else:
            mask = None if lengths is None else _mask_of(model, array, in_main_memory(adopted["lengths"]))
            results = _in_pieces(model, array, mask, size, context)
        return adopted.returned(results)


def _in_pieces(model: Sequential, x: Array, mask: Mask | None, size: int | None, context: CallContext) -> Any:
    axis = 1 if model.time_major else 0
    rows = x.shape[axis] if x.ndim > axis else 0
    if model.stateful:
        if size is None and model.dialect == "tf1":
            size = model.fixed_batch  # as TensorFlow 1.15 does
        if size is not None and rows % size:
            raise ShapeError(
                f"x has {rows} rows; expected a multiple of batch_size={size}, for {model.name} is stateful: "
                "each batch goes on where the one before ended"
            )

    padded = mask is not None
    if size is None or size >= rows:
        return model.forward(x, mask, context, padded)

    def parts() -> Iterator[Any]:
        for start in range(0, rows, size):
            cut = (slice(None),) * axis + (slice(start, start + size),)
            part = None if mask is None else mask[cut]
            yield model.forward(x[cut], part, context._replace(first_row=start), padded)

    return _joined(parts(), rows, model.time_major)


def _joined(parts: Iterable[Any], rows: int, time_major: bool = False) -> Any:
    """The results of consecutive rows, `rows` in all, as one; lists of arrays entry by entry.

    Each is copied to its place at once: one copy at the end would take twice the memory, and as one call into
    NumPy it would hold up a Ctrl-C.
    """
    parts = iter(parts)
    first = next(parts)
    if _on_device(first):
        return _joined_on_device([first, *parts], time_major)
    whole, row = _room(first, rows, time_major), 0
    for part in chain([first], parts):
        row += _copy(part, whole, row, time_major)
    return whole


def _row_axis(result: Any, time_major: bool) -> int:
    return 1 if time_major and result.ndim > 2 else 0


def _room(result: Any, rows: int, time_major: bool) -> Any:
    if isinstance(result, list):
        return [_room(entry, rows, time_major) for entry in result]
    axis = _row_axis(result, time_major)
    return np.empty((*result.shape[:axis], rows, *result.shape[axis + 1 :]), result.dtype)


def _copy(part: Any, whole: Any, row: int, time_major: bool) -> int:
    """Copy a part to the rows from `row` on; their number."""
    if isinstance(part, list):
        return max(_copy(*pair, row, time_major) for pair in zip(part, whole, strict=True))
    axis = _row_axis(part, time_major)
    number: int = part.shape[axis]
    whole[(slice(None),) * axis + (slice(row, row + number),)] = part
    return number


def _on_device(result: Any) -> bool:
    return any(map(_on_device, result)) if isinstance(result, list) else isinstance(result, DeviceArray)


def _joined_on_device(parts: Sequence[Any], time_major: bool) -> Any:
    from numba_lstm.backends.cuda import copies  # late: it imports numba's CUDA

    if isinstance(parts[0], list):
        return [_joined_on_device(entries, time_major) for entries in zip(*parts, strict=True)]
    return copies.concatenate(parts, _row_axis(parts[0], time_major))


def _mask_of(model: Sequential, x: Array, lengths: Any) -> Mask:
    """The mask (batch, timesteps) of rows that count up to their lengths."""
    if x.ndim < 2:
        raise ShapeError(f"x has shape {x.shape}; expected (batch, timesteps, ...) beside lengths")
    batch, timesteps = (x.shape[1], x.shape[0]) if model.time_major else x.shape[:2]
    array = as_array(lengths, "lengths")
    if array.dtype.kind not in "iu":
        raise DTypeError(f"lengths has dtype {array.dtype}; expected integers, one per row")
    if array.shape != (batch,):
        raise ShapeError(f"lengths has shape {array.shape}; expected ({batch},) = (batch,)")
    if batch and (array.min() < 0 or array.max() > timesteps):
        row = int(np.argmax((array < 0) | (array > timesteps)))
        raise ShapeError(f"lengths is {array[row]} in row {row}; expected 0 to {timesteps}, the timesteps of x")
    mask = np.arange(timesteps) < array[:, np.newaxis]
    return mask.T if model.time_major else mask


def _checked_windows(windows: Any) -> tuple[int, int]:
    if not isinstance(windows, list | tuple) or len(windows) != 2:
        raise ConfigError(f"windows is {shown(windows)}; expected (window, stride), such as (60, 1)")
    return check_int(windows[0], "window", 1, 2**63 - 1), check_int(windows[1], "stride", 1, 2**63 - 1)


def _windowed(model: Sequential, x: Array, length: int, stride: int, size: int | None, context: CallContext) -> Any:
    record_rank = len(model.row_shape) if model.row_shape else 1 if model.takes_indices else 2
    if model.time_major or model.stateful:
        raise ConfigError(f"{model.name} has a layer with time_major or stateful set; windows expect neither")
    if x.ndim == record_rank and model.input_dim == 1 and x.shape[-1] != 1 and model.dialect != "tf1":
        x = with_axes(x, 1)
    if x.ndim not in (record_rank, record_rank + 1):
        record = "(timesteps,)" if model.takes_indices else "(timesteps, input_dim)"
        raise ShapeError(f"x has shape {x.shape}; expected one record {record} or a batch of them")
    timesteps = x.shape[x.ndim - record_rank]
    if timesteps < length:
        raise ShapeError(f"x has {timesteps} timesteps; expected {length} or more, the window")
    if x.ndim > record_rank:
        if not len(x):
            raise ShapeError("x has no records; expected one or more")
        return _joined((_lifted(_windowed(model, record, length, stride, size, context)) for record in x), len(x))
    if isinstance(x, DeviceArray):
        view: Any = x.windows(length, stride)
    else:
        view = np.moveaxis(np.lib.stride_tricks.sliding_window_view(x, length, axis=0)[::stride], -1, 1)
    return _in_pieces(model, view, None, size or _WINDOWS_AT_ONCE, context)


def _lifted(result: Any) -> Any:
    """A result with a first axis of length one; lists of arrays entry by entry."""
    if isinstance(result, list):
        return [_lifted(entry) for entry in result]
    if isinstance(result, DeviceArray):
        return result.view(result.address, (1, *result.shape), (0, *result.strides))
    return result[np.newaxis]
