"""The initializers of Keras: how new weights are drawn.

Values follow Keras's distributions; the random streams are this package's own: a seed gives the same weights in every
dialect, but not those of Keras. Source: TensorFlow 1.15 `init_ops`, Keras 2.15 and 3.15 `initializers`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from numba_lstm.checks import check_choice, check_int, check_number, check_seed, shown
from numba_lstm.errors import ConfigError

# Keras 3 may hold a seed as a serialised SeedGenerator.
Seed = int | Mapping[str, Any] | None
Axes = Sequence[int] | None

# The standard deviation of a normal distribution cut off at two standard deviations.
_TRUNCATED_STDDEV = 0.87962566103423978


@dataclass(frozen=True)
class Initializer:
    """Base of all initializers; `dtype` is only written in configurations of TensorFlow 1.15 and has no effect."""

    dtype: str = field(default="float32", kw_only=True)

    numbers: ClassVar[tuple[str, ...]] = ()  # the arguments that are numbers

    def __post_init__(self) -> None:
        for argument in self.numbers:
            check_number(getattr(self, argument), f"{argument} of {type(self).__name__}")
        seed_number(getattr(self, "seed", None), f"seed of {type(self).__name__}")
        for axes in ("input_axes", "output_axes"):
            _check_axes(getattr(self, axes, None), f"{axes} of {type(self).__name__}")

    def __call__(
        self, shape: tuple[int, ...], dtype: str = "float32", generator: np.random.Generator | None = None
    ) -> NDArray[Any]:
        """New values of `shape` and `dtype`; an own seed goes before `generator`.

        Raises `ConfigError` where the initializer cannot fill this shape.
        """
        seed = seed_number(getattr(self, "seed", None), "seed")
        if seed is not None:
            generator = np.random.default_rng(seed)
        values = self._values(shape, generator or np.random.default_rng())
        with np.errstate(over="ignore"):  # beyond float32's range is infinite, as in Keras
            return values.astype(dtype)

    def _values(self, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[Any]:
        raise NotImplementedError


@dataclass(frozen=True)
class Zeros(Initializer):
    """All zeros."""

    def _values(self, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[Any]:
        return np.zeros(shape)


@dataclass(frozen=True)
class Ones(Initializer):
    """All ones."""

    def _values(self, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[Any]:
        return np.ones(shape)


@dataclass(frozen=True, eq=False)
class Constant(Initializer):
    """One value everywhere, or an array that has the shape, broadcasts to it or has as many elements."""

    value: Any = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._array()

    def _array(self) -> NDArray[Any]:
        try:
            array = np.asarray(self.value)
        except ValueError:
            array = np.asarray(None)
        if array.dtype.kind not in "fiub":
            raise ConfigError(f"value of Constant is {shown(self.value)}; expected a number or an array of numbers")
        return array

    def _values(self, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[Any]:
        array = self._array()
        if array.size == math.prod(shape) and array.shape != shape:
            return array.reshape(shape)
        try:
            return np.broadcast_to(array, shape)
        except ValueError as error:
            raise ConfigError(
                f"value of Constant has shape {array.shape}; expected a number, {shape} or as many elements"
            ) from error


@dataclass(frozen=True)
class RandomUniform(Initializer):
    """Uniform from `minval` to `maxval`."""

    minval: float = -0.05
    maxval: float = 0.05
    seed: Seed = None

    numbers = ("minval", "maxval")

    def _values(self, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[Any]:
        return self.minval + (self.maxval - self.minval) * generator.random(shape)


@dataclass(frozen=True)
class RandomNormal(Initializer):
    """Normal with `mean` and `stddev`."""

    mean: float = 0.0
    stddev: float = 0.05
    seed: Seed = None

    numbers = ("mean", "stddev")

    def _values(self, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[Any]:
        return self.mean + self.stddev * generator.standard_normal(shape)


@dataclass(frozen=True)
class TruncatedNormal(RandomNormal):
    """Normal; values more than two `stddev` from the mean are drawn again."""

    def _values(self, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[Any]:
        values = generator.standard_normal(shape)
        outside = np.abs(values) > 2.0
        while outside.any():
            values[outside] = generator.standard_normal(int(outside.sum()))
            outside = np.abs(values) > 2.0
        return self.mean + self.stddev * values


@dataclass(frozen=True)
class VarianceScaling(Initializer):
    """Variance `scale` / n, n the `mode`: fan_in, fan_out or fan_avg; distribution normal (truncated) or uniform.

    Of a kernel (input_dim, 4*units) fan_in is input_dim and fan_out is 4*units; Keras 3 may name other axes.
    """

    scale: float = 1.0
    mode: str = "fan_in"
    distribution: str = "truncated_normal"
    seed: Seed = None
    input_axes: Axes = None
    output_axes: Axes = None

    numbers = ("scale",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale <= 0:
            raise ConfigError(f"scale of VarianceScaling is {shown(self.scale)}; expected a number above 0")
        check_choice(self.mode, "mode of VarianceScaling", ("fan_in", "fan_out", "fan_avg"))
        if isinstance(self.distribution, str):
            object.__setattr__(self, "distribution", self.distribution.lower())
        check_choice(
            self.distribution,
            "distribution of VarianceScaling",
            ("normal", "truncated_normal", "untruncated_normal", "uniform"),
        )

    def _values(self, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[Any]:
        fan_in, fan_out = self._fans(shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, n)
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return RandomUniform(-limit, limit)._values(shape, generator)
        if self.distribution == "untruncated_normal":
            return RandomNormal(0.0, math.sqrt(variance))._values(shape, generator)
        return TruncatedNormal(0.0, math.sqrt(variance) / _TRUNCATED_STDDEV)._values(shape, generator)

    def _fans(self, shape: tuple[int, ...]) -> tuple[int, int]:
        if self.input_axes is not None and self.output_axes is not None:
            try:
                return math.prod(shape[axis] for axis in self.input_axes), math.prod(
                    shape[axis] for axis in self.output_axes
                )
            except (IndexError, TypeError) as error:
                axes = shown((self.input_axes, self.output_axes))
                raise ConfigError(f"input_axes and output_axes are {axes}; expected axes of shape {shape}") from error
        if len(shape) < 2:
            n = math.prod(shape)
            return n, n
        receptive = math.prod(shape[:-2])
        return shape[-2] * receptive, shape[-1] * receptive


@dataclass(frozen=True)
class _Preset(Initializer):
    seed: Seed = None
    input_axes: Axes = None
    output_axes: Axes = None

    rule: ClassVar[tuple[float, str, str]]  # scale, mode, distribution

    def scaling(self) -> VarianceScaling:
        """The same initializer, written out."""
        return VarianceScaling(*self.rule, self.seed, self.input_axes, self.output_axes, dtype=self.dtype)

    def _values(self, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[Any]:
        return self.scaling()._values(shape, generator)


class GlorotUniform(_Preset):
    """Uniform within sqrt(6 / (fan_in + fan_out)): the default of kernels."""

    rule = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Preset):
    """Truncated normal, variance 2 / (fan_in + fan_out)."""

    rule = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_Preset):
    """Uniform within sqrt(6 / fan_in)."""

    rule = (2.0, "fan_in", "uniform")


class HeNormal(_Preset):
    """Truncated normal, variance 2 / fan_in."""

    rule = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_Preset):
    """Uniform within sqrt(3 / fan_in)."""

    rule = (1.0, "fan_in", "uniform")


class LecunNormal(_Preset):
    """Truncated normal, variance 1 / fan_in."""

    rule = (1.0, "fan_in", "truncated_normal")


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """`gain` times a matrix with orthonormal rows, or columns where it is taller than wide: the recurrent default.

    Q of the QR decomposition of a normal matrix, columns given the signs of R's diagonal, as in Keras.
    """

    gain: float = 1.0
    seed: Seed = None

    numbers = ("gain",)

    def _values(self, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[Any]:
        if len(shape) < 2:
            raise ConfigError(f"Orthogonal cannot fill the shape {shape}; expected a matrix; use another initializer")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(generator.standard_normal((max(rows, columns), min(rows, columns))))
        q *= np.where(np.diag(r) < 0, -1.0, 1.0)
        return self.gain * (q.T if rows < columns else q).reshape(shape)


@dataclass(frozen=True)
class Identity(Initializer):
    """`gain` on the diagonal, zeros elsewhere."""

    gain: float = 1.0

    numbers = ("gain",)

    def _values(self, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[Any]:
        if len(shape) != 2:
            raise ConfigError(f"Identity cannot fill the shape {shape}; expected a matrix; use another initializer")
        return self.gain * np.eye(*shape)


def _check_axes(axes: Any, name: str) -> None:
    if axes is None:
        return
    if not isinstance(axes, list | tuple):
        raise ConfigError(f"{name} is {shown(axes)}; expected None or several axes")
    for axis in axes:
        check_int(axis, name, -4, 3)


def seed_number(seed: Any, name: str) -> int | None:
    """The number in a seed, 0 to 2**64 - 1; the seed is an integer, Keras 3's serialised SeedGenerator or None."""
    if isinstance(seed, Mapping):
        config = seed.get("config")
        if seed.get("class_name") != "SeedGenerator" or not isinstance(config, Mapping):
            raise ConfigError(f"{name} is {shown(seed)}; expected None, an integer or a SeedGenerator's configuration")
        seed = config.get("seed")
    number = check_seed(seed, name)
    return None if number is None else number % 2**64


def plain_seed(seed: Seed) -> int | None:
    """A seed as TensorFlow 1.15 and Keras 2 can write it: None or an integer."""
    return seed_number(seed, "seed") if isinstance(seed, Mapping) else seed
