"""The LSTM update, once, over numbers of any kind: scalars, SIMD vectors, CUDA threads, user code.

Hochreiter and Schmidhuber, Long Short-Term Memory, Neural Computation 9(8), 1997, with the forget gate of Gers,
Schmidhuber and Cummins, Learning to Forget, Neural Computation 12(10), 2000, as in Keras 2.15's LSTMCell.call:

    z_g = x @ kernel[:, g] + bias[g] + h @ recurrent_kernel[:, g]       for the gates g = i, f, c, o
    i, f, o = recurrent_activation(z_i, z_f, z_o)      candidate = activation(z_c)
    c' = f * c + i * candidate
    h' = o * activation(c')
"""

from __future__ import annotations

from typing import Any

from numba_lstm.kernels.jit import inner
from numba_lstm.kernels.ops import fma


@inner
def carry(i: Any, f: Any, candidate: Any, c: Any) -> Any:
    """c' = f * c + i * candidate; the second product is rounded, the first is not."""
    return fma(f, c, i * candidate)


@inner
def output(o: Any, activated_carry: Any) -> Any:
    """h' = o * activation(c')"""
    return o * activated_carry


@inner
def update(
    z_i: Any, z_f: Any, z_c: Any, z_o: Any, c: Any, activation: Any, recurrent_activation: Any
) -> tuple[Any, Any]:
    """The new c and h from pre-activations and c; the activations are functions of one number."""
    c_new = carry(recurrent_activation(z_i), recurrent_activation(z_f), activation(z_c), c)
    return c_new, output(recurrent_activation(z_o), activation(c_new))
