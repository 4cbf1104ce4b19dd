"""The weights of an LSTM cell: made, set, returned, regularized and constrained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numba_lstm.checks import check_input_dim, check_int, check_seed
from numba_lstm.errors import ConfigError, ShapeError
from numba_lstm.inputs import as_float_array, check_shape, own_array
from numba_lstm.semantics.cell_config import WEIGHT_NAMES, CellConfig
from numba_lstm.semantics.dropout import MaskSource, new_seed
from numba_lstm.semantics.initializers import GlorotUniform, Initializer
from numba_lstm.semantics.sizes import NewWeight, check_weight

Array = NDArray[Any]

_SHAPE_WORDS: Mapping[str, str] = {
    "kernel": "(input_dim, 4 * units)",
    "recurrent_kernel": "(units, 4 * units)",
    "bias": "(4 * units,)",
}


class CellWeights(CellConfig):
    """The weights of `LSTMCell`: kernel (input_dim, 4*units), recurrent_kernel (units, 4*units), bias (4*units,).

    The arrays are read-only. Assigning one, or `set_weights`, replaces them: checked, cast to the dtype and copied.
    """

    kernel: Array | None
    recurrent_kernel: Array | None
    bias: Array | None

    def __getattr__(self, name: str) -> Any:
        """The weights that are not there yet: made now if the input_dim is known, otherwise None."""
        if name not in WEIGHT_NAMES:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        if self.__dict__.get("_expected") is not None and not self.built:
            self.build(self._expected or 0)
        return self.__dict__.get(name)

    def expect(self, input_dim: int | None) -> None:
        """Let weights for inputs (batch, input_dim) be made when they are first looked at, if they are not before."""
        self._expected = input_dim

    @cached_property
    def _source(self) -> MaskSource:
        return MaskSource(new_seed() if self.requested_seed is None else self.requested_seed % 2**64)

    @property
    def seed(self) -> int:
        """The seed of new weights and of dropout masks, 64 bits; the operating system's if none was given."""
        return self._source.seed

    @property
    def layer_number(self) -> int:
        """The cell's number in its model: cells of one seed draw different weights and masks by it."""
        return self._source.layer

    def reseed(self, seed: int | None = None, *, layer_number: int = 0) -> None:
        """Restart with another seed (None: from the operating system) and number, and with the first masks."""
        number = check_seed(seed)
        self._source = MaskSource(
            new_seed() if number is None else number % 2**64, check_int(layer_number, "layer_number", 0, 2**24 - 1)
        )

    @property
    def built(self) -> bool:
        """Whether there are weights."""
        return "kernel" in self.__dict__

    @property
    def input_dim(self) -> int | None:
        """The number of features the weights are for, None without weights."""
        return len(self.__dict__["kernel"]) if self.built else None

    def build(self, input_dim: int | tuple[int | None, ...]) -> None:
        """Make new weights for inputs (batch, input_dim); a shape such as (None, 3) is understood too.

        Nothing happens if there are weights for this input_dim; for another one `ShapeError` is raised.
        """
        width = check_input_dim(input_dim)
        if self.built:
            self._check_width(width)
            return
        for weight in self.new_weights(width):
            check_weight(*weight, self.dtype)
        shapes = self.weight_shapes(width)
        initializers = (self.kernel_initializer, self.recurrent_initializer, self.bias_initializer)
        self._store(
            self._initial(index, name, initializer, shape)
            for index, (name, initializer, shape) in enumerate(
                zip(self.weight_names(), initializers, shapes, strict=False)
            )
        )

    def new_weights(self, input_dim: int) -> list[NewWeight]:
        """The weights that `build` would make; none if there are weights."""
        names = [] if self.built else self.weight_names()
        shapes = self.weight_shapes(input_dim)
        return [(f"{self.name}: {name}", shape, _SHAPE_WORDS[name]) for name, shape in zip(names, shapes, strict=False)]

    def get_weights(self) -> list[Array]:
        """Copies of kernel, recurrent_kernel and, with use_bias, bias; none before there are weights."""
        return [weight.copy() for weight in self._weights()]

    def set_weights(self, weights: Iterable[Any], *, copy: bool = True) -> None:
        """Take kernel (input_dim, 4*units), recurrent_kernel (units, 4*units) and, with use_bias, bias (4*units,).

        They are cast to the cell's dtype and copied; without `copy`, arrays that fit become the cell's own. Raises
        `ShapeError` for a wrong number or shape.
        """
        names, weights = self.weight_names(), list(weights)
        if len(weights) != len(names):
            raise ShapeError(
                f"{self.name} got {len(weights)} weights; expected {len(names)}: {', '.join(names)}"
                + ("" if self.use_bias or len(weights) != 3 else "; use_bias is False")
            )
        arrays = [as_float_array(weight, name, self.dtype) for name, weight in zip(names, weights, strict=True)]
        input_dim = self.input_dim
        if input_dim is None:
            input_dim = check_input_dim(arrays[0].shape[0] if arrays[0].ndim else 0, "input_dim of kernel")
        for name, array, shape in zip(names, arrays, self.weight_shapes(input_dim), strict=True):
            check_shape(array, name, shape, _SHAPE_WORDS[name])
        self._store(arrays, copy)

    def count_params(self) -> int:
        """The number of elements of all weights. Raises `ConfigError` before there are weights."""
        self._check_built("count_params")
        return sum(weight.size for weight in self._weights())

    @property
    def losses(self) -> list[float]:
        """The penalties of the regularizers, in the order kernel, recurrent, bias; none before there are weights."""
        regularizers = (self.kernel_regularizer, self.recurrent_regularizer, self.bias_regularizer)
        losses = []
        for name, weight, regularizer in zip(self.weight_names(), self._weights(), regularizers, strict=False):
            if regularizer is not None:
                losses.append(float(_named(f"the regularizer of {name}", partial(regularizer, weight))))
        return losses

    def apply_constraints(self) -> None:
        """Project the weights by the constraints. Raises `ShapeError` where a constraint does not fit its weight."""
        self._check_built("apply_constraints")
        constraints = (self.kernel_constraint, self.recurrent_constraint, self.bias_constraint)
        projected = []
        for name, weight, constraint in zip(self.weight_names(), self._weights(), constraints, strict=False):
            if constraint is None:
                projected.append(weight)
            else:
                what = f"the constraint of {name}"
                array = as_float_array(_named(what, partial(constraint, weight)), what, self.dtype)
                check_shape(array, what, weight.shape)
                projected.append(array)
        self._store(projected)

    def _weights(self) -> list[Array]:
        return [weight for weight in (self.kernel, self.recurrent_kernel, self.bias) if weight is not None]

    def _store(self, weights: Iterable[Array], copy: bool = True) -> None:
        stored = []
        for weight in weights:
            own = own_array(weight, self.dtype, copy)
            # A change in place would not reach the packed weights: it must go through set_weights.
            own.flags.writeable = False
            stored.append(own.view())
        self._settle(**dict(zip(self.weight_names(), stored, strict=True)))
        self._weights_changed()

    def weight_attributes(self) -> tuple[str, ...]:
        """kernel, recurrent_kernel and, with use_bias, bias."""
        return tuple(self.weight_names())

    def _assign_weight(self, name: str, value: Any) -> None:
        self._check_built(f"assigning {name}")
        array = as_float_array(value, f"{self.name}: {name}", self.dtype)
        check_shape(array, f"{self.name}: {name}", getattr(self, name).shape, _SHAPE_WORDS[name])
        self._store(array if name == other else getattr(self, other) for other in self.weight_names())

    def _initial(self, index: int, name: str, initializer: Any, shape: tuple[int, ...]) -> Array:
        generator = np.random.default_rng([self.seed, self.layer_number, index])
        if initializer is None:
            initializer = GlorotUniform()  # as Keras does for a weight without initializer
        if name == "bias" and self.unit_forget_bias:
            units = self.units
            parts = [
                self._filled(name, initializer, (units,), generator),
                np.ones(units, self.dtype),
                self._filled(name, initializer, (2 * units,), generator),
            ]
            return np.concatenate(parts)
        return self._filled(name, initializer, shape, generator)

    def _filled(self, name: str, initializer: Any, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
        what = f"the initializer of {name}"
        if isinstance(initializer, Initializer):
            drawn: Array = _named(what, partial(initializer, shape, self.dtype, generator))
            return drawn
        array = as_float_array(initializer(shape, self.dtype), what, self.dtype)
        check_shape(array, what, shape)
        return array

    def _check_built(self, method: str) -> None:
        if self.kernel is None:
            raise ConfigError(f"{self.name} has no weights yet; call build(input_dim) or set_weights before {method}")

    def _check_width(self, width: int) -> None:
        if width != self.input_dim:
            raise ShapeError(
                f"inputs have {width} features; expected {self.input_dim}, the rows of {self.name}'s kernel"
            )

    def _weights_changed(self) -> None:
        """Called after the weights were replaced."""


def _named(what: str, work: Callable[[], Any]) -> Any:
    """The result of `work()`; its errors begin with `what`."""
    try:
        return work()
    except (ConfigError, ShapeError) as error:
        raise type(error)(f"{what}: {error}") from error
