"""Cells on a GPU: weights that are uploaded once, and the kernels of the plan."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import fake_cuda

from numba_lstm.backends.cpu import packing
from numba_lstm.backends.cuda import cells, policy
from numba_lstm.backends.cuda.stream import Stream

FLOAT32 = np.dtype(np.float32)


def packed(units: int = 3, input_dim: int = 2, activation: str = "tanh") -> tuple[Any, list[Any]]:
    random = np.random.default_rng(1)
    shapes = (input_dim, 4 * units), (units, 4 * units), (4 * units,)
    weights = [random.standard_normal(shape).astype(np.float32) for shape in shapes]
    options: dict[str, Any] = {"activation": activation, "recurrent_activation": "sigmoid", "dialect": "keras3"}
    return packing.pack_cell(*weights, **options, dtype="float32"), weights


def test_weights_are_uploaded_once_for_each_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """In Keras's layout, and available to every stream at once."""
    cuda = fake_cuda.installed(monkeypatch, gpus=2)
    cell, weights = packed()
    found = []
    for number in (0, 0, 1, 0):
        cuda.select_device(number)
        found.append(cells.device_cell(Stream(cuda.stream()), cell))
    assert found[0] is found[1] is found[3] is not found[2]
    assert cuda.count("upload") == 6 and cuda.count("waited") == 6
    for each in found[1:3]:
        for memory, array in zip(each.memory, weights, strict=True):
            np.testing.assert_array_equal(memory._array, array.reshape(-1))
        assert [each.cell.kernel, each.cell.recurrent_kernel, each.cell.bias] == [
            memory._array.ctypes.data for memory in each.memory
        ]
        assert (each.cell.units, each.cell.input_dim, each.normalizes_row) == (3, 2, False)


def test_the_kernel_of_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(fake_cuda.installed(monkeypatch).stream())
    monkeypatch.setattr(cells.cuda, "sequence_kernel", lambda *arguments: ("portable", *arguments))
    monkeypatch.setattr(cells.cuda_resident, "sequence_kernel", lambda *arguments: ("resident", *arguments))
    monkeypatch.delenv(policy.TIER_VARIABLE, raising=False)
    cell = cells.device_cell(stream, packed()[0])
    functions = cell.activation, cell.recurrent_activation
    plan, kernel = cells.kernel_for(stream, cell, FLOAT32, 9, (0, 0), True)
    assert kernel == ("resident", "float32", *functions, True, plan.layout) and plan.layout is not None
    monkeypatch.setenv(policy.TIER_VARIABLE, "portable")
    plan, kernel = cells.kernel_for(stream, cell, FLOAT32, 9, (0, 4), False, rows=2)
    assert kernel == ("portable", "float32", *functions, False, True, 2) and plan.layout is None
    monkeypatch.delenv(policy.TIER_VARIABLE)
    softmax = cells.device_cell(stream, packed(activation="softmax")[0])
    assert softmax.normalizes_row and softmax.activation is None
    assert cells.kernel_for(stream, softmax, FLOAT32, 9, (0, 0), False)[1][0] == "portable"
