"""Runs on simulated GPUs: stages that overlap, memory that is reused and freed, and failures."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba.cuda.cudadrv.driver import CudaAPIError
from support import fake_cuda
from support.fake_cuda import Event, FakeCuda
from support.running import INPUT_DIM, TIMESTEPS, identical

import numba_lstm as nl
from numba_lstm.backends.cuda import cells, nvidia, pinned, policy, selection
from numba_lstm.errors import ConfigError, DeviceError, DeviceMemoryError, NonFiniteError
from numba_lstm.runner import gpus as runner_gpus
from numba_lstm.runner import plan
from numba_lstm.runner.reader import FileReader
from numba_lstm.runner.writer import FileWriter

ROWS, UNITS = 40, 4
ROW = 4 * TIMESTEPS * INPUT_DIM  # bytes read for a row


class Gpus:
    """Simulated GPUs, and runs of a model on them."""

    def __init__(self, patch: pytest.MonkeyPatch, model: nl.Sequential) -> None:
        self._patch, self.model = patch, model
        patch.setattr(selection, "problem", lambda: None)
        patch.setattr(cells.cuda, "sequence_kernel", lambda *_: fake_cuda.FakeKernel())
        patch.setenv(policy.TIER_VARIABLE, "portable")
        self.make()

    def settle(self) -> None:
        """Wait for the threads' ends: all memory is freed, in the right places and at the right times."""
        for thread in threading.enumerate():
            if thread.name.startswith(("numba_lstm_gpu", "numba_lstm_reader")):
                thread.join(20)
        gc.collect()
        assert self.cuda.faults == [] and self.cuda.pinned == 0

    def make(self, number: int = 1, memory: int = 1 << 30) -> FakeCuda:
        self.cuda = fake_cuda.installed(self._patch, number, memory)
        for cell in (cell for layer in self.model.recurrent_layers for cell in layer.cells):
            cell.packed("float32").on_gpus.clear()
        return self.cuda

    def run(self, name: str = "x.npy", **options: Any) -> Any:
        return nl.run_npy(self.model, name, "y.npy", device="cuda", force=True, **options)

    def expected(self, name: str = "x.npy", **options: Any) -> Any:
        nl.run_npy(self.model, name, "expected.npy", device="cpu", force=True, **options)
        return np.load("expected.npy")


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> Iterator[Gpus]:
    monkeypatch.chdir(tmp_path)
    model = nl.Sequential([nl.LSTM(5, return_sequences=True, seed=1), nl.LSTM(UNITS, return_sequences=True, seed=2)])
    model.build((None, None, INPUT_DIM))
    np.save("x.npy", rng.normal(size=(ROWS, TIMESTEPS, INPUT_DIM)).astype(np.float32))
    np.save("mask.npy", rng.random((ROWS, TIMESTEPS)) < 0.7)
    made = Gpus(monkeypatch, model)
    yield made
    made.settle()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_chunks_are_dealt_out_and_come_in_order(gpus: Gpus, number: int) -> None:
    """Even where the first GPU is the slowest."""
    cuda = gpus.make(number)
    slow = threading.Event()
    cuda.on_event = lambda event: slow.wait(0.01) and None if event[:2] == ("wait", 0) else None
    done: list[int] = []
    report = gpus.run(batch_rows=2, mask="mask.npy", progress=lambda rows, _: done.append(rows))
    identical(np.load("y.npy"), gpus.expected(mask="mask.npy"))
    assert done == list(range(0, ROWS + 1, 2))
    rows = Counter[int]()
    for event in cuda.events:
        rows[event.gpu] += event.size if event.what == "kernel" else 0
    # Two layers each; a chunk of two rows more or less.
    assert sum(rows.values()) == 2 * ROWS
    assert max(rows.values()) - min(rows.values()) <= 2 * 2
    assert report.device_notes[1].startswith("GPUs: 0")


