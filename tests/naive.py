"""The LSTM in plain float64 NumPy, slow and obvious: what the tests believe. It imports nothing of the package.

Gates in the order i, f, c, o; kernel (input_dim, 4 * units), recurrent_kernel (units, 4 * units), bias (4 * units,).
"""

from __future__ import annotations

import math

import numpy as np

_erf = np.vectorize(math.erf, otypes=[float])


def _where(condition, yes, no):
    with np.errstate(all="ignore"):
        return np.where(condition, yes(), no())


def _sparsemax_keras3(x):
    """Keras 3's own: tau takes the whole row's partial sums over the support, not the support's largest one."""
    z = np.sort(x, axis=-1)[..., ::-1]
    partial = np.cumsum(z, axis=-1)
    support = 1 + np.arange(1, x.shape[-1] + 1) * z > partial
    count = support.sum(axis=-1, keepdims=True)
    tau = (np.where(support, partial, 0).sum(axis=-1, keepdims=True) - 1) / count
    return np.maximum(x - tau, 0)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def sigmoid(x):
    return _where(x >= 0, lambda: 1 / (1 + np.exp(-x)), lambda: np.exp(x) / (1 + np.exp(x)))


def softplus(x):
    return np.logaddexp(x, 0)


ACTIVATIONS = {
    "celu": lambda x: _where(x > 0, lambda: x, lambda: np.expm1(x)),
    "elu": lambda x: _where(x > 0, lambda: x, lambda: np.expm1(x)),
    "exponential": np.exp,
    "gelu": lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
    "hard_shrink": lambda x: np.where(np.abs(x) <= 0.5, 0, x),
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "hard_sigmoid_keras3": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hard_silu": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "leaky_relu": lambda x: np.where(x >= 0, x, 0.2 * x),
    "linear": lambda x: x,
    "log_sigmoid": lambda x: -softplus(-x),
    "log_softmax": lambda x: np.log(softmax(x)),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "selu": lambda x: 1.0507009873554805 * _where(x > 0, lambda: x, lambda: 1.6732632423543772 * np.expm1(x)),
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "soft_shrink": lambda x: np.where(np.abs(x) <= 0.5, 0, x - np.copysign(0.5, x)),
    "softmax": softmax,
    "softplus": softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "sparse_plus": lambda x: np.where(x <= -1, 0, np.where(x < 1, (x + 1) ** 2 / 4, x)),
    "sparse_sigmoid": lambda x: np.clip((x + 1) / 2, 0, 1),
    "sparsemax": _sparsemax_keras3,
    "squareplus": lambda x: (x + np.sqrt(x * x + 4)) / 2,
    "tanh": np.tanh,
    "tanh_shrink": lambda x: x - np.tanh(x),
    "threshold": lambda x: x,
}


def cell(x, h, c, weights, activation="tanh", recurrent_activation="hard_sigmoid", mask=None, recurrent_mask=None):
    """One step. x (batch, input_dim); h, c (batch, units); mask (4, batch, input_dim) multiplies x gate by gate."""
    kernel, recurrent, *rest = (np.asarray(w, np.float64) for w in weights)
    x, h, c = (np.asarray(a, np.float64) for a in (x, h, c))
    units = h.shape[1]
    act, gate = ACTIVATIONS[activation], ACTIVATIONS[recurrent_activation]
    z = []
    for g in range(4):
        cut = slice(g * units, (g + 1) * units)
        xg = x if mask is None else x * mask[g if len(mask) == 4 else 0]
        hg = h if recurrent_mask is None else h * recurrent_mask[g if len(recurrent_mask) == 4 else 0]
        z.append(xg @ kernel[:, cut] + hg @ recurrent[:, cut] + (rest[0][cut] if rest else 0))
    c = gate(z[1]) * c + gate(z[0]) * act(z[2])
    return gate(z[3]) * act(c), c


