"""BatchNormalization and LayerNormalization, as they are at inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from numba_lstm.checks import check_bool, check_input_dim, check_int, check_number, shown
from numba_lstm.errors import ConfigError, ShapeError
from numba_lstm.inputs import as_array
from numba_lstm.layers.base import CommonArguments, check_batch_shape
from numba_lstm.layers.call import Array, CallContext, Mask
from numba_lstm.layers.registry import register
from numba_lstm.layers.weighted import KINDS, Weighted
from numba_lstm.semantics.dialects import Dialect

_BATCH = 0


class Normalization(Weighted):
    """The common base of both: axes, epsilon, and gamma and beta, which scale and shift what was normalized."""

    def __init__(
        self,
        axis: Any,
        epsilon: float,
        center: bool,
        scale: bool,
        beta: tuple[Any, Any, Any],
        gamma: tuple[Any, Any, Any],
        common: CommonArguments,
    ) -> None:
        """beta, gamma: the initializer, the regularizer and the constraint of each."""
        super().__init__(**common)
        self.axis = _check_axes(axis)
        self.epsilon = check_number(epsilon, "epsilon")
        if self.epsilon < 0:
            raise ConfigError(f"epsilon is {shown(epsilon)}; expected zero or more")
        self.center = check_bool(center, "center")
        self.scale = check_bool(scale, "scale")
        self._shape: tuple[int, ...] = ()  # of each weight, once it is known
        self.add_rules("beta", *beta)
        self.add_rules("gamma", *gamma)

    def weight_shapes(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """gamma and beta, as long as the axis; of several axes, as their lengths are."""
        names = [name for name, wanted in (("gamma", self.scale), ("beta", self.center)) if wanted]
        return {name: (self._shape, "the lengths of axis") for name in names}

    def shape_for(self, input_shape: Sequence[int | None]) -> tuple[int, ...]:
        """The shape of each weight for inputs of `input_shape`, batch axis included. Raises `ShapeError`."""
        lengths = [input_shape[axis] for axis in self.axes(len(input_shape))]
        if None in lengths:
            raise ShapeError(
                f"{self.name}: inputs have shape {tuple(input_shape)}; expected lengths that are known along axis "
                f"{shown(self.axis)}"
            )
        return tuple(check_input_dim(length, f"{self.name}: the length of axis") for length in lengths)

    def axes(self, rank: int) -> list[int]:
        """The axes counted from the first of `rank`. Raises `ShapeError`."""
        given = self.axis if isinstance(self.axis, list) else [self.axis]
        # Keras 3 puts them in order, and writes them so.
        axes = [axis % rank if -rank <= axis < rank else -1 for axis in (sorted(given) if self.sorts_axes else given)]
        if min(axes) <= _BATCH or len(set(axes)) < len(axes):
            raise ShapeError(
                f"{self.name}: axis is {shown(self.axis)} for inputs of {rank} axes; expected one or more of 1 to "
                f"{rank - 1}, each once"
            )
        return axes

    @property
    def sorts_axes(self) -> bool:
        """Whether the axes count in ascending order, however they are given."""
        return self.dialect == "keras3"

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the weights for inputs of `input_shape`."""
        shape = check_batch_shape(input_shape, self.name)
        expected = self.shape_for(shape)
        if not self.built:
            self._shape = expected
            self.make_weights()
            self._settle(built=True)
        self._check_lengths(expected, shape)
        self._settle_axis(len(shape))

    def _fit(self, input_shape: Sequence[int | None]) -> None:
        self._shape = self.shape_for(input_shape)

    def _settle_axis(self, rank: int) -> None:
        """Write the axes as the dialect does from the first build on."""
        if isinstance(self.axis, list):
            self._settle(axis=sorted(self.axes(rank)))

    def _build_from(self, weights: Sequence[Any]) -> None:
        self._shape = as_array(weights[0], f"{self.name}: {self.weight_names()[0]}").shape

    def _check_lengths(self, lengths: tuple[int, ...], shape: Sequence[int | None]) -> None:
        if self.weight_names() and lengths != self._shape:
            raise ShapeError(
                f"{self.name}: inputs have shape {tuple(shape)}; expected {self._shape} along axis {shown(self.axis)}, "
                "the shape of the weights"
            )

    def spread(self, weight: str, rank: int, dtype: Any) -> Array:
        """A weight with `rank` axes, to be computed with inputs: as Keras reshapes it, for any order of axis."""
        shape = [1] * rank
        for axis, length in zip(self.axes(rank), self._shape, strict=True):
            shape[axis] = length
        return self._weights[weight].astype(dtype).reshape(shape)

    def common_config(self, **between: Any) -> dict[str, Any]:
        """The part of the configuration that both layers have; `between`: what stands in the middle."""
        axis = list(self.axis) if isinstance(self.axis, list) else self.axis
        config = {**super().get_config(), "axis": axis, **between}
        config |= {"epsilon": self.epsilon, "center": self.center, "scale": self.scale}
        for kind in KINDS:
            rules = self.rules_config(kind)
            # Only the weights that are trained have a regularizer and a constraint.
            config |= {key: value for key, value in rules.items() if kind == "initializer" or "moving" not in key}
        return config


