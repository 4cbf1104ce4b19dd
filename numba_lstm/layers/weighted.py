"""Layers that hold weights of their own, each with an initializer, a regularizer and a constraint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from numba_lstm.inputs import as_float_array, check_shape, own_array
from numba_lstm.layers.base import CommonArguments, check_weight_count, not_built
from numba_lstm.layers.call import Array
from numba_lstm.layers.layer import Layer
from numba_lstm.semantics.config import deserialize_object, serialize_object
from numba_lstm.semantics.initializers import GlorotUniform, Initializer
from numba_lstm.semantics.names import Kind
from numba_lstm.semantics.sizes import NewWeight, check_weight

# What belongs to each weight, in the order of a configuration.
KINDS: tuple[Kind, ...] = ("initializer", "regularizer", "constraint")


class Weighted(Layer):
    """A layer whose weights have names; `add_rules` says how each is made, `make_weights` makes them."""

    def __init__(self, **common: Unpack[CommonArguments]) -> None:
        super().__init__(**common)
        self._rules: dict[str, dict[str, Any]] = {}
        self._weights: dict[str, Array] = {}
        self._seed: tuple[int, int] | None = None

    def add_rules(self, weight: str, initializer: Any, regularizer: Any, constraint: Any) -> None:
        """How the weight is made, penalised and projected; names, configurations or objects."""
        self._rules[weight] = {
            "initializer": deserialize_object(initializer, self.dialect, "initializer", f"{weight}_initializer"),
            "regularizer": deserialize_object(regularizer, self.dialect, "regularizer", f"{weight}_regularizer"),
            "constraint": deserialize_object(constraint, self.dialect, "constraint", f"{weight}_constraint"),
        }

    def weight_shapes(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Each weight's shape, and what its axes are; known once `build` has seen the inputs."""
        raise NotImplementedError

    def new_weights(self, input_shape: Sequence[int | None]) -> list[NewWeight]:
        """All weights, until they are made."""
        if self.built:
            return []
        self._fit(input_shape)
        return [(f"{self.name}: {name}", *of) for name, of in self.weight_shapes().items()]

    def _fit(self, input_shape: Sequence[int | None]) -> None:
        """Find out from the shape of the inputs what `weight_shapes` depends on."""

    def make_weights(self) -> None:
        """Draw the weights from their initializers."""
        for index, (name, (shape, words)) in enumerate(self.weight_shapes().items()):
            check_weight(f"{self.name}: {name}", shape, words, self.dtype)
            # Keras takes glorot_uniform for a weight without an initializer.
            initializer = self._rules[name]["initializer"] or GlorotUniform()
            if isinstance(initializer, Initializer):
                place = [*self._seed, index] if self._seed else None
                value = initializer(shape, self.dtype, np.random.default_rng(place))
            else:
                value = initializer(shape, self.dtype)
            self._weights[name] = self._checked(name, value, shape, words)
        self._forget_packed()

    def reseed(self, seed: int, number: int) -> int:
        """Draw the weights from `seed`, as number `number` in the model."""
        self._seed = (seed % 2**64, number)
        return number + 1

    def _checked(self, name: str, value: Any, shape: tuple[int, ...], words: str, copy: bool = True) -> Array:
        what = f"{self.name}: {name}"
        array = as_float_array(value, what, self.dtype)
        check_shape(array, what, shape, words)
        own = own_array(array, self.dtype, copy)
        # A change in place would not reach the packed weights.
        own.flags.writeable = False
        return own

    def __getattr__(self, name: str) -> Array:
        """The weights by name: read-only, and to be assigned, which takes effect at once."""
        waits = not name.startswith("_") and "_made" in self.__dict__ and name in self.weight_attributes()
        weights = self._looked_at() if waits else {}
        if name in weights:
            return np.asarray(weights[name].view())
        reason = "has no weights yet; build it first" if waits else f"has no attribute {name!r}"
        raise AttributeError(f"{type(self).__name__} {reason}")

    def _looked_at(self) -> dict[str, Array]:
        """The weights, which are made now if only the shape of the inputs was known."""
        if not self.built and self._expected is not None:
            self.build(self._expected)
        return self._weights

    def weight_attributes(self) -> list[str]:
        """All weights."""
        return self.weight_names()

    def _assign_weight(self, name: str, value: Any) -> None:
        weights = self._looked_at()
        if not self.built:
            raise not_built(self.name)
        self._weights = {**weights, name: self._checked(name, value, *self.weight_shapes()[name])}
        self._forget_packed()

    def _forget_packed(self) -> None:
        """Drop what was made from the weights."""

    def weight_names(self) -> list[str]:
        """The names of the weights."""
        return list(self.weight_shapes())

    def get_weights(self) -> list[Array]:
        """Copies of the weights, in Keras's order; none before there are weights."""
        return [weight.copy() for weight in self._looked_at().values()]

    def set_weights(self, weights: Sequence[Any], *, copy: bool = True) -> None:
        """Take over `weights`, in the order of `get_weights`; they settle the input_dim if nothing did."""
        check_weight_count(self.name, weights, self.weight_names())
        if not self.built:
            self._build_from(weights)
        new = {
            name: self._checked(name, weight, *self.weight_shapes()[name], copy)
            for name, weight in zip(self.weight_names(), weights, strict=True)
        }
        self._weights = new
        self._settle(built=True)
        self._forget_packed()

    def _build_from(self, weights: Sequence[Any]) -> None:
        """Find out from the weights what `build` finds out from the inputs."""

    @property
    def losses(self) -> list[float]:
        """The penalties of the weights that have a regularizer."""
        return [
            float(self._rules[name]["regularizer"](weight))
            for name, weight in self._looked_at().items()
            if self._rules[name]["regularizer"] is not None
        ]

    def apply_constraints(self) -> None:
        """Project the weights onto their constraints."""
        for name, weight in self._looked_at().items():
            constraint = self._rules[name]["constraint"]
            if constraint is not None:
                self._weights[name] = self._checked(name, constraint(weight), *self.weight_shapes()[name])
        self._forget_packed()

    def rules_config(self, kind: Kind) -> dict[str, Any]:
        """The part of the configuration that says the initializers, regularizers or constraints of all weights."""
        names = {weight: f"{weight}_{kind}" for weight in self._rules}
        return {name: serialize_object(self._rules[weight][kind], self.dialect, name) for weight, name in names.items()}