def test_the_gpus_are_named(gpus: Gpus, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus.make(2)
    known = [{"name": "GeForce"}, {"name": "Tesla"}]
    monkeypatch.setattr(nvidia, "driver", lambda: {"devices": known, "problem": None})
    report = gpus.run()
    assert report.device_notes[1:] == ("GPUs: 0 (GeForce), 1 (Tesla); chunks under way on each: 3",)
    assert report.notes == ()


def test_one_chunk_is_uploaded_while_another_is_computed(gpus: Gpus) -> None:
    """The first worker waits for its stream until the second one has launched its kernel."""
    cuda = gpus.cuda

    def on_event(event: Event) -> None:
        if event.what == "wait" and event.stream == cuda.first_to_compute():
            cuda.wait_for(lambda events: len({e.stream for e in events if e.what == "kernel"}) > 1)

    cuda.on_event = on_event
    gpus.run(batch_rows=8)
    identical(np.load("y.npy"), gpus.expected())


def test_reading_computing_and_writing_overlap(gpus: Gpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first chunk is not written before the second is being computed and the third has been read."""
    cuda, seen, expected = gpus.cuda, {"read": 0}, gpus.expected()
    read, write = FileReader.read, FileWriter.write

    def reading(self: FileReader, *arguments: Any) -> Any:
        chunk = read(self, *arguments)
        assert pinned.is_pinned(chunk.inputs)
        seen["read"] += 1
        cuda.note("read", 0, 0)
        return chunk

    def writing(self: FileWriter, result: Any) -> None:
        assert pinned.is_pinned(result.outputs[0])
        if result.start == 0:
            cuda.wait_for(lambda events: seen["read"] > 2)
            cuda.wait_for(lambda events: len({e.stream for e in events if e.what == "kernel"}) > 1)
        write(self, result)

    monkeypatch.setattr(FileReader, "read", reading)
    monkeypatch.setattr(FileWriter, "write", writing)
    gpus.run(batch_rows=8)
    identical(np.load("y.npy"), expected)


def test_buffers_are_used_again(gpus: Gpus) -> None:
    """However many chunks there are, each worker allocates for the first ones alone."""
    counts = []
    for chunks in (9, ROWS):
        cuda = gpus.make()
        gpus.run(batch_rows=1, rows=(0, chunks), mask="mask.npy")
        counts.append((cuda.count("memory"), cuda.count("pinned")))
        assert 0 < (1 << 30) - cuda.free[0] < 2000  # the weights stay with the model
        assert cuda.pinned == 0
        assert cuda.gpus[0].cleared == runner_gpus.WORKERS
    # A thread may be late to let go of something.
    assert all(most <= few + runner_gpus.WORKERS for few, most in zip(*counts, strict=True))


def test_inputs_go_straight_from_the_file_to_the_gpu(gpus: Gpus) -> None:
    """There is one pinned copy of them, into which they are read."""
    cuda = gpus.cuda
    gpus.run(batch_rows=8)
    inputs = 8 * ROW
    assert [e.size for e in cuda.events if e.what == "pinned"].count(inputs) == runner_gpus.WORKERS
    assert [e.size for e in cuda.events if e.what == "upload"].count(inputs) == ROWS // 8


@pytest.mark.parametrize("options", [{}, {"mask": "mask.npy"}], ids=["plain", "masked"])
def test_the_last_output_alone_comes_back(gpus: Gpus, options: dict[str, Any]) -> None:
    cuda = gpus.cuda
    gpus.run(batch_rows=8, last_only=True, **options)
    identical(np.load("y.npy"), gpus.expected(last_only=True, **options))
    identical(np.load("y.npy"), gpus.expected(**options)[:, -1].copy())
    downloads = [event.size for event in cuda.events if event.what == "download"]
    assert downloads == [4 * 8 * UNITS] * (ROWS // 8)


def test_windows_are_uploaded_as_the_record(gpus: Gpus, rng: np.random.Generator) -> None:
    cuda = gpus.cuda
    np.save("record.npy", rng.normal(size=(30, INPUT_DIM)).astype(np.float32))
    gpus.run("record.npy", window=6, batch_rows=10)
    identical(np.load("y.npy"), gpus.expected("record.npy", window=6))
    # Ten windows of six steps share fifteen. Three chunks: five windows are left for the last one.
    for what in ("upload", "pinned"):
        assert [event.size for event in cuda.events if event.what == what].count(4 * INPUT_DIM * 15) == 2


def test_several_files_share_the_buffers(gpus: Gpus) -> None:
    x = np.load("x.npy")
    Path("in").mkdir()
    for number in range(8):
        np.save(f"in/{number}.npy", x[5 * number : 5 * number + 5])
    nl.run_npy(gpus.model, "in", "out", device="cuda")
    whole = np.concatenate([np.load(f"out/{number}.npy") for number in range(8)])
    identical(whole, gpus.expected())
    sizes = [event.size for event in gpus.cuda.events if event.what == "pinned"]
    assert sizes.count(5 * ROW) == runner_gpus.WORKERS


def test_main_memory_is_bounded(gpus: Gpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the rest of max_memory, pinned memory included."""
    monkeypatch.setattr(plan, "memory_in_use", lambda: 100 << 20)
    monkeypatch.setattr(runner_gpus, "memory_in_use", lambda: 100 << 20)
    to_come = plan.bytes_to_come(gpus.model, "float32")
    room = 100_000
    report = gpus.run(max_memory=(100 << 20) + to_come + room)
    identical(np.load("y.npy"), gpus.expected())
    assert 1 < report.chunk_rows < ROWS
    assert 0 < gpus.cuda.most_pinned <= room
    with pytest.raises(ConfigError, match=r"max_memory is 105 MB, too little for a row of x\.npy"):
        gpus.run(max_memory=100 << 20)


def test_the_memory_of_the_gpu_is_bounded(gpus: Gpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks are planned so that nothing has to be halved."""
    monkeypatch.setattr(plan, "_EFFICIENT_ROWS_OF_GPU", ROWS)
    cuda = gpus.make(memory=100_000)
    report = gpus.run()
    identical(np.load("y.npy"), gpus.expected())
    assert 1 < report.chunk_rows < ROWS
    assert report.notes == ()
    assert 0 < cuda.least_free[0] < 90_000


@pytest.mark.parametrize("number", [1, 2])
def test_a_chunk_that_is_too_large_is_halved(gpus: Gpus, number: int) -> None:
    gpus.make(number, memory=9_000)
    report = gpus.run(batch_rows=ROWS)
    identical(np.load("y.npy"), gpus.expected())
    assert report.notes == ("the GPU's memory took 20 rows at a time instead of a whole chunk",)


def test_too_little_memory_at_a_launch_is_halved_too(gpus: Gpus) -> None:
    """Kernels are linked, loaded and launched by cuda.core, which has errors of its own."""
    cuda = gpus.cuda
    error = type("CUDAError", (Exception,), {"__module__": "cuda.core._utils.cuda_utils"})

    def on_event(event: Event) -> None:
        if event.what == "kernel" and event.size > 11:
            raise error("CUDA_ERROR_OUT_OF_MEMORY: The API call failed because it was unable to allocate enough memory")

    cuda.on_event = on_event
    report = gpus.run(batch_rows=ROWS)
    identical(np.load("y.npy"), gpus.expected())
    assert report.notes == ("the GPU's memory took 10 rows at a time instead of a whole chunk",)


def test_workers_take_turns_where_memory_is_short(gpus: Gpus) -> None:
    """There is room for the chunk of one worker, and not for those of two: nothing has to be halved."""
    counts = []
    for memory in (1 << 30, 3600):
        cuda = gpus.make(memory=memory)
        report = gpus.run(batch_rows=4)
        identical(np.load("y.npy"), gpus.expected())
        assert report.notes == ()
        counts.append(cuda.count("memory"))
    assert 2 * counts[1] > 3 * counts[0]  # for it was given up again and again


def test_a_row_that_does_not_fit(gpus: Gpus) -> None:
    gpus.make(memory=1500)
    with pytest.raises(DeviceMemoryError) as info:
        gpus.run()
    assert str(info.value) == "the GPU has too little free memory for this; take fewer rows at a time"
    assert sorted(os.listdir()) == ["mask.npy", "x.npy"]


def test_without_pinned_memory(gpus: Gpus) -> None:
    gpus.cuda.grants_pinned = False
    report = gpus.run(batch_rows=4)
    identical(np.load("y.npy"), gpus.expected())
    assert report.device_notes[-1] == (
        "the system granted no page-locked memory, so copies to and from the GPU take longer"
    )


def test_an_error_on_one_gpu_ends_the_run(gpus: Gpus) -> None:
    cuda = gpus.make(2)

    def on_event(event: Event) -> None:
        if event.what == "kernel" and sum(e.what == "kernel" and e.gpu == 1 for e in cuda.events) == 3:
            raise CudaAPIError(719, "Call to cuLaunchKernel results in CUDA_ERROR_LAUNCH_FAILED")

    cuda.on_event = on_event
    with pytest.raises(DeviceError) as info:
        gpus.run(batch_rows=4)
    assert str(info.value) == (
        "CUDA failed: [719] Call to cuLaunchKernel results in CUDA_ERROR_LAUNCH_FAILED; 'cpu' as the device gives the "
        "same results"
    )
    assert sorted(os.listdir()) == ["mask.npy", "x.npy"]


def test_an_error_of_a_reader_ends_the_run(gpus: Gpus) -> None:
    x = np.load("x.npy")
    x[30, 2, 1] = np.nan
    np.save("x.npy", x)
    with pytest.raises(NonFiniteError, match=r"x\.npy has a NaN in row 30, timestep 2"):
        gpus.run(batch_rows=4, on_nan="error")
    assert sorted(os.listdir()) == ["mask.npy", "x.npy"]


@pytest.mark.usefixtures("ctrl_c")
def test_an_interrupt_does_not_wait_for_the_gpus(gpus: Gpus) -> None:
    """While the workers are busy: the calling thread waits for the first chunk then."""
    cuda, busy = gpus.cuda, threading.Event()

    def on_event(event: Event) -> None:
        if event.what == "wait" and event.stream == cuda.first_to_compute() and not busy.is_set():
            cuda.wait_for(lambda events: len({e.stream for e in events if e.what == "kernel"}) == runner_gpus.WORKERS)
            os.kill(os.getpid(), signal.SIGINT)
            busy.wait(20)

    cuda.on_event = on_event
    with pytest.raises(KeyboardInterrupt):
        gpus.run(batch_rows=4)
    assert not busy.is_set()
    assert sorted(os.listdir()) == ["mask.npy", "x.npy"]
    busy.set()


@pytest.mark.usefixtures("ctrl_c")
def test_nothing_ends_under_a_copy_when_a_run_is_interrupted(gpus: Gpus) -> None:
    """The caller returns at once; workers finish their chunks in their own memory, and then free it."""
    for moment in range(1, 80, 9):
        cuda, count, left = gpus.make(2), itertools.count(1), threading.Event()

        def on_event(event: Event, moment: int = moment, count: Any = count, left: Any = left) -> None:
            if next(count) == moment:
                time.sleep(0.02)  # a signal between the last look for one and the wait would be seen after it
                os.kill(os.getpid(), signal.SIGINT)
                left.wait(1)

        cuda.on_event = on_event
        with pytest.raises(KeyboardInterrupt):
            gpus.run(batch_rows=4, mask="mask.npy")
        left.set()
        gpus.settle()
        assert sorted(os.listdir()) == ["mask.npy", "x.npy"]


@pytest.mark.slow
def test_many_runs_with_random_delays(gpus: Gpus) -> None:
    """On one to three GPUs, large and small, with chunks of all sizes: the same bits, and all memory is freed."""
    random, before = np.random.default_rng(5), sys.getswitchinterval()
    every: tuple[dict[str, Any], ...] = ({}, {"mask": "mask.npy"}, {"last_only": True})
    expected = [gpus.expected(**options) for options in every]
    halved = 0
    gc.collect()
    gc.freeze()  # where memory is short, a worker collects garbage: of these runs, not of all modules
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(500):
            cuda = gpus.make(int(random.integers(1, 4)), int(random.choice([1 << 30, 9000, 6000, 3600, 2600])))
            late = iter(random.random(10_000) < 0.02)
            cuda.on_event = lambda event, late=late: time.sleep(0.001) if next(late) else None
            which = int(random.integers(len(every)))
            report = gpus.run(batch_rows=int(random.choice([1, 3, 7, 16, 40])), **every[which])
            identical(np.load("y.npy"), expected[which])
            assert cuda.pinned == 0
            halved += len(report.notes)
    finally:
        sys.setswitchinterval(before)
        gc.unfreeze()
    assert halved > 50
