"""The arguments of an LSTM cell: checked, read from a configuration and written to one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

from numba_lstm.checks import (
    check_bool,
    check_dialect,
    check_dtype,
    check_implementation,
    check_keys,
    check_rate,
    check_seed,
    check_units,
    shown,
)
from numba_lstm.errors import ConfigError
from numba_lstm.semantics.config import (
    cell_defaults,
    deserialize_dtype,
    detect_dialect,
    from_older_keras,
    serialize_dtype,
)
from numba_lstm.semantics.dialects import Dialect
from numba_lstm.semantics.serialization import (
    check_activation,
    deserialize_object,
    keep_foreign,
    serialize_activation,
    serialize_object,
)
from numba_lstm.semantics.settled import Settled

WEIGHT_NAMES = ("kernel", "recurrent_kernel", "bias")

# Arguments of every Keras layer that affect how TensorFlow runs it, but not its results.
_IGNORED_KEYS = ("autocast", "batch_input_shape", "build_config", "dynamic", "enable_caching_device")


class CellConfig(Settled):
    """The arguments of `LSTMCell`, as attributes; see there."""

    activation: str | Callable[..., Any]
    recurrent_activation: str | Callable[..., Any]

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "hard_sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        implementation: int = 1,
        *,
        dtype: Any = "float32",
        dialect: Dialect = "tf1",
        seed: int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        self.dialect = check_dialect(dialect)
        self.units = check_units(units)
        self.activation = check_activation(activation, "activation", dialect)
        self.recurrent_activation = check_activation(recurrent_activation, "recurrent_activation", dialect)
        self.use_bias = check_bool(use_bias, "use_bias")
        self.unit_forget_bias = check_bool(unit_forget_bias, "unit_forget_bias")
        self.kernel_initializer = deserialize_object(kernel_initializer, dialect, "initializer", "kernel_initializer")
        self.recurrent_initializer = deserialize_object(
            recurrent_initializer, dialect, "initializer", "recurrent_initializer"
        )
        self.bias_initializer = deserialize_object(bias_initializer, dialect, "initializer", "bias_initializer")
        self.kernel_regularizer = deserialize_object(kernel_regularizer, dialect, "regularizer", "kernel_regularizer")
        self.recurrent_regularizer = deserialize_object(
            recurrent_regularizer, dialect, "regularizer", "recurrent_regularizer"
        )
        self.bias_regularizer = deserialize_object(bias_regularizer, dialect, "regularizer", "bias_regularizer")
        self.kernel_constraint = deserialize_object(kernel_constraint, dialect, "constraint", "kernel_constraint")
        self.recurrent_constraint = deserialize_object(
            recurrent_constraint, dialect, "constraint", "recurrent_constraint"
        )
        self.bias_constraint = deserialize_object(bias_constraint, dialect, "constraint", "bias_constraint")
        self.dropout = check_rate(dropout, "dropout")
        self.recurrent_dropout = check_rate(recurrent_dropout, "recurrent_dropout")
        self.implementation = check_implementation(implementation)
        if self.recurrent_dropout != 0 and self.dialect != "tf1":
            self.implementation = 1  # Keras 2.15 and 3 do so; TensorFlow 1.15 keeps 2
        self.dtype = check_dtype(dtype)
        self.requested_seed = check_seed(seed)
        if name is not None and not isinstance(name, str):
            raise ConfigError(f"name is {shown(name)}; expected a string or None")
        self.name = name or "lstm_cell"
        self.trainable = check_bool(trainable, "trainable")
        # TensorFlow 1.15 writes null for a dtype that nobody asked for, until weights are there.
        self._dtype_stated = self.dtype != "float32"
        self._read_dtype: Any = None
        self._expected: int | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.units}, dialect={self.dialect!r}, name={self.name!r})"

    @property
    def state_size(self) -> list[int]:
        """[units, units]: of h and of c."""
        return [self.units, self.units]

    @property
    def output_size(self) -> int:
        """The width of the output: units."""
        return self.units

    @property
    def built(self) -> bool:
        """Whether there are weights."""
        return False

    def weight_names(self) -> list[str]:
        """The names of the weights, in Keras's order."""
        return list(WEIGHT_NAMES if self.use_bias else WEIGHT_NAMES[:2])

    def weight_shapes(self, input_dim: int) -> list[tuple[int, ...]]:
        """The shapes of the weights, in the order of `weight_names`."""
        shapes: list[tuple[int, ...]] = [(input_dim, 4 * self.units), (self.units, 4 * self.units)]
        return [*shapes, (4 * self.units,)] if self.use_bias else shapes

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, objects and functions included: `LSTMCell(**cell.arguments())` is a twin."""
        names = (*cell_defaults("tf1"), "dtype", "dialect", "name", "trainable")
        return {"units": self.units, **{key: getattr(self, key) for key in names}, "seed": self.requested_seed}

    def get_config(self) -> dict[str, Any]:
        """The configuration exactly as the cell's dialect writes it: TensorFlow 1.15, Keras 2.15 or Keras 3.15.

        Raises `ConfigError` where an argument is a function of the user's own.
        """
        parts = {
            f"{weight}_{kind}": serialize_object(getattr(self, f"{weight}_{kind}"), self.dialect, f"{weight}_{kind}")
            for kind in ("initializer", "regularizer", "constraint")
            for weight in ("kernel", "recurrent", "bias")
        }
        objects = list(parts.items())
        initializers, penalties = dict(objects[:3]), dict(objects[3:])
        keras3 = self.dialect == "keras3"
        forget = {"unit_forget_bias": self.unit_forget_bias}
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": self._written_dtype(),
            "units": self.units,
            "activation": serialize_activation(self.activation, "activation"),
            "recurrent_activation": serialize_activation(self.recurrent_activation, "recurrent_activation"),
            "use_bias": self.use_bias,
            **({**forget, **initializers} if keras3 else {**initializers, **forget}),
            **penalties,
            "dropout": self.dropout,
            "recurrent_dropout": self.recurrent_dropout,
            **({"seed": self.requested_seed} if keras3 else {"implementation": self.implementation}),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], dialect: Dialect | None = None) -> Self:
        """The cell of a configuration in any dialect's format; keys that are missing have the dialect's defaults.

        Without `dialect` the format determines it; "tf1" is assumed if the format is ambiguous. Raises `ConfigError`
        for unknown keys and values that the dialect does not accept.
        """
        if not isinstance(config, Mapping):
            raise ConfigError(f"the configuration of LSTMCell is {shown(config)}; expected a mapping of its arguments")
        dialect = check_dialect(dialect or detect_dialect(config) or "tf1")
        defaults = cell_defaults(dialect)
        own = ("seed",) if dialect == "keras3" else ()
        check_keys(config, "LSTMCell", ("name", "trainable", "dtype", "units", *defaults, *own, *_IGNORED_KEYS))
        if "units" not in config:
            raise ConfigError("the configuration of LSTMCell lacks units; expected the number of them")
        given = {key: config[key] for key in ("units", "name", "trainable", *defaults, *own) if key in config}
        arguments = keep_foreign(from_older_keras({**defaults, **given}))
        cell = cls(**arguments, dtype=deserialize_dtype(config.get("dtype")), dialect=dialect)
        cell.keep_dtype(config.get("dtype"))
        return cell

    def keep_dtype(self, written: Any) -> None:
        """Write the dtype as in the configuration `written`, since a dtype has several spellings."""
        self._read_dtype, self._dtype_stated = written, written is not None

    def keep_settings(self, other: CellConfig) -> None:
        """Take over what `arguments` does not have: how the dtype of `other` is written."""
        self._read_dtype, self._dtype_stated = other._read_dtype, other._dtype_stated

    def _written_dtype(self) -> str | dict[str, Any] | None:
        if self._read_dtype is not None and deserialize_dtype(self._read_dtype) == self.dtype:
            return dict(self._read_dtype) if isinstance(self._read_dtype, Mapping) else self._read_dtype
        if self.dialect == "tf1" and not self._dtype_stated and not self.built and self._expected is None:
            return None
        return serialize_dtype(self.dtype, self.dialect)
