"""Inputs beside the shape that a model was made for: the axis that Keras adds or drops, and what does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numba_lstm.backends.cuda.arrays import DeviceArray
from numba_lstm.errors import Argument, Message, ShapeError
from numba_lstm.semantics.dialects import Dialect

Shape = Sequence[int | None]


def axes_to_add(shape: Shape, expected: Shape, dialect: Dialect) -> int:
    """1 where Keras adds a last axis to inputs of `shape`, -1 where it drops one of length 1, otherwise 0.

    `expected` is what the model was made for; both have the batch axis. TensorFlow 1.15 does neither.
    """
    if dialect == "tf1":
        return 0
    if len(shape) == len(expected) - 1 and len(shape) > 0 and expected[-1] == 1:
        return 1
    return -1 if len(shape) == len(expected) + 1 and shape[-1] == 1 else 0


def with_axes(x: Any, added: int) -> Any:
    """`x` with a last axis more or less, as `axes_to_add` says."""
    if added < 0:
        return x[(slice(None),) * (x.ndim - 1) + (0,)]
    if added and isinstance(x, DeviceArray):
        return x.view(x.address, (*x.shape, 1), (*x.strides, x.dtype.itemsize))
    return x[..., None] if added else x


def check_timesteps(name: str, steps: int, made_for: int | None) -> None:
    """Raise `ShapeError` unless inputs of `steps` timesteps are what a model was made for; None: any number."""
    if made_for is None or steps == made_for:
        return
    text = f"{name}: inputs have {steps} timesteps; expected {made_for}, for which the model was made"
    if steps < made_for:
        raise ShapeError(text)
    raise ShapeError(Message(f"{text}; ", Argument("window", made_for), " runs it on every window of that many"))
