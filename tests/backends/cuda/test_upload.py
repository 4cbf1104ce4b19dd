"""Arguments of kernels: uploaded once, or read in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from support import fake_cuda
from support.device_fakes import numbers, on_gpu

from numba_lstm.backends.cuda import upload
from numba_lstm.backends.cuda.pinned import PinnedMemory, WorkerStream
from numba_lstm.backends.cuda.stream import Stream
from numba_lstm.kernels.arguments import Window

FLOAT32 = np.dtype(np.float32)


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    fake_cuda.installed(monkeypatch)
    return WorkerStream(0, PinnedMemory(0), [])


def on_stream(stream: Stream, memory: Any) -> Any:
    """The numbers in the GPU's memory when the stream's work is done."""
    stream.synchronize()
    return memory._array


def test_a_batch_is_uploaded_as_it_is(stream: Stream) -> None:
    x = numbers(4, 3, 2)
    for inputs in (x, x.astype(np.float64), x[:, ::-1]):
        batch = upload.upload_batch(stream, inputs, FLOAT32)
        assert batch.shape == (4, 3, 2) and batch.window[1:] == (0, 6, 2)
        np.testing.assert_array_equal(on_stream(stream, batch.memory), inputs.reshape(-1))
        np.testing.assert_array_equal(batch.copy_to_host(), inputs)


def test_of_windows_that_overlap_the_record_is_uploaded(stream: Stream) -> None:
    record = numbers(9, 2)
    inputs = np.moveaxis(sliding_window_view(record, 6, axis=0), -1, 1)
    batch = upload.upload_batch(stream, inputs, FLOAT32)
    assert batch.shape == (4, 6, 2) and batch.window[1:] == (0, 2, 2)
    assert (
        on_stream(stream, batch.memory).tolist()
        == record[: on_stream(stream, batch.memory).size // 2].reshape(-1).tolist()
    )


def test_an_array_on_the_gpu_is_read_in_place(stream: Stream) -> None:
    array = numbers(4, 6, 2)[::2, ::-3]
    for window in (
        upload.upload_batch(stream, on_gpu(array), FLOAT32).window,
        upload.upload_mask(stream, on_gpu(array), 2)[0],
    ):
        assert window == Window(array.__array_interface__["data"][0], 0, 24, -6)


def test_masks_of_timesteps(stream: Stream) -> None:
    assert upload.upload_mask(stream, None, 3) == (Window(0, 0, 0, 0), None)
    mask = np.array([[True, False, True], [False, False, True]])
    window, memory = upload.upload_mask(stream, mask, 3)
    assert window[1:] == (0, 3, 1) and on_stream(stream, memory).tolist() == [1, 0, 1, 0, 0, 1]


@pytest.mark.parametrize("number", [1, 4])
def test_dropout_masks(number: int, stream: Stream) -> None:
    assert upload.upload_dropout(stream, None, 5, FLOAT32)[0][1:] == (0, 5)
    masks, memory = upload.upload_dropout(stream, numbers(number, 2, 3).astype(np.float64), 2, FLOAT32)
    assert masks[1:] == (number, 2) and on_stream(stream, memory).dtype == FLOAT32
    array = on_gpu(numbers(number, 2, 3))
    assert upload.upload_dropout(stream, array, 2, FLOAT32)[0] == (array.address, number, 2)


def test_states_and_the_last_output(stream: Stream) -> None:
    h, c = numbers(2, 3), numbers(2, 3) + 7
    states = [on_stream(stream, memory) for memory in upload.upload_states(stream, h, c, FLOAT32)]
    for found, expected in zip(states, (h, c, 0 * h), strict=True):
        assert found.tolist() == expected.reshape(-1).tolist()


@pytest.mark.parametrize("has_mask", [False, True])
def test_states_that_stay_on_the_gpu(has_mask: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros are written there; the last output is not touched without a mask. -0.0 is not zero."""
    log: list[tuple[str, Any]] = []
    monkeypatch.setattr(upload.copies, "empty", lambda stream, shape, dtype: on_gpu(np.zeros(shape, dtype)))
    monkeypatch.setattr(upload.copies, "fill_with_zeros", lambda target: log.append(("zeros", target.shape)))
    monkeypatch.setattr(upload.copies, "upload", lambda stream, array: ("uploaded", array[0, 0]))
    monkeypatch.setattr(upload.copies, "copy", lambda source, target: log.append(("copy", source)))
    zeros, h = np.zeros((2, 3), np.float32), on_gpu(numbers(2, 3))
    stream: Any = None
    upload.copy_states(stream, zeros, zeros, FLOAT32, has_mask)
    assert log == [("zeros", (3 if has_mask else 2, 2, 3))]
    log.clear()
    upload.copy_states(stream, h, -zeros, FLOAT32, has_mask)
    assert log == [("copy", h), ("copy", ("uploaded", 0))] + [("zeros", (2, 3))] * has_mask
    log.clear()
    upload.copy_states(stream, zeros, h, FLOAT32, has_mask)
    assert log == [("zeros", (2, 3)), ("copy", h)] + [("zeros", (2, 3))] * has_mask
