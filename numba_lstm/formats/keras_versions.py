"""Versions of Keras: the dialect of each, and the rules of standalone Keras 2.0 to 2.3.

TensorFlow's Keras calls itself 2.2.4-tf (1.15 and 2.0) or 2.3.0-tf (2.2); the package keras was 2.3.1 at last before it
became TensorFlow's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from numba_lstm.errors import FileFormatError
from numba_lstm.semantics.dialects import Dialect

_VERSION = re.compile(r"(\d{1,4})(?:\.(\d{1,4}))?")
_STANDALONE = re.compile(r"2\.([0-3])(\.\w+)?")
# Keys of an LSTM that Keras has written since 2.0.9, and one that only TensorFlow's has.
_WHOLE_LSTM = {"return_sequences", "go_backwards", "unroll", "units", "implementation", "recurrent_dropout"}


def dialect_of_version(version: str) -> Dialect:
    """The dialect of a Keras version. Refuses Keras 1 (gates i, c, f, o).

    >>> dialect_of_version("2.2.4-tf"), dialect_of_version("2.15.0"), dialect_of_version("3.15.1")
    ('tf1', 'keras2', 'keras3')
    >>> dialect_of_version("2.3.0-tf"), dialect_of_version("2.3.1")
    ('keras2', 'tf1')
    """
    match = _VERSION.match(version)
    if not match or int(match[1]) not in (2, 3):
        raise FileFormatError(f"keras_version is {version[:40]!r}; expected 2 or 3; save the model again with Keras 2")
    if int(match[1]) == 3:
        return "keras3"
    return "tf1" if is_standalone(version) or int(match[2] or 0) < 3 else "keras2"


def is_standalone(version: str | None) -> bool:
    """Whether a version is of the package keras, 2.0 to 2.3, and not of TensorFlow's."""
    return version is not None and _STANDALONE.fullmatch(version) is not None


def masked_outputs_of(version: str, backend: str | None, *, stacked: bool = False) -> str:
    """The rule for masked timesteps in a standalone Keras; see `numba_lstm.layers.standalone`.

    Before 2.2.3 the first of the states of a stack was h of its highest cell, which is its output.
    """
    numbers = [int(number) for number in re.findall(r"\d+", version)]
    if numbers[1] > 2 or backend not in (None, "tensorflow"):
        return "repeat"
    return "repeat" if stacked and numbers < [2, 2, 3] else "state"


def version_by_format(entries: Sequence[Mapping[str, Any]]) -> str | None:
    """The version of a standalone Keras, about, that wrote layers in this format; None where they are of others.

    TensorFlow's Keras writes time_major into each LSTM, and standalone Keras a dtype into each layer since 2.3.
    """
    configs = [entry["config"] for entry in entries if entry.get("class_name") == "LSTM"]
    configs = [config for config in configs if isinstance(config, Mapping) and config.keys() >= _WHOLE_LSTM]
    if not configs or any("time_major" in config for config in configs):
        return None
    initializers = [config.get("kernel_initializer") for config in configs]
    if not all(isinstance(one, Mapping) and one.get("class_name") == "VarianceScaling" for one in initializers):
        return None
    if any("module" in one or "dtype" in one.get("config", ()) for one in initializers if isinstance(one, Mapping)):
        return None
    return "2.3.1" if all("dtype" in config for config in configs) else "2.2.4"


def with_standalone_rules(entries: Sequence[Any], version: str, backend: str | None) -> list[Any]:
    """The layers' entries, each recurrent one with its rule for masked timesteps, and with the version's defaults."""
    rule = masked_outputs_of(version, backend)
    marked = ("LSTM", "RNN", "Bidirectional") if rule == "state" else ("Bidirectional",)

    def change(entry: Any) -> Any:
        if isinstance(entry, list):
            return [change(one) for one in entry]
        if not isinstance(entry, Mapping) or not isinstance(entry.get("config"), Mapping):
            return entry
        config = {
            key: change(value) if key in ("layer", "cell", "cells", "backward_layer") else value
            for key, value in entry["config"].items()
        }
        if entry.get("class_name") in marked:
            cell = config.get("cell")
            stacked = isinstance(cell, Mapping) and cell.get("class_name") == "StackedRNNCells"
            config["masked_outputs"] = masked_outputs_of(version, backend, stacked=stacked)
        if entry.get("class_name") in ("LSTM", "LSTMCell") and version.startswith("2.3"):
            config = {"recurrent_activation": "sigmoid", "implementation": 2, **config}
        return {**entry, "config": config}

    return [change(entry) for entry in entries]
