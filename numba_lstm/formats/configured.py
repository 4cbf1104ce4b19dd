"""A model from its configuration alone, to inspect it or to give it new weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from numba_lstm.checks import check_dialect
from numba_lstm.formats.assemble import settle_dialect
from numba_lstm.formats.config_json import read_config
from numba_lstm.formats.keras_json import as_float64, build_chain, chain_dtypes, placing, read_chain
from numba_lstm.formats.stored import LoadReport
from numba_lstm.model import Sequential
from numba_lstm.semantics.dialects import Dialect


def read_configuration(
    config: Mapping[str, Any] | str | os.PathLike[str], dialect: Dialect | None = None
) -> Sequential:
    """The model that a mapping or a JSON file describes, without weights; ``model.source`` is a `LoadReport`.

    Raises `FileFormatError` and `ConfigError`, each naming file and layer, and `OSError`.
    """
    dialect = None if dialect is None else check_dialect(dialect)
    document, name = read_config(config)
    with placing(name):
        chain = read_chain(document, name)
        has_float64, notes = chain_dtypes(chain)
        chain, chosen, chosen_from = settle_dialect(None, chain, dialect, own_config=True)
    model = build_chain(as_float64(chain) if has_float64 else chain, chosen, name)
    producer = f"Keras {chain.keras_version}" if chain.keras_version else "Keras, of an unknown version"
    model._settle(source=LoadReport("configuration", producer, chosen, chosen_from, [*chain.notes, *notes], []))
    return model
