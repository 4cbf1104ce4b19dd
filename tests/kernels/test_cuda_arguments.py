"""The arguments of the CUDA kernels: addresses and the memory in place of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numba_lstm.kernels import cuda_arguments
from numba_lstm.kernels.arguments import Cell, Masks, Options, State, Window


def test_each_address_becomes_memory_of_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes for the mask, and numbers like the given one everywhere else; all that is no address stays."""
    zero, byte = np.float64(0), np.uint8(0)
    monkeypatch.setattr(cuda_arguments, "global_memory", lambda address, like: (address, type(like)))
    for name in ("_window", "_masks", "_cell"):
        monkeypatch.setattr(cuda_arguments, name, getattr(cuda_arguments, name).py_func)

    def call_of(memory: Any) -> cuda_arguments.CudaCall:
        cell = Cell(memory(1), memory(2), memory(3), 4, 5, 8, 6, 7)
        inputs, mask, outputs = Window(memory(4), 1, 2, 3), Window(memory(5), 4, 5, 6), Window(memory(6), 7, 8, 9)
        dropout, recurrent_dropout = Masks(memory(7), 1, 2), Masks(memory(8), 4, 3)
        state, options = State(memory(9), memory(10), memory(11)), Options(True, False, True)
        scratch = memory(12), memory(13)
        return cuda_arguments.CudaCall(
            1, 2, 3, cell, inputs, mask, dropout, recurrent_dropout, state, *scratch, outputs, options
        )

    found = cuda_arguments.with_memory.py_func(call_of(lambda address: address), zero)
    assert found == call_of(lambda address: (address, type(byte if address == 5 else zero)))


def test_steps_that_the_mask_skips() -> None:
    mask = np.array([[9, 1, 0, 1], [9, 0, 1, 1]], np.uint8)
    window = Window(mask.reshape(-1), 1, 4, 1)
    is_skipped = cuda_arguments.is_skipped.py_func
    found = [[is_skipped(True, window, row, t) for t in range(3)] for row in range(2)]
    assert found == [[False, True, False], [True, False, False]]
    backwards = window._replace(start=3, time_stride=-1)
    assert [is_skipped(True, backwards, 0, t) for t in range(3)] == [False, True, False]
    assert is_skipped(None, window, 0, 1) is False
