"""The common part of layers and stacks of cells: a name, a dtype, a dialect, weights and a configuration."""

from __future__ import annotations

import inspect
import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, TypedDict

from numba_lstm.checks import check_bool, check_dialect, check_dtype, check_keys, shown
from numba_lstm.errors import ConfigError, ShapeError
from numba_lstm.layers.call import Array
from numba_lstm.semantics import config as serialization
from numba_lstm.semantics.dialects import SYSTEM_NAMES, Dialect
from numba_lstm.semantics.settled import Settled

Shape = tuple[int | None, ...]

# Keras writes these beside the arguments of a layer; they say how it is run, not what it computes.
_SILENT_KEYS = frozenset({"autocast", "build_config", "compile_config", "enable_caching_device", "input_dtype"})
# These would change what a layer computes; where they are empty nothing is lost without them.
_EMPTY_KEYS = frozenset({"dynamic", "lora_alpha", "lora_rank", "num_constants", "quantization_config"})


class CommonArguments(TypedDict, total=False):
    """The keyword arguments that every layer takes; see `stated_shape` for those of the inputs' shape."""

    name: str | None
    dtype: str
    dialect: Dialect
    trainable: bool
    batch_input_shape: Sequence[int | None] | None
    input_shape: Sequence[int | None] | None
    batch_size: int | None
    input_dim: int | None
    input_length: int | None


class Component(Settled):
    """A part of a model that has weights and a configuration."""

    has_length: ClassVar[bool] = False  # whether input_length is among the arguments

    def __init__(
        self,
        *,
        name: str | None = None,
        dtype: str = "float32",
        dialect: Dialect = "tf1",
        trainable: bool = True,
        batch_input_shape: Sequence[int | None] | None = None,
        input_shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        input_dim: int | None = None,
        input_length: int | None = None,
    ) -> None:
        self.dialect: Dialect = check_dialect(dialect)
        if name is not None and (not isinstance(name, str) or not name):
            raise ConfigError(f"name is {shown(name)}; expected a string that is not empty, or None")
        self.is_named = name is not None
        self.name = name if name is not None else snake_case(type(self).__name__)
        self.dtype = check_dtype(dtype)
        self.trainable = check_bool(trainable, "trainable")
        if batch_input_shape is None:
            batch_input_shape = self.stated_shape(input_shape, batch_size, input_dim, input_length)
        self.batch_input_shape = None if batch_input_shape is None else check_batch_shape(batch_input_shape, self.name)
        self.built = False
        self._expected: Shape | None = None
        self._written_dtype: Any = None  # as the configuration had it: several ways of writing mean one dtype

    def stated_shape(
        self,
        input_shape: Sequence[int | None] | None,
        batch_size: int | None,
        input_dim: int | None,
        input_length: int | None,
    ) -> Sequence[int | None] | None:
        """The shape of a model's inputs as the keywords of its first layer have it, batch axis included, or None.

        `input_shape` has no batch axis. Without it `input_dim` stands for (input_dim,), and in a recurrent layer, but
        not in Keras 3, for (input_length, input_dim).
        """
        for name, value in ("batch_size", batch_size), ("input_length", input_length):
            if value is not None and (self.dialect == "keras3" or (name == "input_length" and not self.has_length)):
                raise ConfigError(
                    f"{self.name}: {type(self).__name__} has no {name} in {SYSTEM_NAMES[self.dialect]}; expected "
                    "input_shape=(...) or batch_input_shape=(batch, ...)"
                )
        if input_shape is None:
            if input_dim is None and input_length is None:
                return None
            input_shape = (input_length, input_dim) if self.has_length and self.dialect != "keras3" else (input_dim,)
        if not isinstance(input_shape, list | tuple):
            raise ShapeError(
                f"{self.name}: input_shape is {shown(input_shape)}; expected axes after the batch, such as (None, 8)"
            )
        return (batch_size, *input_shape)

    def expect(self, input_shape: Shape) -> None:
        """Let weights for inputs of `input_shape` be made when they are first looked at, if they are not before."""
        self._expected = input_shape

    def weight_names(self) -> list[str]:
        """The names of the weights, in the order of `get_weights`."""
        return []

    def get_weights(self) -> list[Array]:
        """Copies of the weights, in Keras's order; none before there are weights."""
        return []

    def set_weights(self, weights: Sequence[Any], *, copy: bool = True) -> None:
        """Take over `weights`, in the order of `get_weights`; each is checked for its shape and cast to the dtype.

        Without `copy` arrays that fit become the layer's own: nobody may write to them any more.
        """
        check_weight_count(self.name, weights, self.weight_names())

    def count_params(self) -> int:
        """How many numbers the weights hold together. Raises `ConfigError` before there are weights."""
        weights = self.get_weights()
        if self.weight_names() and not weights:
            raise not_built(self.name)
        return sum(weight.size for weight in weights)

    @property
    def losses(self) -> list[float]:
        """The penalties of the weight regularizers."""
        return []

    def apply_constraints(self) -> None:
        """Project the weights onto their constraints."""

    def get_config(self) -> dict[str, Any]:
        """The configuration as the dialect's Keras writes it."""
        config: dict[str, Any] = {"name": self.name, "trainable": self.trainable, "dtype": self.dtype_config()}
        if self.batch_input_shape is not None and self.dialect != "keras3":
            config["batch_input_shape"] = list(self.batch_input_shape)
        return config

    def dtype_config(self) -> Any:
        """The dtype as the dialect's Keras writes it. TensorFlow 1.15 writes null until the layer is built."""
        if self._written_dtype is not None and serialization.deserialize_dtype(self._written_dtype) == self.dtype:
            return self._written_dtype
        if self.dialect == "tf1" and self.dtype == "float32" and not self.built and self._expected is None:
            return None
        return serialization.serialize_dtype(self.dtype, self.dialect)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], dialect: Dialect | None = None) -> Self:
        """An object from what `get_config` of any dialect wrote; without `dialect` the format tells it."""
        dialect = choose_dialect(config, dialect)
        arguments = {key: value for key, value in config.items() if key not in _SILENT_KEYS}
        for key in _EMPTY_KEYS & arguments.keys():
            if arguments.pop(key):
                raise ConfigError(
                    f"{key} of {cls.__name__} is {shown(config[key])}, which is not supported; expected none"
                )
        written_dtype = cls.computed_dtype(arguments.pop("dtype", None))
        arguments = serialization.keep_foreign(serialization.from_older_keras(arguments))
        cls.prepare_arguments(arguments, dialect)
        check_keys(arguments, cls.__name__, cls.argument_names())
        for argument, parameter in inspect.signature(cls).parameters.items():
            if argument not in arguments and parameter.default is parameter.empty and argument != "common":
                raise ConfigError(f"the configuration of {cls.__name__} lacks {argument}; expected its value there")
        if written_dtype is not None:  # otherwise the class's own, or that of what it wraps
            arguments["dtype"] = serialization.deserialize_dtype(written_dtype)
        component = cls(**arguments, dialect=dialect)
        component._written_dtype = written_dtype
        return component

    @classmethod
    def computed_dtype(cls, written: Any) -> Any:
        """The dtype in a configuration, unless it is another than that of the computation."""
        return written

    @classmethod
    def prepare_arguments(cls, arguments: dict[str, Any], dialect: Dialect) -> None:
        """Turn the entries of a configuration into arguments of the class, in place."""

    @classmethod
    def argument_names(cls) -> list[str]:
        """The arguments that a configuration may hold."""
        names = [*inspect.signature(cls).parameters, *CommonArguments.__annotations__]
        return [name for name in dict.fromkeys(names) if name not in ("common", "dialect")]


