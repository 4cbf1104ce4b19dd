"""Sequences on a GPU in memory: arguments, results, and what stays there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import fake_cuda
from support.running import identical

from numba_lstm import driver
from numba_lstm.backends.cpu import packing
from numba_lstm.backends.cpu import run as cpu
from numba_lstm.backends.cpu.stacked import CellCall
from numba_lstm.backends.cuda import cells, policy, run
from numba_lstm.backends.cuda.pinned import PinnedMemory, WorkerStream
from numba_lstm.backends.cuda.upload import DeviceBatch
from numba_lstm.kernels.arguments import Window

BATCH, TIMESTEPS, INPUT_DIM, UNITS = 4, 5, 3, 4


def random(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


X, H, C = random(1, BATCH, TIMESTEPS, INPUT_DIM), random(2, BATCH, UNITS), random(3, BATCH, UNITS)
MASK = np.random.default_rng(4).random((BATCH, TIMESTEPS)) < 0.6


def a_stream() -> WorkerStream:
    return WorkerStream(0, PinnedMemory(0), [])


def packed(input_dim: int = INPUT_DIM) -> Any:
    return packing.pack_cell(
        *(random(5 + n, *shape) for n, shape in enumerate(((input_dim, 4 * UNITS), (UNITS, 4 * UNITS), (4 * UNITS,)))),
        activation=fake_cuda.ACTIVATION,
        recurrent_activation=fake_cuda.RECURRENT_ACTIVATION,
        dialect=fake_cuda.DIALECT,
        dtype="float32",
    )


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> fake_cuda.FakeCuda:
    monkeypatch.setattr(cells.cuda, "sequence_kernel", lambda *_: fake_cuda.FakeKernel())
    monkeypatch.setenv(policy.TIER_VARIABLE, "portable")
    return fake_cuda.installed(monkeypatch)


@pytest.mark.parametrize("mask", [None, MASK], ids=["all steps", "masked"])
@pytest.mark.parametrize("return_sequences", [False, True])
def test_the_results_of_the_cpu(return_sequences: bool, mask: Any, cuda: fake_cuda.FakeCuda) -> None:
    cell, options = packed(), {"mask": mask, "return_sequences": return_sequences}
    expected = cpu.sequence(cell, X, H, C, **options)
    for return_states in (True, False):
        y, h, c = run.sequence(cell, X, H, C, stream=a_stream(), return_states=return_states, **options)
        assert isinstance(y, DeviceBatch) == return_sequences
        identical(y.copy_to_host() if return_sequences else y, expected[0])
        if return_states:
            identical(h, expected[1])
            identical(c, expected[2])
        else:
            assert h is None and c is None
    assert cuda.faults == []


def test_sequences_between_cells_stay_on_the_gpu(cuda: fake_cuda.FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "current_stream", a_stream)
    options = MASK, None, None, False, True, False
    calls = [CellCall(packed(width), H, C, *options) for width in (INPUT_DIM, UNITS)]
    outputs, states = run.stacked(X, calls)
    expected, expected_states = driver.sequences(X, calls)
    identical(outputs, expected)
    for found, array in zip(np.concatenate(states), np.concatenate(expected_states), strict=True):
        identical(found, array)
    sizes = [event.size for event in cuda.events if event.what == "download"]
    assert sizes.count(outputs.nbytes) == 1 and cuda.count("kernel") == 2


def test_arguments_of_the_kernel(cuda: fake_cuda.FakeCuda) -> None:
    launch = run.prepare(a_stream(), packed(), X, H, C, mask=MASK, go_backwards=True, return_sequences=True)
    call = launch.call
    assert (call.first_row, call.last_row, call.timesteps) == (0, BATCH, TIMESTEPS)
    row, last = TIMESTEPS * INPUT_DIM, (TIMESTEPS - 1) * INPUT_DIM
    assert call.inputs[1:] == (last, row, -INPUT_DIM) and call.mask[1:] == (TIMESTEPS - 1, TIMESTEPS, -1)
    assert call.outputs[1:] == (0, TIMESTEPS * UNITS, UNITS)
    assert call.options[:3] == (True, True, False) and call.dropout.number == call.recurrent_dropout.number == 0


def test_windows_from_the_last_timestep_to_the_first() -> None:
    array = np.arange(24).reshape(2, 4, 3)
    window = run.reversed_window(Window(array.reshape(-1), 0, 12, 3), 4)
    found = [
        [window.memory[window.start + row * window.row_stride + t * window.time_stride] for t in range(4)]
        for row in (0, 1)
    ]
    assert found == array[:, ::-1, 0].tolist()
