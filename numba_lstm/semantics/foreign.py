"""User-defined initializers, regularizers and constraints in a configuration: kept as they are written, never run.

They take part in making and training weights, but not in the outputs of a model with weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from numba_lstm.checks import shown
from numba_lstm.errors import ConfigError
from numba_lstm.semantics.constraints import Constraint
from numba_lstm.semantics.initializers import Initializer
from numba_lstm.semantics.names import Kind
from numba_lstm.semantics.regularizers import Regularizer


@dataclass(frozen=True)
class Foreign:
    """A configuration's entry kept in place of a user-defined object; calling it raises `ConfigError`."""

    entry: Any = None

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: the code is not here, and would not be run."""
        raise ConfigError(
            f"{foreign_name(self.entry)} is no object of Keras and is not run; expected one of Keras's own; set the "
            "weights, or make the layer with another"
        )


class ForeignInitializer(Foreign, Initializer):
    """An initializer."""


class ForeignRegularizer(Foreign, Regularizer):
    """A regularizer."""


class ForeignConstraint(Foreign, Constraint):
    """A constraint."""


CLASSES: Mapping[Kind, type[Foreign]] = {
    "initializer": ForeignInitializer,
    "regularizer": ForeignRegularizer,
    "constraint": ForeignConstraint,
}


def foreign_name(entry: Any) -> str:
    """The name of an entry, for messages."""
    if not isinstance(entry, Mapping):
        return shown(entry)
    if entry.get("class_name") in ("__lambda__", "Lambda"):
        return "a lambda"
    name = entry.get("config") if isinstance(entry.get("config"), str) else entry.get("class_name")
    return shown(name)