def follow(parts: Sequence[Any], name: str, common: CommonArguments) -> None:
    """Let what wraps `parts` be of their dialect and dtype, float64 if one of them is, unless `common` says otherwise.

    Raises `ConfigError` for parts of several dialects.
    """
    dialects = list(dict.fromkeys(part.dialect for part in parts))
    if len(dialects) > 1:
        raise ConfigError(
            f"{name} has parts of the dialects {' and '.join(map(repr, dialects))}; expected one; make all of them "
            "with the same dialect="
        )
    common.setdefault("dialect", dialects[0])
    if common.get("dtype") is None:
        common["dtype"] = "float64" if any(part.dtype == "float64" for part in parts) else "float32"


def snake_case(name: str) -> str:
    """Keras's way from a class to a name: TimeDistributed -> time_distributed, LSTM -> lstm."""
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()


def check_batch_shape(shape: Any, name: str) -> Shape:
    """A shape with a batch axis: integers, or None where an axis is open. Raises `ShapeError`."""
    try:
        axes = tuple(None if axis is None else operator.index(axis) for axis in shape)
    except TypeError:
        axes = ()
    if len(axes) < 2 or any(axis is not None and axis < 0 for axis in axes):
        raise ShapeError(
            f"{name}: input_shape is {shown(shape)}; expected the batch axis and the others, such as (None, None, 8)"
        )
    return axes


def check_weight_count(name: str, weights: Sequence[Any], names: Sequence[str]) -> None:
    """Raise `ShapeError` unless there is one array for each of `names`."""
    if len(weights) != len(names):
        expected = f"{len(names)} = [{', '.join(names)}]" if names else "none"
        raise ShapeError(f"{name}: {len(weights)} arrays of weights came; expected {expected}")


def not_built(name: str) -> ConfigError:
    """The error for what needs weights that were not made yet."""
    return ConfigError(f"{name} has no weights yet; expected a built layer; call build(input_shape) or the layer first")


def choose_dialect(config: Any, dialect: Dialect | None) -> Dialect:
    """`dialect`, or the one that the format of `config` tells, or tf1."""
    if dialect is not None:
        return check_dialect(dialect)
    if not isinstance(config, Mapping):
        raise ConfigError(f"a configuration is {shown(config)}; expected a mapping")
    return serialization.detect_dialect(config) or "tf1"
