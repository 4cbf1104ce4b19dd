"""model_layers.py: shapes and axes of models, also of those that have the timesteps first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numba_lstm as nl
from numba_lstm.errors import ShapeError


def lstm(**options: Any) -> nl.LSTM:
    return nl.LSTM(4, return_sequences=True, **options)


@pytest.mark.parametrize("time_major", [False, True])
def test_which_axis_is_the_batch(time_major: bool) -> None:
    shape = (5, 2, 3) if time_major else (2, 5, 3)
    model = nl.Sequential([lstm(time_major=time_major, batch_input_shape=shape)])
    assert (model.input_shape, model.fixed_batch, model.timesteps, model.input_dim) == (shape, 2, 5, 3)
    assert model.row_shape == (5, 3) and model.output_shape == (*shape[:2], 4)
    model.build()
    config = model.get_config()["layers"]
    assert config[0]["config"]["batch_input_shape"] in (shape, list(shape))
    with pytest.raises(ShapeError, match="inputs have 6 timesteps; expected 5, for which the model was made"):
        model(np.ones((6, 2, 3) if time_major else (2, 6, 3)))
    last = nl.Sequential([lstm(time_major=time_major, batch_input_shape=shape), nl.LSTM(6, time_major=time_major)])
    assert last.output_shape == (2, 6)


@pytest.mark.parametrize("time_major", [False, True])
def test_the_timesteps_of_a_first_call_are_not_written(time_major: bool) -> None:
    model = nl.Sequential([lstm(time_major=time_major)])
    model(np.ones((5, 2, 3)))
    assert model.fixed_batch is None
    again = nl.Sequential.from_config(model.get_config())
    assert again.input_shape == (None, None, 3)
    again.build()
    assert again(np.ones((7, 4, 3), np.float32)).shape == (7, 4, 4)
    assert model.timesteps is None
    assert model(np.ones((7, 4, 3), np.float32)).shape == (7, 4, 4)
