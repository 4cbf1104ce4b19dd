"""The errors this package raises on purpose.

Each message is one line that names the thing, what was expected, what came and the remedy.
The command prints it as ``Error: ...`` and ends with exit code 1.
"""

from __future__ import annotations

from typing import Any, TypeVar

_E = TypeVar("_E", bound="NumbaLSTMError")


def visible(text: str) -> str:
    r"""`text` with what a terminal would obey, or not show, as escapes: control, format and bidirectional characters.

    >>> print(visible("lstm\x1b[2J\n"))
    lstm\x1b[2J\n
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode("ascii") for char in text
    )


def one_line(text: str) -> str:
    """`text` as it stands in a message: visible, and in one line."""
    return visible(" ".join(text.split()))


class NumbaLSTMError(Exception):
    """Base class: everything numba_lstm raises on purpose."""

    command_line: str | None = None  # the same as the command says it, where the message names its options

    def __str__(self) -> str:
        return one_line(super().__str__())  # names of layers and files stand in it as they are


class ConfigError(NumbaLSTMError, ValueError):
    """An argument or a configuration that the class (or the Keras dialect) does not accept."""


class ShapeError(NumbaLSTMError, ValueError):
    """An array whose rank or shape does not fit."""


class DTypeError(NumbaLSTMError, TypeError):
    """An array whose element type cannot be used."""


class FileFormatError(NumbaLSTMError, ValueError):
    """A file that cannot be read as what it should be, or must not be."""


class OutputExistsError(NumbaLSTMError, FileExistsError):
    """An output is there already and was not to be replaced."""


class NonFiniteError(NumbaLSTMError, ValueError):
    """A NaN in data that was required to have none."""


class DeviceError(NumbaLSTMError, RuntimeError):
    """A device or precision that this machine or this version lacks."""


class DeviceMemoryError(DeviceError):
    """A GPU's memory is too small for what was asked for."""


class MissingPackageError(NumbaLSTMError, ImportError):
    """An optional package is needed for this and is not installed."""


def naming_options(kind: type[_E], text: str, **options: Any) -> _E:
    """An error whose `text` names options in braces: a run's arguments for a program, in the command its options.

    The values are those to give, None where the text is about the option alone.

    >>> error = naming_options(ConfigError, "{batch_rows} helps", batch_rows=8)
    >>> print(error, error.command_line, sep="; ")
    batch_rows=8 helps; --batch-rows 8 helps
    """
    line = text
    for name, value in options.items():
        text = text.replace(f"{{{name}}}", name if value is None else f"{name}={value!r}")
        option = f"--{name.replace('_', '-')}"
        line = line.replace(f"{{{name}}}", option if value is None else f"{option} {value}")
    error = kind(text)
    error.command_line = one_line(line)
    return error
