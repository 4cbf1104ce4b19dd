"""What a call of a layer or a model is told, and the checks of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numba_lstm.checks import check_bool, check_int, shown
from numba_lstm.devices.choice import resolve
from numba_lstm.errors import DeviceError
from numba_lstm.inputs import as_array, as_mask

Array = NDArray[Any]
Mask = NDArray[np.bool_]

# Precisions that have a name, and what they wait for.
_OTHER_PRECISIONS = {"bf16": "bf16 kernels", "tf32": "CUDA kernels", "bf16x3": "CUDA kernels"}


@dataclass(frozen=True)
class Pass:
    """What every layer is told in one pass through a model."""

    dtype: str  # what the pass computes in, "float32" or "float64", whatever the weights are kept in
    training: bool = False
    first_row: int = 0  # where row 0 of this batch stands in the whole one: it places the rows' dropout masks
    draw: int | None = None  # which draw of the dropout masks to use; None: the layer's own, reset by its rules
    stateless: bool = False  # stateful layers neither use nor keep what they recorded
    device: str = "cpu"  # where recurrent layers are computed, "cpu" or "cuda"


def start_pass(
    dtype: str, *, training: Any, first_row: Any, device: Any, precision: Any, draw: int | None = None
) -> Pass:
    """The pass that a call asks for; `dtype` is the model's own."""
    return Pass(
        compute_dtype(precision, dtype),
        training is not None and check_bool(training, "training"),
        check_int(first_row, "first_row", 0, 2**63 - 1),
        draw,
        device=resolve(device),
    )


def compute_dtype(precision: Any, dtype: str) -> str:
    """The dtype to compute in: `precision`, or the model's own `dtype` when that is None."""
    if precision is None:
        return dtype
    if isinstance(precision, str):
        if precision in ("float32", "float64"):
            return precision
        if precision in _OTHER_PRECISIONS:
            raise DeviceError(
                f"precision is {precision!r}, which needs {_OTHER_PRECISIONS[precision]}, and this version has none; "
                "use 'float32' or 'float64'"
            )
    raise DeviceError(f"precision is {shown(precision)}; expected None, 'float32' or 'float64'")


def as_step_mask(mask: Any, name: str, shape: tuple[int, ...], words: str = "(batch, timesteps)") -> Mask | None:
    """A mask over timesteps, of `shape` or of `shape` + (1,): Keras takes both. None stays None."""
    if mask is None:
        return None
    array = as_array(mask, name)
    if array.ndim == len(shape) + 1 and array.shape[-1] == 1:
        array = array[..., 0]
    return as_mask(array, name, shape, words)