def sequence(x, weights, h=None, c=None, step_mask=None, go_backwards=False, zero_output_for_mask=False, **options):
    """All steps. x (batch, timesteps, input_dim) -> outputs (batch, timesteps, units) as processed, h, c."""
    batch, timesteps, _ = np.shape(x)
    units = len(weights[1])
    h = np.zeros((batch, units)) if h is None else np.asarray(h, np.float64)
    c = np.zeros((batch, units)) if c is None else np.asarray(c, np.float64)
    previous, outputs = np.zeros((batch, units)), []
    for t in reversed(range(timesteps)) if go_backwards else range(timesteps):
        new_h, new_c = cell(x[:, t], h, c, weights, **options)
        on = np.ones((batch, 1), bool) if step_mask is None else np.asarray(step_mask, bool)[:, t : t + 1]
        h, c = np.where(on, new_h, h), np.where(on, new_c, c)
        previous = np.where(on, new_h, 0 if zero_output_for_mask else previous)
        outputs.append(previous)
    return np.stack(outputs, axis=1), h, c


def stacked(x, cells, step_mask=None, go_backwards=False, **options):
    """Several cells, each fed with the outputs of the one below; cells is a list of weights."""
    states = []
    for weights in cells:
        x, h, c = sequence(x, weights, step_mask=step_mask, go_backwards=go_backwards, **options)
        states += [h, c]
        if go_backwards:  # the outputs stand in the order they were processed; the mask has to follow
            step_mask, go_backwards = None if step_mask is None else np.asarray(step_mask)[:, ::-1], False
    return x, states


def bidirectional(x, forward, backward, merge_mode="concat", step_mask=None, **options):
    """Both directions, the backward outputs turned round; masked steps give zeros."""
    options = {"step_mask": step_mask, "zero_output_for_mask": True, **options}
    y, h, c = sequence(x, forward, **options)
    z, hb, cb = sequence(x, backward, go_backwards=True, **options)
    merged = merge(y, z[:, ::-1], merge_mode)
    return merged, [h, c, hb, cb]


def merge(y, z, mode):
    if mode == "concat":
        return np.concatenate([y, z], axis=-1)
    return {"sum": y + z, "mul": y * z, "ave": (y + z) / 2, None: [y, z]}[mode]


def dense(x, kernel, bias=None, activation="linear"):
    z = np.asarray(x, np.float64) @ np.asarray(kernel, np.float64)
    return ACTIVATIONS[activation](z if bias is None else z + np.asarray(bias, np.float64))


def philox(counter, key):
    """Philox4x32-10: a counter of four arrays, a key of two numbers -> (..., 4), numbers below 2**32."""
    a, b, c, d = (np.asarray(word, np.uint64) for word in counter)
    low, high = (int(word) for word in key)
    for _ in range(10):
        p, q = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, b, c, d = (
            (q // np.uint64(2**32)) ^ b ^ np.uint64(low),
            q % np.uint64(2**32),
            (p // np.uint64(2**32)) ^ d ^ np.uint64(high),
            p % np.uint64(2**32),
        )
        low, high = (low + 0x9E3779B9) % 2**32, (high + 0xBB67AE85) % 2**32
    return np.stack(np.broadcast_arrays(a, b, c, d), axis=-1)


def dropout_mask(rate, rows, width, seed, draw, layer, recurrent, gates=4, dtype="float32"):
    """The masks (gates, rows, width) that are drawn for rows, a range; the values are rounded to the dtype."""
    row, unit = np.asarray(rows)[:, None, None], np.arange(width)[None, :, None]
    masks = []
    for gate in range(gates):
        place = layer * 256 + (16 if recurrent else 0) + gate
        numbers = philox((unit // 4, row, draw, place), (seed % 2**32, seed // 2**32))[:, :, 0]
        numbers = np.take_along_axis(numbers, np.broadcast_to(unit % 4, (*numbers.shape[:2], 1)), axis=2)[:, :, 0]
        masks.append(np.where(numbers < round(rate * 2**32), 0, np.dtype(dtype).type(1 / (1 - rate))))
    return np.stack(masks).astype(np.float64)
