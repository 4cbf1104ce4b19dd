"""The errors this package raises on purpose.

Each message is one line that names the thing, the expected and the actual value, and the remedy. Arguments in a
message are `Argument` objects: the command, which prints it as ``Error: ...``, replaces them by its options.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self


def visible(text: str) -> str:
    r"""`text` with control, format and bidirectional characters, which a terminal obeys or hides, as escapes.

    >>> print(visible("lstm\x1b[2J\n"))
    lstm\x1b[2J\n
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode("ascii") for char in text
    )


def one_line(text: str) -> str:
    """`text` for a message: visible, and in one line."""
    return visible(" ".join(text.split()))


class Argument(NamedTuple):
    """An argument of the library named in a message, with the value to give, if any.

    >>> print(Argument("window", 24), Argument("mask"))
    window=24 mask
    """

    name: str
    value: Any = None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}={self.value!r}"


class Message(str):
    """A text that names arguments: an ordinary string, with `parts` for callers that use other names for them.

    >>> message = Message("y.npy exists; ", Argument("force", True), " replaces it")
    >>> print(message, message.parts[1].name, sep="; ")
    y.npy exists; force=True replaces it; force
    """

    parts: tuple[str | Argument, ...]

    def __new__(cls, *parts: str | Argument) -> Self:
        """The text of all parts; a message among them contributes its own parts."""
        flat = [inner for part in parts for inner in (part.parts if isinstance(part, Message) else (part,))]
        self = super().__new__(cls, "".join(map(str, flat)))
        self.parts = tuple(flat)
        return self


class NumbaLSTMError(Exception):
    """Base class: everything numba_lstm raises on purpose."""

    def __str__(self) -> str:
        return one_line(super().__str__())  # names of layers and files stand in it as they are


class ConfigError(NumbaLSTMError, ValueError):
    """An argument or a configuration that the class (or the Keras dialect) does not accept."""


class ShapeError(NumbaLSTMError, ValueError):
    """An array whose rank or shape does not fit."""


class DTypeError(NumbaLSTMError, TypeError):
    """An array whose element type cannot be used."""


class FileFormatError(NumbaLSTMError, ValueError):
    """A file that cannot be read, or must not be, in the expected format."""


class OutputExistsError(NumbaLSTMError, FileExistsError):
    """An output exists and was not to be replaced."""


class NonFiniteError(NumbaLSTMError, ValueError):
    """A NaN in data that was required to have none."""


class DeviceError(NumbaLSTMError, RuntimeError):
    """A device or precision that this machine or this version lacks."""


class DeviceMemoryError(DeviceError):
    """A GPU's memory is too small for the request."""


class MissingPackageError(NumbaLSTMError, ImportError):
    """An optional package is needed for this and is not installed."""
