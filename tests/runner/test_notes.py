"""Notes on models whose runs may surprise."""

from __future__ import annotations

from typing import Any

import pytest

from numba_lstm import LSTM, Sequential
from numba_lstm.layers import InputLayer
from numba_lstm.runner.notes import model_notes

STATEFUL = "stateful layers begin each row from zero states; carry_state=True with batch_rows"


@pytest.mark.parametrize(
    ("stateful", "batch", "carries", "notes"),
    [
        (False, None, False, []),
        (True, None, False, [f"{STATEFUL} goes on from batch to batch, as Keras's predict does"]),
        (True, 2, False, [f"{STATEFUL}=2 goes on from batch to batch, as Keras's predict does"]),
        (True, 2, True, []),
        (False, 2, False, ["the model was made for batches of 2; any number of rows runs"]),
    ],
)
def test_states_and_batches(stateful: bool, batch: int | None, carries: bool, notes: list[str]) -> None:
    first: Any = InputLayer(batch_input_shape=(batch, 4, 3))
    model = Sequential([first, LSTM(2, stateful=stateful)])
    model.build()
    assert [str(note) for note in model_notes(model, carries)] == notes
