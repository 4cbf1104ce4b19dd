"""The middle stage of a run: rows through a model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numba_lstm.model import Sequential
from numba_lstm.runner.stages import Chunk, Result


class ModelCompute:
    """Runs chunks through `model` in `precision`, on `device`.

    With `samples`, a chunk gives the mean and the standard deviation (divided by the number of samples, like
    ``numpy.std``) over that many draws of the dropout masks. Masks depend on the number of the draw
    and on the row's number in the whole input, so the chunks do not affect the result.
    """

    def __init__(
        self,
        model: Sequential,
        *,
        precision: str,
        training: bool = False,
        samples: int | None = None,
        time_major: bool = False,
        last_only: bool = False,
        return_state: bool = False,
        device: str = "cpu",
        padded: bool = False,
        carry_state: bool = False,
    ) -> None:
        self._model, self._samples = model, samples
        self._return_state = return_state
        self._arguments: dict[str, Any] = {
            "precision": precision,
            "training": training or samples is not None,
            "time_major": time_major,
            "last_only": last_only,
            "return_state": return_state,
            "device": device,
            "padded": padded,
            "carry_state": carry_state,
        }

    def __call__(self, chunk: Chunk) -> Result:
        """The outputs of a chunk."""
        if self._samples is not None:
            return Result(chunk.start, chunk.stop, self._sample(chunk, self._samples), None)
        outputs, states = self._run(chunk, 0)
        final = np.concatenate(states, axis=1) if self._return_state else None
        return Result(chunk.start, chunk.stop, (outputs,), final)

    def _sample(self, chunk: Chunk, samples: int) -> tuple[NDArray[Any], NDArray[Any]]:
        first, _ = self._run(chunk, 0)
        mean = first.astype(np.float64)
        squares = np.zeros_like(mean)  # of the distances from the mean so far: Welford's way, which cancels nothing
        for draw in range(1, samples):
            sample, _ = self._run(chunk, draw)
            distance = sample - mean
            mean += distance / (draw + 1)
            squares += distance * (sample - mean)
        return mean.astype(first.dtype), np.sqrt(squares / samples).astype(first.dtype)

    def _run(self, chunk: Chunk, draw: int) -> tuple[NDArray[Any], list[NDArray[Any]]]:
        states = None if chunk.initial_state is None else self._split(chunk.initial_state)
        return self._model.run_rows(
            chunk.inputs, mask=chunk.mask, initial_state=states, first_row=chunk.start, draw=draw, **self._arguments
        )

    def _split(self, states: NDArray[Any]) -> list[NDArray[Any]]:
        edges = np.cumsum(np.repeat(self._model.state_units, 2))[:-1]  # h and c of each cell
        return [np.ascontiguousarray(part) for part in np.split(states, edges, axis=1)]