def _check_axes(axis: Any) -> int | list[int]:
    if isinstance(axis, list | tuple) and axis:
        return [check_int(one, "axis", -32, 31) for one in axis]
    return check_int(axis, "axis", -32, 31)


@register
class BatchNormalization(Normalization):
    """(inputs - moving_mean) / sqrt(moving_variance + epsilon) * gamma + beta, along `axis`: (length,) each.

    That is the layer at inference, masks or not. In training Keras takes mean and variance of the batch instead, so
    that a row's result depends on its neighbours: refused, unless the layer is frozen (``trainable=False``, from
    Keras 2 on). `momentum` and `synchronized` belong to training and are kept for the configuration.
    Source: TensorFlow 1.15, Keras 2.15 and 3.15 `BatchNormalization`.

    >>> layer = BatchNormalization(epsilon=0.0)
    >>> layer.set_weights([[2.0], [1.0], [3.0], [4.0]])  # gamma, beta, moving_mean, moving_variance
    >>> layer([[5.0]]).tolist()
    [[3.0]]
    """

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        synchronized: bool = False,
        **common: Unpack[CommonArguments],
    ) -> None:
        beta = beta_initializer, beta_regularizer, beta_constraint
        gamma = gamma_initializer, gamma_regularizer, gamma_constraint
        super().__init__(axis, epsilon, center, scale, beta, gamma, common)
        if isinstance(self.axis, list) and len(self.axis) > 1:
            raise ConfigError(f"axis of BatchNormalization is {shown(axis)}; expected one axis")
        self.momentum = check_number(momentum, "momentum")
        self.synchronized = check_bool(synchronized, "synchronized")
        self.add_rules("moving_mean", moving_mean_initializer, None, None)
        self.add_rules("moving_variance", moving_variance_initializer, None, None)

    def weight_shapes(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """gamma and beta, unless they were left out, moving_mean and moving_variance: (length of axis,) each."""
        words = "(length of axis,)"
        return {**super().weight_shapes(), **dict.fromkeys(("moving_mean", "moving_variance"), (self._shape, words))}

    def _settle_axis(self, rank: int) -> None:
        if self.dialect != "keras3":
            self._settle(axis=self.axes(rank))

    def run(self, x: Array, mask: Mask | None, context: CallContext) -> Array:
        """The normalized inputs."""
        if context.training and (self.trainable or self.dialect == "tf1"):
            remedy = "" if self.dialect == "tf1" else ", or freeze the layer: trainable=False"
            raise ConfigError(
                f"{self.name}: BatchNormalization in training takes mean and variance of the whole batch, which is not "
                f"supported; call the model without training{remedy}"
            )
        self._check_lengths(self.shape_for(x.shape), x.shape)
        # As silent about overflow and about a variance below zero as Keras.
        with np.errstate(all="ignore"):
            factor = 1.0 / np.sqrt(self.spread("moving_variance", x.ndim, np.float64) + self.epsilon)
            if self.scale:
                factor = factor * self.spread("gamma", x.ndim, np.float64)
            outputs: Array = x - self.spread("moving_mean", x.ndim, x.dtype)
            outputs *= factor.astype(x.dtype)
            if self.center:
                outputs += self.spread("beta", x.ndim, x.dtype)
        return outputs

    def get_config(self) -> dict[str, Any]:
        """The configuration as the dialect's Keras writes it."""
        config = self.common_config(momentum=self.momentum)
        if self.dialect != "keras3":
            return config
        config["synchronized"] = self.synchronized
        return {**config, "renorm": False, "renorm_clipping": None, "renorm_momentum": 0.99}

    @classmethod
    def prepare_arguments(cls, arguments: dict[str, Any], dialect: Dialect) -> None:
        """Refuse what normalizes in other ways; drop what chooses between ways that give the same."""
        for key in ("renorm", "virtual_batch_size"):
            if arguments.pop(key, None):
                raise ConfigError(f"{key} of BatchNormalization is set, which is not supported; expected it unset")
        for key in ("renorm_clipping", "renorm_momentum", "fused"):
            arguments.pop(key, None)


@register
class LayerNormalization(Normalization):
    """(inputs - mean) / sqrt(variance + epsilon) * gamma + beta, with mean and variance of each row along `axis`.

    `axis` may be several axes, which are normalized together; gamma and beta have their lengths. The sums run over the
    features in their order, in float64, and the result is rounded once.
    Source: TensorFlow 1.15, Keras 2.15 and 3.15 `LayerNormalization`.

    >>> layer = LayerNormalization(epsilon=0.0)
    >>> layer([[1.0, 3.0]]).tolist()
    [[-1.0, 1.0]]
    """

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **common: Unpack[CommonArguments],
    ) -> None:
        beta = beta_initializer, beta_regularizer, beta_constraint
        gamma = gamma_initializer, gamma_regularizer, gamma_constraint
        super().__init__(axis, epsilon, center, scale, beta, gamma, common)

    def _settle_axis(self, rank: int) -> None:
        given = self.axis if isinstance(self.axis, list) else [self.axis]
        self._settle(axis=sorted(given) if self.dialect == "keras3" else self.axes(rank))

    def run(self, x: Array, mask: Mask | None, context: CallContext) -> Array:
        """The normalized inputs."""
        from numba_lstm.backends.cpu import stateless  # late: it loads LLVM

        self._check_lengths(self.shape_for(x.shape), x.shape)
        axes = sorted(self.axes(x.ndim))
        last = list(range(x.ndim - len(axes), x.ndim))
        moved = np.moveaxis(x, axes, last)
        gamma = self._flat("gamma", x.ndim, axes, last) if self.scale else None
        beta = self._flat("beta", x.ndim, axes, last) if self.center else None
        units = int(np.prod(moved.shape[x.ndim - len(axes) :]))
        rows = moved.reshape(-1, units) if units else moved.reshape(0, 1)
        outputs = stateless.normalize_rows(rows, gamma, beta, self.epsilon).reshape(moved.shape)
        return np.ascontiguousarray(np.moveaxis(outputs, last, axes))

    def _flat(self, weight: str, rank: int, axes: list[int], last: list[int]) -> Array:
        return np.ascontiguousarray(np.moveaxis(self.spread(weight, rank, np.float64), axes, last)).reshape(-1)

    def get_config(self) -> dict[str, Any]:
        """The configuration as the dialect's Keras writes it."""
        config = self.common_config()
        return {**config, "rms_scaling": False} if self.dialect == "keras3" else config

    @classmethod
    def prepare_arguments(cls, arguments: dict[str, Any], dialect: Dialect) -> None:
        """Refuse the scaling without a mean that Keras 3 deprecated."""
        if arguments.pop("rms_scaling", None):
            raise ConfigError("rms_scaling of LayerNormalization is True, which is not supported; expected False")
