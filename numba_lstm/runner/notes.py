"""Notes on behaviour of a model that may surprise its users."""

from __future__ import annotations

from numba_lstm.errors import Argument, Message
from numba_lstm.model import Sequential


def model_notes(model: Sequential, carry_state: bool = False) -> list[str]:
    """Notes on states and batches, in one line each."""
    notes: list[str] = []
    batch = model.fixed_batch
    if model.stateful and not carry_state:
        notes.append(
            Message(
                "stateful layers begin each row from zero states; ",
                Argument("carry_state", True),
                " with ",
                Argument("batch_rows", batch),
                " goes on from batch to batch, as Keras's predict does",
            )
        )
    elif batch is not None and not model.stateful:
        notes.append(f"the model was made for batches of {batch}; any number of rows runs")
    return notes
