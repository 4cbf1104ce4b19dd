"""Objects with a fixed configuration: weights may be assigned, the configuration may not."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from numba_lstm.checks import check_bool
from numba_lstm.errors import ConfigError


class _Making(type):
    """Makes objects, and notifies them when they are complete."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__call__(*args, **kwargs)
        made.__dict__["_made"] = True
        return made

    @property
    def __signature__(cls) -> inspect.Signature:
        return _signature(cls)


class Settled(metaclass=_Making):
    """Base class of cells, layers and models: an assignment takes effect at once and everywhere, or it is refused.

    Weights (`weight_attributes`), ``trainable`` and properties with a setter may be assigned. Names that begin with an
    underscore are private to the class.
    """

    name: str
    trainable: bool

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_") or "_made" not in self.__dict__ or _has_setter(type(self), name):
            super().__setattr__(name, value)
        elif name in self.weight_attributes():
            self._assign_weight(name, value)
        elif name == "trainable":
            self._set_trainable(check_bool(value, f"{self.name}: trainable"))
        else:
            raise ConfigError(self._refusal(name))

    def __delattr__(self, name: str) -> None:
        if name.startswith("_"):
            super().__delattr__(name)
        else:
            raise ConfigError(f"{self.name}: {name} cannot be deleted")

    def weight_attributes(self) -> Iterable[str]:
        """The names of the weights that are attributes."""
        return ()

    def _assign_weight(self, name: str, value: Any) -> None:
        """Assign the weight `name`: check, cast and copy it."""
        raise NotImplementedError

    def _parts(self) -> Iterable[Settled]:
        """The cells and layers that this one is made of."""
        return ()

    def _set_trainable(self, value: bool) -> None:
        self._settle(trainable=value)
        for part in self._parts():
            part._set_trainable(value)

    def _settle(self, **values: Any) -> None:
        """Set attributes without any check: for the class itself."""
        self.__dict__.update(values)

    def _refusal(self, name: str) -> str:
        kind = type(self).__name__
        arguments = {key for cls in type(self).__mro__[:-1] for key in _signature(cls).parameters}
        if name in arguments or hasattr(type(self), name) or name in self.__dict__:
            return (
                f"{self.name}: {name} cannot be assigned, for a {kind} is settled when it is made; make another one, "
                f"such as {kind}.from_config({{**old.get_config(), ...}}), and give it the weights with set_weights"
            )
        names = [*self.weight_attributes(), "trainable"]
        inner = "".join(f"; the weights of {part.name} are its own attributes" for part in self._parts())
        return f"{self.name}: a {kind} has no {name} to assign; expected {' or '.join(names)}{inner}"


def _has_setter(cls: type, name: str) -> bool:
    own = getattr(cls, name, None)
    return isinstance(own, property) and own.fset is not None


def _signature(cls: Any) -> inspect.Signature:
    signature = inspect.signature(cls.__init__)
    return signature.replace(parameters=list(signature.parameters.values())[1:])
