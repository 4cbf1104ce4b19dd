"""The context of a call of a layer or a model, and the checks of its arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numba_lstm.backends.cuda.selection import resolve
from numba_lstm.checks import check_bool, check_int, shown
from numba_lstm.errors import DeviceError
from numba_lstm.inputs import as_array, as_mask

if TYPE_CHECKING:
    from numba_lstm.layers.call_inputs import CallInputs

Array = NDArray[Any]
Mask = NDArray[np.bool_]

# Precisions and the dtype of the arrays that come with them; those that have a name, and what they wait for.
_DTYPES = {"float32": "float32", "float64": "float64", "bf16": "float32"}
_OTHER_PRECISIONS = {"tf32": "CUDA kernels", "bf16x3": "CUDA kernels"}


class CallContext(NamedTuple):
    """The options of one call of a model or a layer, the same for every layer in it."""

    precision: str  # what the call computes in, "float32", "float64" or "bf16", for weights of any dtype
    training: bool = False
    first_row: int = 0  # where row 0 of this batch stands in the whole one: it places the rows' dropout masks
    draw: int | None = None  # which draw of the dropout masks to use; None: the layer's own, reset by its rules
    stateless: bool = False  # stateful layers neither use nor keep what they recorded
    padding: Any = None  # a mask of the steps that are none: it holds beside the masks that layers make
    final_states: bool = True  # whether anybody wants them: otherwise they are not copied from a GPU
    device: str = "cpu"  # where recurrent layers are computed, "cpu" or "cuda"
    home: Any = None  # the backends.cuda.caller_stream.CallerStream that the inputs came on, if they lie on a GPU

    @property
    def dtype(self) -> str:
        """The dtype of arrays in this call, and of all that is not bf16: "float32" or "float64"."""
        return dtype_of(self.precision)


def start_call(
    dtype: str, adopted: CallInputs, *, training: Any, first_row: Any, precision: Any, draw: int | None = None
) -> CallContext:
    """The context of a call; `dtype` is the model's own, `adopted` what came in."""
    if adopted.home is not None:
        device = "cuda"
    else:
        on_cpu = type(adopted.device) is str and adopted.device in ("cpu", "auto")
        device = "cpu" if on_cpu else resolve(adopted.device)
    return CallContext(
        checked_precision(precision, dtype, device),
        training is not None and check_bool(training, "training"),
        check_int(first_row, "first_row", 0, 2**63 - 1),
        draw,
        device=device,
        home=adopted.home,
    )


def checked_precision(precision: Any, dtype: str, device: str = "cpu") -> str:
    """The precision to compute in: `precision`, or the model's own `dtype` when that is None; raises `DeviceError`."""
    if precision is None:
        return dtype
    if isinstance(precision, str):
        if precision == "bf16" and device != "cpu":
            raise DeviceError(f"precision is 'bf16' on device {device!r}; expected 'float32' or 'float64', or 'cpu'")
        if precision in _DTYPES:
            return precision
        if precision in _OTHER_PRECISIONS:
            raise DeviceError(
                f"precision is {precision!r}, which needs {_OTHER_PRECISIONS[precision]}, and this version has none; "
                "use 'float32', 'float64' or 'bf16'"
            )
    raise DeviceError(f"precision is {shown(precision)}; expected None, 'float32', 'float64' or 'bf16'")


def dtype_of(precision: str) -> str:
    """The dtype of inputs, states and outputs in a precision: "float32" for "bf16"."""
    return _DTYPES[precision]


def as_step_mask(mask: Any, name: str, shape: tuple[int, ...], words: str = "(batch, timesteps)") -> Mask | None:
    """A mask of the first two axes of `shape`, or more of them, or of these and one of length 1, as in Keras.

    None stays None. `words` says what the first two axes are.
    """
    if mask is None:
        return None
    array = as_array(mask, name, on_gpu=True)
    if array.ndim > 2 and array.shape[-1] == 1 and array.shape != shape[: array.ndim]:
        array = array[(slice(None),) * (array.ndim - 1) + (0,)]
    axes = shape[: max(2, array.ndim)]
    return as_mask(array, name, axes, words if len(axes) == 2 else None)
