"""The configurations that the real Keras writes for its objects, as `make_keras_objects.py` stored them."""

from __future__ import annotations

import json
from typing import Any

from numba_lstm.semantics.dialects import DIALECTS, Dialect
from support.paths import DATA

FOLDER = DATA / "objects"
KERAS: dict[Dialect, Any] = {dialect: json.loads((FOLDER / f"{dialect}.json").read_text()) for dialect in DIALECTS}
# What is written for each (kind, class, arguments in JSON); None where there is no such class.
OBJECTS: dict[Dialect, dict[tuple[str, str, str], Any]] = {
    dialect: {(kind, cls, json.dumps(args)): written for kind, cls, args, written in stored["objects"]}
    for dialect, stored in KERAS.items()
}
