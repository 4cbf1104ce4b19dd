"""Embedding and Masking: the layers that make masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from numba_lstm.checks import MAX_INPUT_DIM, check_bool, check_int, check_number, check_units
from numba_lstm.errors import ConfigError, DTypeError, ShapeError
from numba_lstm.inputs import as_array
from numba_lstm.layers.base import CommonArguments
from numba_lstm.layers.call import Array, CallContext, Mask
from numba_lstm.layers.layer import Layer
from numba_lstm.layers.registry import register
from numba_lstm.layers.weighted import Weighted
from numba_lstm.semantics.config import deserialize_object, is_index_dtype, serialize_object


@register
class Embedding(Weighted):
    """Rows of a table by their numbers: indices (batch, timesteps) -> (batch, timesteps, output_dim).

    The table, embeddings (input_dim, output_dim), is the only weight. With ``mask_zero`` index 0 masks its timestep. A
    mask that comes in ends here, as in Keras. Indices are integers, or floats without a fraction.
    Source: TensorFlow 1.15, Keras 2.15 and 3.15 `Embedding`.

    >>> layer = Embedding(3, 2, mask_zero=True)
    >>> layer.set_weights([[[0, 0], [1, 2], [3, 4]]])
    >>> layer([[2, 0]]).tolist(), layer.compute_mask(layer.as_inputs([[2, 0]], "float32")).tolist()
    ([[[3.0, 4.0], [0.0, 0.0]]], [[True, False]])
    """

    makes_mask = True

    def __init__(  # type: ignore[misc]  # input_dim and input_length mean something else here
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        activity_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        input_length: int | None = None,
        **common: Unpack[CommonArguments],
    ) -> None:
        if input_length is not None and common.get("dialect") != "keras3" and common.get("input_shape") is None:
            common["input_shape"] = (input_length,)
        super().__init__(**common)
        self.input_dim = check_int(input_dim, "input_dim", 1, MAX_INPUT_DIM)
        self.output_dim = check_units(output_dim, "output_dim")
        self.mask_zero = check_bool(mask_zero, "mask_zero")
        self.input_length = None if input_length is None else check_int(input_length, "input_length", 1, 2**31)
        self.add_rules("embeddings", embeddings_initializer, embeddings_regularizer, embeddings_constraint)
        self.activity_regularizer = deserialize_object(
            activity_regularizer, self.dialect, "regularizer", "activity_regularizer"
        )

    @classmethod
    def computed_dtype(cls, written: Any) -> Any:
        """None for the dtype of indices, which Keras 2.0 wrote here."""
        return None if is_index_dtype(written) else written

    @property
    def takes_indices(self) -> bool:
        """The inputs are indices."""
        return True

    def weight_shapes(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """embeddings (input_dim, output_dim)."""
        return {"embeddings": ((self.input_dim, self.output_dim), "(input_dim, output_dim)")}

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the table; it does not depend on the inputs."""
        if not self.built:
            self.make_weights()
            self._settle(built=True)

    def build_for(self, x: Array) -> None:
        """Make the table, if that is still to be done."""
        self.build(x.shape)

    def as_inputs(self, inputs: Any, dtype: str) -> Array:
        """`inputs` as indices, int64; raises where they are none, or point beyond the table."""
        name = f"{self.name}: inputs"
        array = as_array(inputs, name)
        if array.dtype.kind not in "iufb":
            raise DTypeError(f"{name} have dtype {array.dtype}; expected integers, the indices of rows of the table")
        if array.ndim == 0:
            raise ShapeError(f"{name} are one number; expected indices (batch, timesteps)")
        if array.size and not (array.min() >= 0 and array.max() < self.input_dim):
            place, value = _first(array, ~((array >= 0) & (array < self.input_dim)))
            raise ConfigError(
                f"{name} hold {value} at {place}; expected indices from 0 to {self.input_dim - 1} (input_dim is "
                f"{self.input_dim})"
            )
        indices: Array = array.astype(np.int64, copy=False)
        if array.dtype.kind == "f" and (indices != array).any():
            place, value = _first(array, indices != array)
            raise DTypeError(f"{name} hold {value} at {place}; expected whole numbers, the indices of rows")
        return indices

    def run(self, x: Array, mask: Mask | None, context: CallContext) -> Array:
        """The rows of the table."""
        table = self._weights["embeddings"].astype(context.dtype, copy=False)
        return np.asarray(table[x])

    def compute_mask(self, x: Array, mask: Mask | None = None) -> Mask | None:
        """True where the index is not 0, with `mask_zero`; None without, for any incoming mask."""
        return np.asarray(x != 0) if self.mask_zero else None

    def output_shape(self, input_shape: Sequence[int | None]) -> Any:
        """The indices' shape and output_dim."""
        return (*input_shape, self.output_dim)

    def get_config(self) -> dict[str, Any]:
        """The configuration as the dialect's Keras writes it."""
        config = {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            **self.rules_config("initializer"),
            **self.rules_config("regularizer"),
            "activity_regularizer": serialize_object(self.activity_regularizer, self.dialect, "activity_regularizer"),
            **self.rules_config("constraint"),
            "mask_zero": self.mask_zero,
        }
        if self.dialect == "keras3":
            return {**config, "quantization_config": None}
        return {**config, "input_length": self.input_length}


def _first(array: Array, bad: Mask) -> tuple[str, Any]:
    place = tuple(int(i) for i in np.argwhere(bad)[0])
    return f"index {place}" if len(place) > 1 else f"index {place[0]}", array[place]


@register
class Masking(Layer):
    """Masks the timesteps in which every feature equals `mask_value`, and sets them to zero.

    A mask that comes in ends here: the layer's own takes its place.
    Source: TensorFlow 1.15, Keras 2.15 and 3.15 `Masking`.
    """

    makes_mask = True

    def __init__(self, mask_value: float = 0.0, **common: Unpack[CommonArguments]) -> None:
        super().__init__(**common)
        self.mask_value = check_number(mask_value, "mask_value")

    def _counts(self, x: Array) -> Mask:
        return np.asarray((x != x.dtype.type(self.mask_value)).any(axis=-1))

    def run(self, x: Array, mask: Mask | None, context: CallContext) -> Array:
        """The inputs, zero where they are masked."""
        counts = self._counts(x)
        return x if counts.all() else np.where(counts[..., np.newaxis], x, x.dtype.type(0))

    def compute_mask(self, x: Array, mask: Mask | None = None) -> Mask | None:
        """True where a feature differs from `mask_value`."""
        return self._counts(x)

    def as_inputs(self, inputs: Any, dtype: str) -> Array:
        """`inputs` of rank 3 or more in `dtype`."""
        x = super().as_inputs(inputs, dtype)
        if x.ndim < 3:
            raise ShapeError(f"{self.name}: inputs have shape {x.shape}; expected (batch, timesteps, input_dim)")
        return x

    def get_config(self) -> dict[str, Any]:
        """The configuration as the dialect's Keras writes it."""
        return {**super().get_config(), "mask_value": self.mask_value}
