"""Checks of single arguments: each returns the normalized value, or raises `ConfigError` with one clear line."""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np

from numba_lstm.errors import ConfigError
from numba_lstm.semantics.dialects import DIALECTS, SYSTEM_NAMES, Dialect

MAX_UNITS = 65_536
MAX_INPUT_DIM = 2**28
MAX_WEIGHT_ELEMENTS = 2**31

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 60
_repr.maxlevel = 2


def shown(value: Any) -> str:
    """`value` as shown in a message: one line, shortened."""
    return " ".join(_repr.repr(value).split())


def check_dialect(value: Any, name: str = "dialect") -> Dialect:
    """One of "tf1", "keras2", "keras3"."""
    return cast(Dialect, check_choice(value, name, DIALECTS))


def check_choice(value: Any, name: str, choices: Iterable[str]) -> str:
    """A string that is one of `choices`."""
    choices = tuple(choices)
    if not isinstance(value, str) or value not in choices:
        expected = ", ".join(repr(choice) for choice in choices)
        raise ConfigError(f"{name} is {shown(value)}; expected {'one of ' if len(choices) > 1 else ''}{expected}")
    return value


def check_dtype(value: Any, name: str = "dtype") -> str:
    """ "float32" or "float64"; None, as in Keras, is "float32"."""
    if value is None:
        return "float32"
    if isinstance(value, str):
        if value in ("float32", "float64"):
            return value
    elif isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic | float)):
        dtype: np.dtype[Any] = np.dtype(value)
        if dtype.kind == "f" and dtype.itemsize in (4, 8):
            return f"float{8 * dtype.itemsize}"
    raise ConfigError(f"{name} is {shown(value)}; expected 'float32' or 'float64'")


def check_bool(value: Any, name: str) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ConfigError(f"{name} is {shown(value)}; expected True or False")
    return bool(value)


def check_int(value: Any, name: str, low: int, high: int) -> int:
    """An integer from `low` to `high`, both included; True and False are not integers here."""
    if not isinstance(value, bool | np.bool_):
        try:
            number = operator.index(value)
        except TypeError:
            pass
        else:
            if low <= number <= high:
                return number
    raise ConfigError(f"{name} is {shown(value)}; expected an integer from {low} to {high}")


def check_units(value: Any, name: str = "units") -> int:
    """A number of units, 1 to 65536: beyond that the recurrent kernel alone would take 64 GiB."""
    return check_int(value, name, 1, MAX_UNITS)


def check_input_dim(value: Any, name: str = "input_dim") -> int:
    """A number of features, given alone or as the last entry of a shape such as (None, 3)."""
    if isinstance(value, tuple | list) and value:
        value = value[-1]
    return check_int(value, name, 1, MAX_INPUT_DIM)


def check_number(value: Any, name: str) -> float:
    """A finite real number; strings, True and False are refused."""
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise ConfigError(f"{name} is {shown(value)}; expected a finite number")


def check_rate(value: Any, name: str) -> float:
    """A dropout rate, clipped to the range 0 to 1, as the Keras of every dialect does when it constructs a cell."""
    if isinstance(value, float) and math.isinf(value):
        value = math.copysign(1.0, value)
    return min(1.0, max(0.0, check_number(value, name)))


def check_implementation(value: Any, name: str = "implementation") -> int:
    """1 or 2."""
    return check_int(value, name, 1, 2)


def check_seed(value: Any, name: str = "seed") -> int | None:
    """None, or an integer of at most 64 bits; a negative one is taken modulo 2**64."""
    return None if value is None else check_int(value, name, -(2**63), 2**64 - 1)


def check_keys(config: Mapping[str, Any], name: str, known: Iterable[str]) -> None:
    """Raise unless every key of `config` is known."""
    known = tuple(known)
    for key in config:
        if key not in known:
            raise ConfigError(f"{name} has the unknown argument {shown(key)}; expected some of: {', '.join(known)}")


def unknown_name(value: Any, name: str, dialect: Dialect, tables: Mapping[Dialect, Iterable[str]]) -> ConfigError:
    """The error for a name that `dialect` does not have; it names other dialects that have it."""
    owners = [repr(other) for other in DIALECTS if other != dialect and value in tables[other]]
    elsewhere = f" (it belongs to the dialect {' and '.join(owners)})" if owners else ""
    expected = ", ".join(sorted(tables[dialect], key=str.lower))
    return ConfigError(
        f"{name} {shown(value)} is unknown in {SYSTEM_NAMES[dialect]}{elsewhere}; expected one of: {expected}"
    )
