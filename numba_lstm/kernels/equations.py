"""The LSTM update, once, over numbers of any kind: scalars, SIMD vectors, CUDA threads, user code.

Hochreiter and Schmidhuber, Long Short-Term Memory, Neural Computation 9(8), 1997, with the forget gate of Gers,
Schmidhuber and Cummins, Learning to Forget, Neural Computation 12(10), 2000, as in Keras 2.15's LSTMCell.call:

    z_g = x @ kernel[:, g] + bias[g] + h @ recurrent_kernel[:, g]       for the gates g = i, f, c, o
    i, f, o = recurrent_activation(z_i, z_f, z_o)      candidate = activation(z_c)
    c' = f * c + i * candidate
    h' = o * activation(c')

``update`` is all of it where the activations are functions of one number. ``carry`` and ``output`` take gates that are
activated already, as an activation over a whole row of units demands; ``carry_and_gate`` is the half before c' is
activated, for callers that make two passes over their units.
"""

from __future__ import annotations

from typing import Any

from numba_lstm.kernels.jit import njit_helper, njit_inline
from numba_lstm.kernels.ops import fma


@njit_helper
def carry(i: Any, f: Any, candidate: Any, c: Any) -> Any:
    """c' = f * c + i * candidate; the second product is rounded, the first is not."""
    return fma(f, c, i * candidate)


@njit_helper
def output(o: Any, activated_carry: Any) -> Any:
    """h' = o * activation(c')"""
    return o * activated_carry


@njit_inline
def carry_and_gate(
    z_i: Any, z_f: Any, z_c: Any, z_o: Any, c: Any, activation: Any, recurrent_activation: Any
) -> tuple[Any, Any]:
    """c' and the output gate o, from pre-activations; the activations are functions of one number."""
    i, f, o = recurrent_activation(z_i), recurrent_activation(z_f), recurrent_activation(z_o)
    return carry(i, f, activation(z_c), c), o


@njit_inline
def update(
    z_i: Any, z_f: Any, z_c: Any, z_o: Any, c: Any, activation: Any, recurrent_activation: Any
) -> tuple[Any, Any]:
    """c' and h', from pre-activations; the activations are functions of one number."""
    new_c, o = carry_and_gate(z_i, z_f, z_c, z_o, c, activation, recurrent_activation)
    return new_c, output(o, activation(new_c))
