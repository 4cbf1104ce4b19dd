"""The outputs of standalone Keras 2.0 to 2.3 at masked timesteps, where TensorFlow's Keras gives something else.

A layer from such a file has the rule in `masked_outputs`. "repeat", Keras 2.3: a `Bidirectional` repeats the output
before, as a single layer does. "state", Keras before 2.3 on TensorFlow: a layer gives the first of its states, which is
h of its lowest cell; at the start of a row that is the initial h. Source: Keras 2.2.4 `K.rnn` and `wrappers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from numba_lstm.backends.cuda.arrays import DeviceArray
from numba_lstm.errors import ConfigError
from numba_lstm.layers.call import Array, CallContext, Mask

if TYPE_CHECKING:
    from numba_lstm.backends.cpu.stacked import CellCall

MASKED_OUTPUTS = ("repeat", "state")


def states_for_outputs(
    name: str, x: Array, calls: Sequence[CellCall], outputs: Array, mask: Mask, context: CallContext
) -> Array:
    """The outputs of `calls`, those of masked timesteps replaced by h of the lowest cell as it was before them.

    x: (batch, timesteps, input_dim). outputs: (batch, timesteps, units) in the order of processing, or (batch, units).
    mask: (batch, timesteps). Raises `ConfigError` where Keras fails, for cells of unequal units.
    """
    from numba_lstm import driver  # late: it loads LLVM

    first = calls[0]
    skipped = ~(mask[:, ::-1] if first.go_backwards else mask)
    if not skipped.any():
        return outputs
    if isinstance(outputs, DeviceArray) or isinstance(x, DeviceArray):
        raise ConfigError(f"{name}: masked timesteps as in Keras 2.2 are not computed on a GPU; expected device='cpu'")
    units = [call.h.shape[1] for call in calls]
    if units[0] != units[-1]:
        raise ConfigError(
            f"{name}: Keras 2.2 fails for a mask and cells of {units} units, whose lowest gives the outputs of masked "
            "timesteps; expected equal units, or no mask"
        )
    lower = outputs if len(calls) == 1 else driver.sequences(x, calls[:1], context.device)[0]
    outputs = outputs.copy()
    at_start = np.logical_and.accumulate(skipped, axis=1)
    h = np.broadcast_to(first.h[:, np.newaxis], (*skipped.shape, units[0]))
    if outputs.ndim == 3:
        outputs[skipped] = lower[skipped]
        outputs[at_start] = h[at_start]
        return outputs
    ends, empty = skipped[:, -1], at_start[:, -1]
    if lower.ndim == 3:
        outputs[ends] = lower[ends, -1]
    outputs[empty] = first.h[empty]
    return outputs
