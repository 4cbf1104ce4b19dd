"""A model from its configuration alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from numba_lstm.errors import ConfigError
from numba_lstm.formats import from_config
from numba_lstm.formats.stored import LoadReport


def test_a_configuration_alone(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"units": 4, "keras_version": "2.15.0"}')
    model = from_config(tmp_path / "c.json")
    assert model.source == LoadReport(
        format="configuration",
        producer="Keras 2.15.0",
        dialect="keras2",
        dialect_from="keras_version 2.15.0 in the configuration",
        notes=["a bare LSTMCell is run as RNN(cell, return_sequences=True)"],
        weights=[],
    )
    assert from_config({"units": 4}).source.producer == "Keras, of an unknown version"


def test_its_float64_and_what_is_given() -> None:
    """float64 anywhere makes the whole model float64; the caller's dialect goes before the format's."""
    double = {"class_name": "LSTM", "config": {"name": "a", "units": 2, "dtype": "float64"}}
    dense = {"class_name": "Dense", "config": {"name": "b", "units": 2}}
    model = from_config({"class_name": "Sequential", "config": {"layers": [double, dense]}}, dialect="keras2")
    assert (model.dtype, model.dialect, model.source.dialect_from) == ("float64", "keras2", "as given")
    assert model.source.weights == [] and model.get_weights() == []
    with pytest.raises(ConfigError, match="dialect is 'keras4'; expected one of"):
        from_config({"units": 4}, dialect="keras4")  # type: ignore[arg-type]
