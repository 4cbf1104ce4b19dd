"""The files of this project: one document, and weights by their keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numba_lstm as nl
from numba_lstm.errors import ConfigError, NumbaLSTMError
from numba_lstm.formats import from_config
from numba_lstm.formats.own import document_of, read_document, weights_by_key


def own_file(path: Path, document: Any, **arrays: Any) -> Path:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    np.savez(path, config=np.frombuffer(text, np.uint8), **arrays)
    return path


DOCUMENT = {
    "format": "numba_lstm 1",
    "dialect": "tf1",
    "class_name": "Sequential",
    "config": {"layers": [{"class_name": "Dense", "config": {"units": 2, "name": "d"}}]},
}


GOOD = {"0.kernel": np.zeros((3, 2), "f"), "0.bias": np.zeros(2, "f")}


@pytest.mark.parametrize(
    ("document", "arrays", "message"),
    [
        (b"{", GOOD, ": config is not JSON"),
        ([], GOOD, ": config is not that of format 'numba_lstm 1'; expected a file written by numba_lstm.save"),
        ({**DOCUMENT, "format": "other"}, GOOD, ": config is not that of format"),
        ({**DOCUMENT, "dialect": "keras4"}, GOOD, ": config is not that of format"),
        ({**DOCUMENT, "config": {}}, GOOD, ": config has None as its layers"),
        ({**DOCUMENT, "config": None}, GOOD, ": config has None as its layers"),
        (DOCUMENT, {"0.kernel": GOOD["0.kernel"]}, " lacks ['0.bias']; expected ['0.kernel', '0.bias']"),
        (DOCUMENT, {**GOOD, "2.kernel": np.zeros(2)}, " holds ['2.kernel'] too; expected"),
        (DOCUMENT, {**GOOD, "0.bias": np.zeros(3)}, ": layer 'd': d: bias has shape (3,); expected (2,) = (units,)"),
        (DOCUMENT, {**GOOD, "0.bias": np.zeros(2, "c8")}, ": 0.bias.npy holds complex numbers"),
    ],
)
def test_damaged_own_files(tmp_path: Path, document: Any, arrays: Any, message: str) -> None:
    path = own_file(tmp_path / "m.npz", document, **arrays)
    with pytest.raises(NumbaLSTMError) as caught:
        nl.load(path)
    assert str(caught.value).startswith(f"{path}{message}")


def test_names_of_weights() -> None:
    """The number of the layer among all, and the names below it."""
    layers = [nl.Dropout(0.5), nl.Bidirectional(nl.LSTM(2, use_bias=False)), nl.Dense(2)]
    model = nl.Sequential(layers)
    names = ["1.forward.kernel", "1.forward.recurrent_kernel", "1.backward.kernel", "1.backward.recurrent_kernel"]
    with pytest.raises(ConfigError, match="has no weights yet; expected a built model"):
        weights_by_key(model)
    model.build((None, None, 3))
    found = weights_by_key(model)
    assert [key.replace("_lstm", "") for key in found] == [*names, "2.kernel", "2.bias"]
    assert [value.shape for value in found.values()] == [weight.shape for weight in model.get_weights()]


def test_the_same_model_has_the_same_document() -> None:
    model = from_config({"units": 4})
    content = document_of(model)
    assert content == document_of(from_config({"units": 4}))
    document = read_document(content, "m")
    assert document == {
        "format": "numba_lstm 1",
        "version": nl.__version__,
        "dialect": "tf1",
        "class_name": "Sequential",
        "config": model.get_config(),
    }
